"""Small helpers that do not depend on dsum's domain: files, fields, hardware, checkpoint headers, ownership."""
