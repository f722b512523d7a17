"""Numbers of several checkpoints: the table, the plot and the curves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from run_lib.evaluation.checkpoints import write_checkpoints
from run_lib.evaluation.report import Report
from tests.run_lib.pages import CONFIG, evaluated, number


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Of steps 60 and 30, in this order; and a number of another configuration."""
    return evaluated(
        tmp_path,
        number("frechet/pixels", 1 / 3, 0.5, step=60),
        number("recall", 0.75, 0.0625, step=60),
        number("frechet/floor", 0.125, step=60, note="reference"),
        number("frechet/pixels", 2.0, 0.5, step=30),
        number("frechet/floor", 0.125, step=30, note="reference"),
        number("frechet/pixels", 9.0, 0.5, step=90, config_hash="another"),
    )


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_table_has_a_row_for_each_checkpoint(report: Report, tmp_path: Path) -> None:
    """Values to the last digit, in the order of steps; empty where there is no number or no error."""
    assert write_checkpoints(report, CONFIG, tmp_path / "curves") == tmp_path / "eval/checkpoints.csv"
    with (tmp_path / "eval/checkpoints.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    names = ("frechet/pixels", "recall", "frechet/floor")
    assert rows == [
        ["step", *(head for name in names for head in (name, f"{name}, standard error"))],
        ["30", "2.0", "0.5", "", "", "0.125", ""],
        ["60", repr(1 / 3), "0.5", "0.75", "0.0625", "0.125", ""],
    ]


def test_curves_are_at_the_steps_of_the_checkpoints(report: Report, tmp_path: Path) -> None:
    """References are no curves; what was evaluated before is replaced."""
    write_checkpoints(report, CONFIG, tmp_path / "curves")
    report.add(number("frechet/pixels", 1.0, 0.5, step=30))
    write_checkpoints(report, CONFIG, tmp_path / "curves")
    assert scalars(tmp_path / "curves") == {
        "eval/frechet/pixels": [(30, 1.0), (60, pytest.approx(1 / 3))],
        "eval/recall": [(60, 0.75)],
    }


def test_a_plot_has_a_panel_for_each_number(report: Report, tmp_path: Path) -> None:
    """Two of 3.4 by 2.6 inches at 120 dots."""
    write_checkpoints(report, CONFIG, tmp_path / "curves")
    with Image.open(tmp_path / "eval/checkpoints.png") as image:
        assert image.size == (816, 312)


def test_one_checkpoint_has_no_table(report: Report, tmp_path: Path) -> None:
    assert write_checkpoints(report, "another", tmp_path / "curves") is None
    assert not (tmp_path / "eval/checkpoints.csv").exists()
    assert not (tmp_path / "curves").exists()
