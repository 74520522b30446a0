"""How strongly an adapter speaks: a second tree of modules over the same tensors, with what was learned scaled.

Nothing is switched: the model that others write with is not touched, so that no lock is needed. Knows PEFT's layers and
nothing of registries, pages or text.
"""

from __future__ import annotations

from typing import Any

import torch

from dsum_demo.errors import InputError
from dsum_demo.models.loading import twin

WEAKEST, STRONGEST = 0.0, 2.0


def check_strength(strength: float) -> float:
    """Raises InputError for what is no number from 0 to 2."""
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not WEAKEST <= strength <= STRONGEST:
        raise InputError(f"strength is {strength!r}; give a number from {WEAKEST:g} to {STRONGEST:g}.")
    return float(strength)


def at_strength(model: Any, strength: float) -> Any:
    """A PEFT model like `model` over the same tensors, with its adapter's part multiplied by `strength`.

    0 gives the base's output exactly. DoRA's learned lengths are moved as well: from the base's own, at 0, over the
    learned ones, at 1, and on. The model must not be writing while it is copied.
    """
    view = twin(model)
    for module in view.modules():
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict):
            module.scaling = {name: value * strength for name, value in scaling.items()}
        _scale_lengths(module, strength)
    return view


def _scale_lengths(module: Any, strength: float) -> None:
    """DoRA (Liu et al. 2024): the lengths of a matrix's columns are learned beside LoRA's product."""
    for layer in getattr(module, "lora_magnitude_vector", {}).values():
        weight = module.get_base_layer().weight
        with torch.no_grad():
            own = layer.get_weight_norm(weight, torch.zeros_like(weight), 0)
            lengths = own + strength * (layer.weight - own) if strength else own
        layer.weight = torch.nn.Parameter(lengths, requires_grad=False)
