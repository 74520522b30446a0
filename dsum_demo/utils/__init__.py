"""Small helpers that know nothing of dsum's domain: files, fields, hardware, checkpoint headers, ownership."""
