"""Which models exist, whether they are available, and how they are loaded. `registry` lists them without importing
torch; `store` loads them, and the systems of a family share the base model's tensors.
"""

__all__ = [
    "adapter_scaling",
    "adapters",
    "architectures",
    "catalog",
    "decoding",
    "estimates",
    "gguf_writer",
    "loading",
    "peft_types",
    "prompts",
    "registry",
    "snippet",
    "store",
    "t5_fast_path",
]
