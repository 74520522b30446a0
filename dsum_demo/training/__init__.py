"""How a model is fine-tuned: methods, configs, datasets, the training loop and checkpoints. It does not use run folders
or the queue, so it can be called from a script.
"""

__all__ = [
    "batches",
    "checkpoints",
    "config",
    "dataset",
    "dpo",
    "events",
    "first_batch",
    "loop",
    "methods",
    "preference_pairs",
    "presets",
    "sweep",
]
