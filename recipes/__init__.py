"""How the embedded T5 family was made, from text to weights. Imports `dsum_demo`; nothing there imports this."""
