"""Clients: one surface, sync and async, embedded and remote."""
