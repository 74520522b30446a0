"""Input data: pasted conversations, tables in CSV, TSV and JSON, and examples by source name."""
