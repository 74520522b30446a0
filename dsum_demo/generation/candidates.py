"""Several summaries of one dialogue: the greedy one and samples, generated in one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from transformers import LogitsProcessor

from dsum_demo.errors import DsumError, GenerationError, InputError
from dsum_demo.generation.batch import generate_rows, row_generation
from dsum_demo.generation.stopping import StopOnRequest
from dsum_demo.generation.streaming import Generation, GumbelNoise, no_repeats
from dsum_demo.models.decoding import DecodingConfig
from dsum_demo.models.prompts import FittedDialogue
from dsum_demo.models.store import LoadedModel
from dsum_demo.utils.formatting import first_line

TEMPERATURE = 0.8  # of the samples, unless the decoding config samples
MOST = 8


def write_candidates(
    loaded: LoadedModel,
    prompt: FittedDialogue,
    decode: DecodingConfig,
    number: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Generation]:
    """`number` summaries: first the greedy one, then seeded samples; equal ones are kept once.

    seconds is each text's share of the batch's time. Raises InputError for a number out of bounds or beam search,
    Stopped, and GenerationError, naming the model, if the model fails.
    """
    if not 1 <= number <= MOST:
        raise InputError(f"The number of candidates is {number}; give 1 to {MOST}.")
    if decode.num_beams > 1:
        raise InputError("Candidates are sampled; choose greedy decoding or sampling instead of beam search.")
    stop = StopOnRequest(should_stop)
    noise = GumbelNoise(decode.temperature if decode.do_sample else TEMPERATURE, decode.seed)
    processors = [*no_repeats(loaded.architecture, decode, len(prompt.source_ids)), _AllButFirst(noise)]
    greedy = replace(decode, do_sample=False)
    ids = torch.tensor([prompt.source_ids] * number, device=next(loaded.model.parameters()).device)
    try:
        rows, seconds = generate_rows(loaded, ids, torch.ones_like(ids), greedy, processors, stop)
    except DsumError:
        raise
    except Exception as error:
        raise GenerationError(f"{loaded.spec.name} failed during generation: {first_line(error)}") from error
    found: dict[str, Generation] = {}
    for row in rows:
        generation = row_generation(loaded, row, decode, seconds)
        found.setdefault(generation.text, generation)
    return list(found.values())


class _AllButFirst(LogitsProcessor):
    """Another processor for all rows but the first, which stays greedy."""

    def __init__(self, other: LogitsProcessor):
        self.other = other

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        changed = self.other(input_ids, scores)
        changed[0] = scores[0]
        return changed
