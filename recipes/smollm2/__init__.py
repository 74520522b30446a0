"""How the embedded SmolLM2 trio was made: a full fine-tune and a LoRA adapter of SmolLM2-135M-Instruct on DialogSum."""
