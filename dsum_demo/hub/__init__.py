"""Access to the Hugging Face Hub: whether it is reachable, what the local cache holds, resumable downloads."""
