"""Locks: holders and waiters."""
