"""``--mode compare``: ``compare.html``, the page of several runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from run_lib.evaluation.checkpoints import names_of
from run_lib.evaluation.report import Number
from run_lib.pages.differences import Candidate, best, comparable, difference
from run_lib.pages.found import Found
from run_lib.pages.images import drawn, shown
from run_lib.pages.markup import Markup, details, facts, joined, table, tag
from run_lib.pages.numbers import interval, plain, valued
from run_lib.pages.page import check_page, command, page, put
from run_lib.pages.sections import Section, summary
from run_lib.run import Run
from run_lib.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPARE = "compare.html"
_LINES = ("-", "--", "-.", ":")
_COLOURS = ("#0b5cad", "#c2500a", "#1b7f5c", "#7a3e9d", "#8a6d00", "#b0225f", "#3a3f45")
_NO_STEP = 2**62
"""Later than all steps of a training."""


@dataclass(frozen=True)
class Compared:
    """A run on the page.

    Attributes:
        found: what lies in its work directory.
        candidate: its numbers.
    """

    found: Found
    candidate: Candidate

    @property
    def name(self) -> str:
        return self.candidate.name


def compare(workdirs: Sequence[Path], run: Run) -> None:
    """Write ``compare.html``.

    Args:
        workdirs: of the runs, two or more.
        run: where the page goes, and the name of the folders of the evaluations.

    Raises:
        ValueError: a folder is no run, or a run has no report; a file of somebody else's has the page's name.
    """
    path = run.workdir / COMPARE
    check_page(path)
    runs = [
        _compared(name, workdir, run.eval_folder)
        for name, workdir in zip(names(workdirs), workdirs, strict=True)
    ]
    parts = [
        Section(key, title, content) for key, title, make in _SECTIONS if (content := make(runs)) is not None
    ]
    put(
        path,
        page(", ".join(one.name for one in runs), f"Comparison of {len(runs)} runs", parts, command()),
    )
    print(f"page: {path}")


def names(workdirs: Sequence[Path]) -> list[str]:
    """The last parts of the folders' paths, as many as tell them apart."""
    whole = [path.resolve().parts for path in workdirs]
    for length in range(1, max(map(len, whole))):
        short = ["/".join(parts[-length:]) for parts in whole]
        if len(set(short)) == len(short):
            return short
    return [str(path) for path in workdirs]


def _compared(name: str, workdir: Path, eval_folder: str) -> Compared:
    found = Found.of(workdir)
    evaluated = next((one for one in found.evaluated if one.folder == workdir / eval_folder), None)
    if evaluated is not None:
        return Compared(found, Candidate.of(name, evaluated))
    if unread := next((line for line in found.unread if str(workdir / eval_folder) in line), None):
        raise ValueError(unread)
    if found.empty:
        raise ValueError(f"{workdir} is no work directory of a run: there are no results in it.")
    raise ValueError(
        f"{workdir} has no report in {eval_folder}/: evaluate it with --mode eval --workdir {workdir}, or name another "
        f"folder by --eval_folder."
    )


def _numbers(runs: Sequence[Compared]) -> Markup | None:
    candidates = [one.candidate for one in runs]
    every = names_of({k: list(one.numbers.values()) for k, one in enumerate(candidates)})
    rows = [_row(name, candidates) for name in every]
    steps = ", ".join(f"{one.name} at step {next(iter(one.numbers.values())).step:,}" for one in candidates)
    told = tag(
        "p",
        f"{steps}. Values have 95 % intervals. A value is marked as best where the differences to all other runs lie "
        f"beyond their intervals, of all pairs together at 95 %; the name of a number opens the differences.",
    )
    head = ["number", *(one.name for one in candidates)]
    return joined(told, table(head, rows, "Numbers of each run", numeric=frozenset(range(1, len(head)))))


def _row(name: str, runs: Sequence[Candidate]) -> list[object]:
    first = best(name, runs)
    held = [run.numbers[name] for run in runs if name in run.numbers]
    apart = facts([(what, text) for what, text in _differences(name, runs)])
    unit = tag("span", f" {held[0].unit}", class_="quiet") if held[0].unit else None
    notes = list(dict.fromkeys(number.note for number in held if number.note))
    note = tag("div", "; ".join(notes), class_="note") if notes else None
    label = joined(name, unit)
    head = joined(details(label, apart) if len(held) > 1 and not held[0].is_reference else label, note)
    return [head, *(_value(run.numbers.get(name), run is first) for run in runs)]


def _value(number: Number | None, is_best: bool) -> object:
    if number is None:
        return "\u2013"
    return tag("strong", valued(number), tag("span", " best", class_="best")) if is_best else valued(number)


