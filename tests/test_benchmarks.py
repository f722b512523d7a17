"""What the benchmarks share: which there are, how they compare, and what a missing peer is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.all import ROOT, Benchmark, benchmarks
from benchmarks.cost import exponent
from benchmarks.report import interleaved, ratio
from benchmarks.sampler_accuracy import BUDGETS, THEIRS, Row, group_of, table


def test_all_runs_every_benchmark() -> None:
    """Whatever can be called as a program, but for this one and the loop that `training` calls."""
    programs = {
        file.stem
        for file in (ROOT / "benchmarks").glob("*.py")
        if '__name__ == "__main__"' in file.read_text()
    }
    named = [one.module for one in benchmarks(Path("nowhere"))]
    assert sorted(named) == sorted(programs - {"all", "ancestor_training"})


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert Benchmark("noise", needs=("torch",), folder=tmp_path).missing() == []
    found = Benchmark("noise", needs=("torch", "no_such_package"), folder=tmp_path / "none").missing()
    assert found == ["the package no_such_package", f"the folder {tmp_path / 'none'} (--fashion_mnist)"]


def test_the_exponent_of_a_power_law() -> None:
    assert exponent([8, 16, 64], [3 * size**1.2 for size in (8, 16, 64)]) == pytest.approx(1.2)


def test_rounds_run_all_in_turn_and_a_ratio_is_of_each_round() -> None:
    """Of 1, 3 and 1/2 the median is 1; the ratio of the medians is 2."""
    ran: list[str] = []
    seconds = interleaved({name: lambda name=name: ran.append(name) for name in "ab"}, 3)  # type: ignore[misc]
    assert ran == ["a", "b"] * 3
    assert [len(taken) for taken in seconds.values()] == [3, 3]
    assert ratio([1.0, 6.0, 4.0], [1.0, 2.0, 8.0]) == 1.0


def test_the_accuracy_table_compares_like_with_like() -> None:
    """``auto`` 2 against peers at 4 on their own grids, and at 1 on those that were made for the target; ours 0.5."""

    def rows(**errors: float) -> dict[str, list[Row]]:
        return {
            group: [Row(group, *[(error,) * len(BUDGETS)] * 3)]
            for group, error in zip(
                (*map(group_of, ("auto", "adams", "optimised grid")), "azula", THEIRS),
                errors.values(),
                strict=True,
            )
        }

    lines = table(
        "mixture", rows(auto=2.0, named=3.0, optimised=0.5, azula=4.0, theirs=1.0), lambda row: row.rms
    )
    assert lines[2].startswith("| score-pc, auto |")
    found = {line.split(" | ")[0]: line.split(" | ")[1] for line in lines if "best peer" in line}
    assert found == {
        "| auto / best peer": "0.5",
        "| named grids / best peer": "0.75",
        "| ours / best peer": "0.12",
        "| ours / best peer, its grids optimised too": "0.5",
    }
