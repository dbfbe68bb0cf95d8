"""The benchmark of logic on the store measures everything it tells of, and its queries have answers."""

from __future__ import annotations

from dagbox.bench.logic import measure, show


def test_the_benchmark_at_a_small_size() -> None:
    figures, sizes = measure(10_000)
    assert all(figure.seconds > 0 and figure.answers > 0 for figure in figures)
    reached = [figure.answers for figure in figures if figure.task == "one node reaches"]
    assert len(reached) == 3
    assert len(set(reached)) == 1
    told = show(figures, sizes)
    for figure in figures:
        assert figure.task in told
    assert 20 < sizes["stored fact of two short texts"] < 500