def _differences(name: str, runs: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    """Each pair's difference with its interval, and whether it is paired."""
    have = [run for run in runs if name in run.numbers and math.isfinite(run.numbers[name].value)]
    pairs = list(itertools.combinations(have, 2))
    if not comparable(name, have):
        counts = ", ".join(f"{run.name} {run.numbers[name].count:,}" for run in have)
        yield "not compared", f"they are not measured in one way; images: {counts}"
        return
    for one, other in pairs:
        found = difference(name, one, other)
        text = plain(found.value)
        if (half := found.half(len(pairs))) is not None:
            text = f"{interval(found.value, half)}, {found.how}"
            text += "" if found.beyond(len(pairs)) else "; they cannot be told apart"
        yield f"{one.name} less {other.name}", text


def _curves(runs: Sequence[Compared]) -> Markup | None:
    """Losses and numbers against the step, of all runs in one picture each."""
    from matplotlib.figure import Figure

    panels = [(what, draw) for what, draw in (*_losses(runs), *_by_step(runs))]
    if not panels:
        return None
    pictures = []
    for what, draw in panels:
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot(xlabel="step")
        for k, one in enumerate(runs):
            draw(axes, one, _COLOURS[k % len(_COLOURS)], _LINES[k % len(_LINES)])
        axes.grid(alpha=0.3)
        for text in axes.legend(fontsize=8).get_texts():
            text.set_parse_math(False)
        pictures.append(drawn(figure, f"{what} against the step, a line for each run", what))
    return tag("div", *pictures, class_="side")


Draw = Callable[["Axes", Compared, str, str], None]


def _losses(runs: Sequence[Compared]) -> Iterator[tuple[str, Draw]]:
    histories = {one.name: History.up_to(one.found.workdir, _NO_STEP) for one in runs}
    for what, of in (("training loss", "training"), ("held-out loss", "held_out")):
        losses: dict[str, dict[int, float]] = {name: getattr(held, of) for name, held in histories.items()}
        if any(losses.values()):

            def draw(
                axes: Axes,
                one: Compared,
                colour: str,
                line: str,
                losses: dict[str, dict[int, float]] = losses,
            ) -> None:
                points = sorted((s, v) for s, v in losses[one.name].items() if 0 < v < math.inf)
                mark = "o" if len(points) == 1 else None
                axes.plot(
                    [s for s, _ in points], [v for _, v in points], linestyle=line, marker=mark, color=colour,
                    linewidth=1.2, label=_legend(one.name),
                )  # fmt: skip
                axes.set_yscale("log")

            yield what, draw


def _by_step(runs: Sequence[Compared]) -> Iterator[tuple[str, Draw]]:
    """Numbers of which a run has several checkpoints."""
    steps = {one.name: list(one.candidate.evaluated.groups().values())[-1] for one in runs}
    for name in dict.fromkeys(name for held in steps.values() for name in names_of(held)):
        points = {
            run: [n for of in held.values() for n in of if n.name == name and math.isfinite(n.value)]
            for run, held in steps.items()
        }
        if max(map(len, points.values())) < 2:
            continue
        if any(n.is_reference for of in points.values() for n in of):
            continue

        def draw(
            axes: Axes, one: Compared, colour: str, line: str, points: dict[str, list[Number]] = points
        ) -> None:
            of = points[one.name]
            axes.errorbar(
                [n.step for n in of], [n.value for n in of], yerr=[n.half or 0.0 for n in of], fmt="o",
                linestyle=line, color=colour, markersize=3.5, linewidth=1.2, capsize=2.5, label=_legend(one.name),
            )  # fmt: skip

        yield name, draw


def _legend(name: str) -> str:
    """A run's name as matplotlib shows it: one that begins with an underscore would be left out."""
    return f"\u200b{name}" if name.startswith("_") else name


def _samples(runs: Sequence[Compared]) -> Markup | None:
    pictures = []
    for one in runs:
        drawn_by_mode = one.found.samples / "samples.png"
        measured = [path for path in one.candidate.evaluated.pictures if path.name.startswith("samples_")]
        if path := drawn_by_mode if drawn_by_mode.is_file() else next(iter(measured), None):
            pictures.append(shown(path, f"Samples of {one.name}", one.name, within=one.found.workdir))
    return tag("div", *pictures, class_="side") if pictures else None


def _settings(runs: Sequence[Compared]) -> Markup | None:
    every = [one.found.settings for one in runs]
    rows: dict[str, tuple[str, ...]] = {}
    for name in sorted({key for held in every for key in held}):
        values = tuple(held.get(name, "\u2013") for held in every)
        if len(set(values)) > 1:
            rows[name] = values
    # A component's settings are those of its section once more, where both say the same.
    said = {
        (name.rpartition(".")[2], values)
        for name, values in rows.items()
        if not name.startswith("components.")
    }
    kept = [
        [tag("code", name), *(tag("code", value) for value in values)]
        for name, values in rows.items()
        if not (name.startswith("components.") and (name.rpartition(".")[2], values) in said)
    ]
    if not kept:
        return tag("p", "No setting on record differs.")
    return table(["field", *(one.name for one in runs)], kept, "Settings that differ")


def _runs(runs: Sequence[Compared]) -> Markup | None:
    told = [dict(summary(one.found)) for one in runs]
    heads = list(dict.fromkeys(key for one in told for key in one))
    rows = [[head, *(one.get(head, "\u2013") for one in told)] for head in heads]
    rows.append(["folder", *(tag("code", one.found.workdir) for one in runs)])
    return table(["", *(one.name for one in runs)], rows, "What was run")


_SECTIONS: tuple[tuple[str, str, Callable[[Sequence[Compared]], Markup | None]], ...] = (
    ("runs", "What was run", _runs),
    ("numbers", "Numbers", _numbers),
    ("curves", "Curves", _curves),
    ("samples", "Samples", _samples),
    ("settings", "Settings that differ", _settings),
)
