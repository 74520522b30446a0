"""Recognizes pasted conversations (chat exports, transcripts, e-mail threads and JSON) and turns them into lines `Name:
text`. A text that fits no format is used as it is.
"""

__all__ = ["files", "reader"]
