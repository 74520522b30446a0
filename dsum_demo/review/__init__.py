"""Blind review of summaries by people: storage, assignment of items, statistics of the verdicts, and exports. Reviewers
never see which system wrote a text.
"""

__all__ = [
    "backup",
    "export",
    "marked_errors",
    "metric_agreement",
    "preferences",
    "records",
    "report",
    "report_text",
    "sources",
    "storage",
]
