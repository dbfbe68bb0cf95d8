"""Notation: texts that people type."""
