"""Readers of pasted conversations: chat exports, transcripts, e-mail threads and JSON, as `Name: text` turns."""
