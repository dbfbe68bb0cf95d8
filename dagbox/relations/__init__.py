"""Nested reads: parse relations, plan the levels, enforce limits."""
