"""Reads input: dialogues as people paste them, tables in CSV, TSV, JSON and Parquet, and examples by source name. It
does not depend on models. Invalid data raises DataError with row numbers.
"""

__all__ = ["columns", "conversations", "dialogues", "examples", "sources", "tables", "values"]
