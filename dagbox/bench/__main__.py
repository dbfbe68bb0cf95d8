"""`python -m dagbox.bench`: run benchmarks and print their figures."""

from __future__ import annotations

from dagbox.bench.command import bench_command

if __name__ == "__main__":
    bench_command()
