"""Traces: requests, breaks, held requests."""
