"""Evaluates systems on many examples and saves, compares and exports the results. A report is computed from recorded
outputs, so one that dsum generated and one from a file are treated alike.
"""

__all__ = [
    "background",
    "candidates",
    "export",
    "judging",
    "model_proof",
    "notable_examples",
    "output_cache",
    "recorded",
    "recorded_comparison",
    "records",
    "recovery",
    "report",
    "runner",
    "scoring",
    "slices",
    "storage",
    "training_data",
    "warnings",
]
