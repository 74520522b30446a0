"""Blind review of summaries by people: storage, assignment, statistics of the verdicts, exports."""
