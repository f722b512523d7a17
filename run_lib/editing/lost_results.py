"""Results that are not finite, and images that could not be read: how a mode that writes images ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from run_lib.data.inputs import Skipped, report_skipped
from run_lib.evaluation.report import IncompleteError
from run_lib.processes import Processes
from run_lib.sharing.parts import Part
from samplers.pc import SampleResult
from sde_lib.finite import NotFiniteError
from sde_lib.words import listed

SHOWN = 20
"""Results that a message names."""


@dataclass(frozen=True)
class LostResult:
    """A result that is not finite.

    Attributes:
        image: name of the input.
        number: of the result among those of the image.
    """

    image: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.image} (result {self.number})" if self.number else self.image


def where_finite(
    work: Callable[[list[int]], SampleResult], count: int
) -> tuple[list[int], SampleResult | None]:
    """Rows of a batch for which work gives a result, and their result; None where there is none at all.

    Args:
        work: what is done of some rows. Each depends on itself alone.
        count: rows of the batch.
    """
    rows = list(range(count))
    while rows:
        try:
            return rows, work(rows)
        except NotFiniteError as error:
            lost = set(error.rows or range(len(rows)))
            rows = [row for place, row in enumerate(rows) if place not in lost]
    return [], None


def skipped_in(skipped: Sequence[Skipped]) -> Part:
    """Images of a batch that could not be read, as processes tell them each other."""
    return {
        "skipped": np.array([one.image for one in skipped], dtype=str),
        "reasons": np.array([one.reason for one in skipped], dtype=str),
    }


def skipped_of(part: Part) -> list[Skipped]:
    """The same, of what a process has told."""
    return [Skipped(str(i), str(r)) for i, r in zip(part["skipped"], part["reasons"], strict=True)]


def report_results(skipped: Sequence[Skipped], total: int, lost: Sequence[LostResult]) -> None:
    """List what is missing, after everything else is written.

    Raises:
        IncompleteError: a result is not finite; the exit status is 3.
        SystemExit: an image could not be read; it is 1.
    """
    with Processes.from_environment().notes_once():
        if not lost:
            report_skipped(skipped, total)
            return
        with contextlib.suppress(SystemExit):  # what is not finite is the graver
            report_skipped(skipped, total)
    raise IncompleteError(
        f"{len(lost)} result{'s are' if len(lost) > 1 else ' is'} not finite and not written: those of "
        f"{listed(lost, SHOWN)}. The network's output is not finite, or the sampler diverges: "
        f"look at the weights, take more sampling.num_steps or other settings of the method."
    )
