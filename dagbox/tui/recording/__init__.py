"""Recordings: polls in a file, and the file as a source of polls. Knows no Textual."""
