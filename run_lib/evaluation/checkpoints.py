"""Numbers of several checkpoints: a table, a plot of each against the step, and TensorBoard's curves."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from run_lib.evaluation.report import Number, Report
from run_lib.files import atomic
from run_lib.training.curves import Curves

TABLE = "checkpoints.csv"
PLOT = "checkpoints.png"
COLUMNS = 3
"""Plots side by side."""

Steps = Mapping[int, Sequence[Number]]
"""Numbers by the step of their checkpoint, in order of steps."""


def by_checkpoint(numbers: Iterable[Number], config_hash: str) -> dict[int, list[Number]]:
    """The numbers of one configuration by the step of their checkpoint, in order of steps."""
    found: dict[int, list[Number]] = {}
    for number in numbers:
        if number.config_hash == config_hash:
            found.setdefault(number.step, []).append(number)
    return dict(sorted(found.items()))


def write_checkpoints(report: Report, config_hash: str, curves: Path) -> Path | None:
    """Write ``checkpoints.csv`` and ``checkpoints.png`` beside a report, and its numbers as TensorBoard's scalars.

    Args:
        report: of the checkpoints.
        config_hash: of the configuration whose numbers are compared.
        curves: the folder of the event file; what earlier files there say is void.

    Returns:
        the table; None: there are fewer than two checkpoints.
    """
    steps = by_checkpoint(report, config_hash)
    if len(steps) < 2:
        return None
    folder = report.path.parent
    _write_table(steps, folder / TABLE)
    _write_plot(steps, folder / PLOT)
    with Curves(curves, purge_step=0) as events:
        for step, numbers in steps.items():
            for number in numbers:
                if not number.is_reference:
                    events.add_scalar(f"eval/{number.name}", number.value, step)
    return folder / TABLE


def names_of(steps: Steps) -> list[str]:
    """Of all numbers, each once, in their order; references come last."""
    numbers = [number for of in steps.values() for number in of]
    return list(
        dict.fromkeys(number.name for number in sorted(numbers, key=lambda number: number.is_reference))
    )


def _write_table(steps: Steps, path: Path) -> None:
    """A row for each checkpoint; a number's standard error follows it, empty where it has none."""
    names = names_of(steps)
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *(head for name in names for head in (name, f"{name}, standard error"))])
        for step, numbers in steps.items():
            held = {number.name: number for number in numbers}
            cells: list[object] = [step]
            for name in names:
                number = held.get(name)
                cells += ["", ""] if number is None else [repr(number.value), _error(number)]
            writer.writerow(cells)


def _error(number: Number) -> str:
    return "" if number.stderr is None else repr(number.stderr)


def _write_plot(steps: Steps, path: Path) -> None:
    """A panel for each number with its 95 % intervals; references of the last checkpoint are lines across."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    last = list(steps.values())[-1]
    drawn = [
        name
        for name in names_of(steps)
        if any(n.name == name and not n.is_reference for numbers in steps.values() for n in numbers)
    ]
    rows = -(-len(drawn) // COLUMNS)
    figure = Figure(figsize=(3.4 * min(COLUMNS, len(drawn)), 2.6 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(drawn, start=1):
        axes = figure.add_subplot(rows, min(COLUMNS, len(drawn)), place)
        points = [(step, n) for step, numbers in steps.items() for n in numbers if n.name == name]
        points = [(step, n) for step, n in points if math.isfinite(n.value)]
        axes.errorbar(
            [step for step, _ in points],
            [n.value for _, n in points],
            yerr=[n.half or 0.0 for _, n in points],
            fmt="o-",
            markersize=3.5,
            linewidth=1.2,
            capsize=2.5,
        )
        family = points[0][1].family if points else ""
        for n in last:
            if n.is_reference and n.family == family and math.isfinite(n.value):
                axes.axhline(
                    n.value, color="#a04a00", linewidth=1, linestyle="--", label=n.name.partition("/")[2]
                )
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=6)
        axes.set_title(name, fontsize=9, parse_math=False)
        axes.set_xlabel("step", fontsize=8)
        axes.set_ylabel(next((n.unit for _, n in points), ""), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    with atomic(path) as partial:
        figure.savefig(partial, format="png")
