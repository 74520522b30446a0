"""AdaLoRA's orthogonality loss, and the state that a checkpoint needs in addition to the adapter's weights."""

from __future__ import annotations

from typing import Any

import torch


def rank_allocator(model: Any) -> Any:
    """Return AdaLoRA's rank allocator, or None for other methods."""
    return getattr(getattr(model, "base_model", None), "rankallocator", None)


def orthogonality(model: Any) -> torch.Tensor:
    """AdaLoRA's regularization (Zhang et al. 2023, equation 4), as PEFT computes it."""
    config = model.peft_config[model.active_adapter]
    distances = []
    for name, tensor in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            products = tensor @ tensor.T if "lora_A" in name else tensor.T @ tensor
            distances.append(torch.linalg.norm(products - torch.eye(len(products), device=tensor.device)))
    return config.orth_reg_weight * torch.stack(distances).mean()


def adaptive_state(model: Any) -> dict[str, Any]:
    """Return the state that a saved adapter lacks: all ranks, pruned ones included, and their importance scores."""
    allocator = rank_allocator(model)
    return {
        "weights": {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad},
        "importance": {name: getattr(allocator, name) for name in ("ipt", "exp_avg_ipt", "exp_avg_unc")},
        "rank_pattern": model.peft_config[model.active_adapter].rank_pattern,
    }


def set_adaptive_state(model: Any, state: dict[str, Any]) -> None:
    """Restore the state that `adaptive_state` returned, in place."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in state["weights"].items():
            own[name].copy_(tensor)
    for name, value in state["importance"].items():
        setattr(rank_allocator(model), name, value)
    model.peft_config[model.active_adapter].rank_pattern = state["rank_pattern"]
