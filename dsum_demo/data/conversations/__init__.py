"""Pasted and exported conversations: chat exports, transcripts, e-mail threads and JSON, read as `Name: text` turns."""
