"""The losses of a training by step: a table, a picture of it, and the checkpoint with the least held-out loss."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from run_lib.files import atomic

HEAD = "step,training loss,held-out loss"


@dataclass
class History:
    """Losses by step, ``losses.csv`` and ``loss.png`` of a work directory.

    They are written with the checkpoints, so that a training that goes on from one has the losses up to its step.

    Attributes:
        folder: the work directory.
        training, held_out: loss by step, ``as_written``.
    """

    folder: Path
    training: dict[int, float] = field(default_factory=dict)
    held_out: dict[int, float] = field(default_factory=dict)

    @classmethod
    def up_to(cls, folder: Path, step: int) -> History:
        """What an earlier part of the training has left, without what lies behind a step.

        Raises:
            ValueError: the file is no such table.
        """
        found = cls(folder)
        if not found.table.is_file():
            return found
        head, *lines = found.table.read_text(encoding="utf-8").splitlines() or [""]
        try:
            if head != HEAD:
                raise ValueError(f"begins with {head!r}")
            for line in lines:
                at, training, held_out = line.split(",")
                for losses, value in ((found.training, training), (found.held_out, held_out)):
                    if value and int(at) <= step:
                        losses[int(at)] = float(value)
        except ValueError as error:
            raise ValueError(
                f"{found.table} is no table of losses of ours ({error}): move it elsewhere."
            ) from error
        return found

    @property
    def table(self) -> Path:
        return self.folder / "losses.csv"

    def write(self) -> None:
        """The table, whole or not at all."""
        lines = [HEAD]
        for step in sorted(self.training.keys() | self.held_out.keys()):
            values = (losses.get(step) for losses in (self.training, self.held_out))
            lines.append(",".join([str(step), *("" if v is None else f"{v:.6g}" for v in values)]))
        with atomic(self.table) as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def best(self, steps: Iterable[int]) -> int | None:
        """The step of the least held-out loss among some; None: it is known of none of them."""
        known = [step for step in steps if math.isfinite(self.held_out.get(step, math.nan))]
        return min(known, key=lambda step: (self.held_out[step], step), default=None)

    def draw(self) -> None:
        """The picture."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), dpi=100)
        # Room for labels such as 2 x 10^-1. A layout that measures them takes twice the time of the drawing.
        figure.subplots_adjust(left=0.13, right=0.98, bottom=0.13, top=0.96)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot(xlabel="step", ylabel="loss")
        for losses, name in ((self.training, "training"), (self.held_out, "held-out, averaged weights")):
            if losses:
                steps = sorted(losses)
                alone = "o" if len(steps) == 1 else ""  # there is no line through one point
                axes.plot(steps, [losses[step] for step in steps], alone, label=name, linewidth=1)
        if any(0 < v < math.inf for v in (*self.training.values(), *self.held_out.values())):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        with atomic(self.folder / "loss.png") as partial:
            canvas.print_png(str(partial))


def as_written(value: float) -> float:
    """A loss as a training that goes on reads it, so that both draw one picture and keep one checkpoint."""
    return float(f"{value:.6g}")
