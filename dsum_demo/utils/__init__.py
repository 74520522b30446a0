"""Small helpers that do not depend on dsum's domain. A helper belongs here if two packages use it and its module has a
name that describes it.
"""

__all__ = [
    "checkpoint_files",
    "fields",
    "files",
    "formatting",
    "gguf_header",
    "hardware",
    "ownership",
    "path_redaction",
    "ranks",
    "threads",
]
