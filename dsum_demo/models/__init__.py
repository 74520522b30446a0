"""Which models exist and how they are loaded: catalog, registry, prompts, adapters, fast paths, the model store."""
