"""A sweep's result as a table, a plot and a picture."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from run_lib.config.sweep import Candidate, Sweep
from run_lib.data.levels import DataSpec
from run_lib.files import atomic, write_json
from run_lib.tuning.jobs import ScoreFiles
from run_lib.tuning.results import SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE, _LINE, _LETTERS = 8, 0.17, 14
"""Of titles above a picture's columns: points, inches of a line, letters in an inch."""


def write_table(result: SweepResult, folder: Path) -> None:
    """``table.csv``, a row for each candidate, and ``table.json`` with the score of every set besides."""
    rows: list[dict[str, Any]] = []
    for i, row in enumerate(result.rows):
        cells: dict[str, Any] = {change.field: change.value for change in row.candidate.changes}
        for k, metric in enumerate(result.metrics):
            interval = None if row.failed else row.interval(k, result.confidence)
            cells |= {
                metric.name: interval and interval.mean,
                f"{metric.name} +-": interval and interval.half,
            }
        difference = result.comparison.differences[i]
        cells |= {
            f"loss by {result.ranked_by.name} less the best's": None if row.failed else difference.mean,
            "of that +-": None if row.failed else difference.half,
            "best": i == result.comparison.best,
            "as good as the best": result.comparison.equal[i],
            "nfe": row.nfe,
            "seconds": round(row.seconds, 3),
            "failed": row.failed,
        }
        rows.append(cells)
    with atomic(folder / "table.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    best, as_good = result.best, result.as_good
    write_json(
        folder / "table.json",
        {
            "confidence": result.confidence,
            "intervals": "Student's t over the seeds; differences are paired, seed by seed, and bounded together",
            "ranked_by": asdict(result.ranked_by),
            "best": {change.field: change.value for change in best.changes},
            "as_good": [{change.field: change.value for change in c.changes} for c in as_good],
            "rows": [
                {
                    **cells,
                    "by_seed": {
                        metric.name: [value if math.isfinite(value) else None for value in values]
                        for metric, values in zip(result.metrics, row.values.tolist(), strict=True)
                    },
                    **({"lost": list(row.lost)} if row.lost else {}),
                }
                for cells, row in zip(rows, result.rows, strict=True)
            ],
        },
    )


def draw_plot(result: SweepResult, path: Path) -> None:
    """Every metric against the first field whose values are numbers, a line for each choice of the others."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(result.metrics)
    figure = Figure(figsize=(4.6 * count + 0.4, 3.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for k in range(count):
        _panel(figure.add_subplot(1, count, k + 1), result, k)
    _save(figure, path)


def _panel(axes: Axes, result: SweepResult, k: int) -> None:
    metric, field = result.metrics[k], _abscissa(result.sweep)
    lines: dict[str, list[int]] = {}
    for i, row in enumerate(result.rows):
        if row.failed:
            continue
        others = "" if field is None else " ".join(str(c) for c in row.candidate.changes if c.field != field)
        lines.setdefault(others, []).append(i)
    places = [float(i if field is None else row.candidate[field]) for i, row in enumerate(result.rows)]
    for others, rows in lines.items():
        rows.sort(key=lambda i: places[i])
        intervals = [result.rows[i].interval(k, result.confidence) for i in rows]
        axes.errorbar(
            [places[i] for i in rows],
            [interval.mean for interval in intervals],
            yerr=[interval.half for interval in intervals],
            fmt="o-" if field is not None else "o",
            markersize=4,
            capsize=3,
            linewidth=1.2,
            label=others or None,
        )
    if field is None:
        axes.set_xticks(
            range(len(places)), [str(row.candidate) for row in result.rows], rotation=45, ha="right"
        )
    elif min(places) > 0 and max(places) / min(places) > 8:
        axes.set_xscale("log")
        axes.set_xticks(sorted(set(places)), [f"{p:g}" for p in sorted(set(places))], rotation=60)
        axes.minorticks_off()
    if metric.name == "variance" and field == "snr":
        x = np.linspace(min(places), max(places), 200)
        axes.plot(x, 1 + x**2, "k--", linewidth=1, label="1 + snr²", zorder=0)
    failed = [places[i] for i, row in enumerate(result.rows) if row.failed]
    if failed:
        height = axes.get_xaxis_transform()  # at the bottom, whatever the scores are
        axes.plot(failed, [0.03] * len(failed), "kx", transform=height, label="failed: not finite")
    best = result.comparison.best
    axes.plot(
        [places[best]],
        [result.rows[best].interval(k, result.confidence).mean],
        "*",
        color="crimson",
        markersize=13,
        zorder=5,
        label=f"best by {result.ranked_by.name}",
    )
    if result.sweep.numeric and len(result.as_good) > 1:
        label = "cannot be told from it"
        for run in result.runs:
            ends = [float(c.changes[0].value) for c in run]
            width = 1.0 if len(run) == 1 else None  # a value on its own is a line
            axes.axvspan(ends[0], ends[-1], color="crimson", alpha=0.08, linewidth=width, label=label)
            label = "_"
    axes.set_xlabel(field or "")
    axes.set_title(f"{metric.what}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _abscissa(sweep: Sweep) -> str | None:
    """The first field with more than one value, all of them numbers."""
    for field in sweep.fields:
        values = {c[field] for c in sweep.candidates}
        if len(values) > 1 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            return field
    return None


def draw_picture(sweep: Sweep, parts: ScoreFiles, data: DataSpec, count: int, path: Path) -> None:
    """Columns: candidates; rows: the same seeds. Images as they are; other data by their first two coordinates."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images = len(data.shape) == 3
    columns, rows = len(sweep.candidates), count if images else 1
    side = 0.9 if images else 2.4
    titles = [_title(candidate, int(_LETTERS * side)) for candidate in sweep.candidates]
    head = _LINE * max(title.count("\n") + 1 for title in titles)
    figure = Figure(figsize=(side * columns, side * rows + 0.2 + head), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for column, candidate in enumerate(sweep.candidates):
        samples = parts.samples(candidate)
        for row in range(rows):
            axes = grid[row, column]
            if samples is None:
                axes.set_axis_off()
                axes.text(0.5, 0.5, "failed", ha="center", va="center", transform=axes.transAxes)
                continue
            if images:
                _image(axes, samples[row] if row < len(samples) else None, data)
            else:
                _points(axes, samples[:count])
        grid[0, column].set_title(titles[column], fontsize=_SIZE)
    _save(figure, path)


def _image(axes: Axes, sample: np.ndarray | None, data: DataSpec) -> None:
    axes.set_axis_off()
    if sample is None:
        return
    low, high = (0, data.levels - 1) if data.levels else (float(sample.min()), float(sample.max()))
    shown = (sample.astype(np.float64) - low) / max(high - low, 1e-12)
    shown = shown[:3] if len(shown) >= 3 else shown[:1].repeat(3, 0)
    axes.imshow(shown.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")


def _points(axes: Axes, samples: np.ndarray) -> None:
    flat = samples.reshape(len(samples), -1)
    second = flat[:, 1] if flat.shape[1] > 1 else np.zeros(len(flat))
    axes.scatter(flat[:, 0], second, c=np.arange(len(flat)), cmap="tab10", s=14)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=6)


def _title(candidate: Candidate, letters: int) -> str:
    return "\n".join(line for change in candidate.changes for line in _folded(str(change), letters))


def _folded(text: str, letters: int) -> list[str]:
    """Lines of at most so many letters, as far as it can be cut behind ``=`` and ``_``."""
    lines = [""]
    for piece in re.findall(r"[^=_]*[=_]|[^=_]+", text):
        if lines[-1] and len(lines[-1]) + len(piece) > letters:
            lines.append("")
        lines[-1] += piece
    return lines


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as partial:
        figure.savefig(partial, format="png")
