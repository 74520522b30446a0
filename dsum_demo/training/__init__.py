"""How a model is fine-tuned: methods, configs, datasets, the training loop and checkpoints."""
