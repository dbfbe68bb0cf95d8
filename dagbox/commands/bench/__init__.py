"""`dagbox bench`: its options, and what it prints."""
