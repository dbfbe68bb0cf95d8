"""Store: buckets and records."""
