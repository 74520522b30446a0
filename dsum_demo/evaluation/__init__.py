"""Evaluates systems on many examples: running, recording, reporting, saving and exporting."""
