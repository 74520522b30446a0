"""The Modelfile with which Ollama sends a model the prompt that the app sends.

Format: https://github.com/ollama/ollama/blob/main/docs/modelfile.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsum_demo.errors import ExportError
from dsum_demo.models.catalog import Family

DIALOGUE = "{{ .Prompt }}"  # Ollama replaces it by what the user types


def modelfile(name: str, weights: str, family: Family, tokenizer: Any, ends: Sequence[int]) -> str:
    """name: the model's. weights: the GGUF file's name. ends: the tokens that end a summary.

    Raises ExportError for a prompt that a Modelfile cannot contain.
    """
    template = family.prompt.render(tokenizer, DIALOGUE)
    if template.count(DIALOGUE) != 1 or template.count("{{") != 1 or '"""' in template:
        raise ExportError(f"The prompt of {family.name} contains {{{{ or three quotes, which a Modelfile cannot.")
    stops = tokenizer.convert_ids_to_tokens(list(ends))
    lines = [
        f"# ollama create {name} -f Modelfile, then: ollama run {name} < dialogue.txt",
        "# The prompt is the one of dsum. Ollama cannot ban repeated n-grams, as dsum does.",
        f"FROM ./{weights}",
        f'TEMPLATE """{template}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1.0",
        f"PARAMETER num_predict {family.decode.max_new_tokens}",
        f"PARAMETER num_ctx {family.max_source_tokens + family.decode.max_new_tokens}",
    ]
    return "\n".join(lines) + "\n"
