"""Fine-tuning methods by name: what each trains, its defaults, one sentence for a student, its paper.

Knows PEFT's config classes and nothing of runs or models; peft is imported when a config is made, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsum_demo.errors import InputError

if TYPE_CHECKING:
    from peft import PeftConfig


@dataclass(frozen=True)
class Method:
    """One row of the table. `peft_class` names a class of `peft`; None trains every weight."""

    name: str
    title: str
    explanation: str
    paper: str
    peft_class: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def config(self, options: Mapping[str, Any] | None = None) -> PeftConfig | None:
        """The PEFT config with `options` over the defaults, or None for full fine-tuning.

        Raises InputError for an option that the method does not have.
        """
        unknown = sorted(set(options or ()) - set(self.defaults))
        if unknown:
            known = ", ".join(self.defaults) or "none"
            raise InputError(f"{self.title} has no option {unknown[0]!r}; its options are: {known}.")
        if self.peft_class is None:
            return None
        import peft

        return getattr(peft, self.peft_class)(task_type="SEQ_2_SEQ_LM", **{**self.defaults, **(options or {})})


METHODS = {
    method.name: method
    for method in (
        Method(
            name="full",
            title="Full fine-tuning",
            explanation="Every weight is trained; the result is a whole new model.",
            paper="Raffel et al. 2020, arXiv:1910.10683",
        ),
        Method(
            name="lora",
            title="LoRA",
            explanation="The weights stay; beside chosen matrices a product of two thin ones is learned and added.",
            paper="Hu et al. 2021, arXiv:2106.09685",
            peft_class="LoraConfig",
            # The well-known settings of the exercise.
            defaults={"r": 32, "lora_alpha": 32, "target_modules": ["q", "v"], "lora_dropout": 0.05, "bias": "none"},
        ),
    )
}


def method(name: str) -> Method:
    """Raises InputError, naming the methods there are, for an unknown name."""
    try:
        return METHODS[name]
    except KeyError:
        raise InputError(f"There is no fine-tuning method {name!r}; choose one of: {', '.join(METHODS)}.") from None
