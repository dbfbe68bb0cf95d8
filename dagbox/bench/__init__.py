"""Benchmarks, each against a peer in the same run: `dagbox bench` or `python -m dagbox.bench`."""
