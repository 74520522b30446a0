"""Scales an adapter's update: a copy of the module tree that shares all tensors.

The original model is not modified, so it can generate at the same time without a lock.
"""

from __future__ import annotations

from typing import Any

import torch

from dsum_demo.errors import InputError
from dsum_demo.models.loading import twin

WEAKEST, STRONGEST = 0.0, 2.0


def check_strength(strength: float) -> float:
    """Raises InputError for anything but a number from 0 to 2."""
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not WEAKEST <= strength <= STRONGEST:
        raise InputError(f"strength is {strength!r}; give a number from {WEAKEST:g} to {STRONGEST:g}.")
    return float(strength)


def at_strength(model: Any, strength: float) -> Any:
    """A PEFT model that shares the tensors of `model`, with its adapter's update multiplied by `strength`.

    0 gives the base's output exactly. DoRA's magnitudes are interpolated between the base's, at 0, and the learned
    ones, at 1, and extrapolated above 1. The model must not generate while it is copied.
    """
    view = twin(model)
    for module in view.modules():
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict):
            module.scaling = {name: value * strength for name, value in scaling.items()}
        _scale_lengths(module, strength)
    return view


def _scale_lengths(module: Any, strength: float) -> None:
    """DoRA (Liu et al. 2024) learns the magnitudes of a matrix's columns in addition to LoRA's product."""
    for layer in getattr(module, "lora_magnitude_vector", {}).values():
        weight = module.get_base_layer().weight
        with torch.no_grad():
            own = layer.get_weight_norm(weight, torch.zeros_like(weight), 0)
            lengths = own + strength * (layer.weight - own) if strength else own
        layer.weight = torch.nn.Parameter(lengths, requires_grad=False)
