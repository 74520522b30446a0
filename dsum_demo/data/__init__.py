"""Input data: dialogues as people paste them, tables in CSV, TSV and JSON, and examples by source name."""
