"""The snippet of a model, run as it is shown, writes what the app writes."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from dsum_demo.comparison import compare
from dsum_demo.composition import make_registry
from dsum_demo.errors import ModelUnavailableError
from dsum_demo.generation.streaming import HALF_A_CHARACTER
from dsum_demo.models.catalog import Kind
from dsum_demo.models.snippet import EXAMPLE, snippet_of
from dsum_demo.settings import PROJECT_ROOT, Settings

DIALOGUE = "Maya: Can you lend me ten dollars?\nTom: Sure, pay me back next week."
SHIPPED = ("models/dsum-t5-base", "models/dsum-t5-full", "adapters/dsum-t5-lora", "models/smollm2-135m",
           "models/smollm2-135m-dialogsum", "adapters/smollm2-135m-dialogsum-lora")  # fmt: skip


@pytest.mark.parametrize("kind", list(Kind))
def test_the_snippet_writes_what_the_app_writes(any_store, kind, monkeypatch):
    family = any_store.registry.default_family
    spec = next(spec for spec in family.variants if spec.kind is kind)
    monkeypatch.chdir(any_store.registry.folder_of(spec).parent.parent)
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(snippet_of(any_store.registry, spec), names)
    written = [compare(any_store, family, [spec], text).systems[0].summary for text in (EXAMPLE, DIALOGUE)]
    assert len(set(written)) == 2 and all(written)
    # The tiny models end inside a character, which the app leaves out.
    plain = [
        text.strip().rstrip(HALF_A_CHARACTER).strip() for text in (printed.getvalue(), names["summarize"](DIALOGUE))
    ]
    assert plain == written


@pytest.mark.parametrize("folder", SHIPPED)
def test_the_shipped_cards_contain_the_snippet(folder):
    registry = make_registry(Settings(offline=True))
    code = snippet_of(registry, registry.spec(folder.rpartition("/")[2]))
    assert re.findall(r"```python\n(.+?)```", (PROJECT_ROOT / folder / "README.md").read_text(), re.DOTALL) == [code]


def test_a_model_of_the_hub_is_loaded_by_its_id_and_revision():
    registry = make_registry(Settings(offline=True))
    code = snippet_of(registry, registry.spec("qwen3-0.6b"))
    assert '"Qwen/Qwen3-0.6B"' in code and 'revision="c1899de289a04d12100db370d81485cdf75e47ca"' in code
    assert "enable_thinking=False" in code and "no_repeats" not in code
    with pytest.raises(ModelUnavailableError, match="Fine-tune one"):
        snippet_of(registry, registry.spec("qwen3-0.6b-lora"))
