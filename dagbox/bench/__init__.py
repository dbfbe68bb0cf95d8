"""Load that users measure (`load`: `dagbox bench`), and benchmarks against peers (`python -m dagbox.bench`)."""
