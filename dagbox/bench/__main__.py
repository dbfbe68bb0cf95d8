"""`python -m dagbox.bench`: run the benchmarks and print what they measured."""

from __future__ import annotations

from dagbox.bench.command import bench_command

if __name__ == "__main__":
    bench_command()
