"""How a model is fine-tuned: methods, configs, datasets, the training loop, checkpoints. It knows no run folder."""
