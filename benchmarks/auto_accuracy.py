"""How exactly ``predictor='auto'`` solves the probability flow, beside the best setting of the best other library.

    python -m benchmarks.auto_accuracy                 the table, into benchmarks/RESULTS.md
    python -m benchmarks.auto_accuracy --count 256     on fewer draws, into a section of its own

The targets are those of `benchmarks/mixtures.py`, scores exact: root mean square and median over the draws of a
sample's error per dimension against a reference of order 5 in 1500 steps. A cell is the error of ``auto`` over that
of the best of all settings of `benchmarks/peers.py`, chosen for this target, number of evaluations and measure on
these very draws; a star marks those whose peer is below 1e-6, which do not count. Like is compared with like in the
last lines: of those settings, too, the one that serves the most targets at each number of evaluations.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks import mixtures, peers
from benchmarks.mixtures import Target
from benchmarks.report import described, write_section
from benchmarks.sampler_accuracy import BUDGETS
from samplers import ExponentialAdams, PCSampler
from sde_lib import Noise
from sde_lib.base import GaussianSDE
from sde_lib.grids import Blend

COUNT, SEED, LEAST = 1024, 1, 1e-6


@dataclass(frozen=True)
class Error:
    """Over the draws of a target."""

    rms: float
    median: float

    @classmethod
    def of(cls, result: Tensor | None, exact: Tensor, dim: int) -> Error:
        """Infinite where there is no result."""
        if result is None:
            return cls(math.inf, math.inf)
        squares = (result.double() - exact).square().sum(1) / dim
        squares = torch.where(squares.isnan(), torch.inf, squares)
        return cls(float(squares.mean().sqrt()), float(squares.sqrt().median()))


@dataclass(frozen=True)
class Cell:
    """The errors of a target at a number of evaluations: ours, and theirs by setting."""

    ours: Error
    theirs: dict[str, Error]

    @property
    def least(self) -> Error:
        """Of the best setting for either measure."""
        found = self.theirs.values()
        return Error(min(error.rms for error in found), min(error.median for error in found))

    def pairs(self, one: Error) -> list[tuple[float, float]]:
        """Each measure of an error with the least of theirs."""
        least = self.least
        return [(one.rms, least.rms), (one.median, least.median)]

    def ratios(self, one: Error) -> list[float]:
        """Over the least; none where that is below ``LEAST``."""
        return [a / b for a, b in self.pairs(one) if b >= LEAST]


Cells = dict[int, Cell]
"""By number of evaluations."""


@dataclass(frozen=True)
class Together:
    """Targets of one process in one run: every step is linear in states and predictions, row by row."""

    targets: tuple[Target, ...]
    count: int

    @property
    def width(self) -> int:
        return max(target.centres.shape[1] for target in self.targets)

    def prior(self) -> Tensor:
        found = [target.prior(self.count, SEED) for target in self.targets]
        return torch.cat([pad(x, (0, self.width - x.shape[1])) for x in found])

    def parts(self, x: Tensor) -> list[Tensor]:
        """The rows and the coordinates of each target."""
        return [
            rows[:, : target.centres.shape[1]]
            for target, rows in zip(self.targets, x.split(self.count), strict=True)
        ]

    def denoise(self, scaled: Tensor, ratio: Tensor) -> Tensor:
        found = [t.denoise(y, ratio) for t, y in zip(self.targets, self.parts(scaled), strict=True)]
        return torch.cat([pad(x0, (0, self.width - x0.shape[1])) for x0 in found])

    def errors(self, result: Tensor | None, exact: list[Tensor]) -> list[Error]:
        parts = [None] * len(self.targets) if result is None else self.parts(result)
        return [Error.of(p, e, t.dim) for p, e, t in zip(parts, exact, self.targets, strict=True)]


def end(sampler: PCSampler, x: Tensor) -> Tensor:
    process: GaussianSDE = sampler.model.process
    level = process.marginal(process.time([process.start]))
    *_, last = sampler.iterate(x * torch.hypot(level.alpha, level.sigma), Noise(0, range(len(x))))
    return last.x


def reference(target: Target, x: Tensor) -> Tensor:
    fine = ExponentialAdams(5, "x0", corrected=True)
    return end(PCSampler.of(target.model(), fine, num_steps=1500, grid=Blend(0.4)), x)


def compared(targets: tuple[Target, ...], count: int) -> list[Cells]:
    """Of each target: ``auto``, and the others in all their settings."""
    group = Together(targets, count)
    x = group.prior()
    exact = [reference(target, y) for target, y in zip(targets, group.parts(x), strict=True)]
    found: list[Cells] = [{} for _ in targets]
    others = peers.installed(targets[0].process)
    for n in BUDGETS:
        theirs = {peer.name: group.errors(peer.attempt(group.denoise, x, n), exact) for peer in others}
        for k, (target, y) in enumerate(zip(targets, group.parts(x), strict=True)):
            ours = Error.of(end(PCSampler.of(target.model(), num_steps=n), y), exact[k], target.dim)
            found[k][n] = Cell(ours, {name: errors[k] for name, errors in theirs.items()})
            print(f"{target.name}, {n}: {ours} {found[k][n].least}", flush=True)
    return found


def share(ratios: list[float], most: float) -> float:
    return sum(ratio <= most for ratio in ratios) / len(ratios)


def table(targets: tuple[Target, ...], found: dict[str, Cells]) -> list[str]:
    """A row for each target, and how many cells are at or below 1 and 1.25."""
    lines = [
        "| root mean square / median | " + " | ".join(map(str, BUDGETS)) + " |",
        "|---" * (len(BUDGETS) + 1) + "|",
    ]
    for target in targets:
        cells = []
        for cell in found[target.name].values():
            cells.append(" / ".join(f"{a / b:.2f}{'*' * (b < LEAST)}" for a, b in cell.pairs(cell.ours)))
        lines.append(f"| {target.name} | " + " | ".join(cells) + " |")
    counted = [
        ratio
        for target in targets
        for cell in found[target.name].values()
        for ratio in cell.ratios(cell.ours)
    ]
    said = f"{share(counted, 1):.0%} of {len(counted)} cells at or below the best, {share(counted, 1.25):.0%}"
    return [*lines, "", f"{said} below 1.25 times; the largest is {max(counted):.2f}.", ""]


def single(found: dict[str, Cells]) -> list[str]:
    """``auto`` and the one setting of the others that comes within 1.25 most often, at each number of evaluations."""
    lines = ["Shares of all targets' cells at or below 1.25 times the best:", ""]
    lines += ["| evaluations | `auto` | one setting of theirs | which |", "|---|---|---|---|"]
    for n in BUDGETS:
        cells = [by_number[n] for by_number in found.values()]
        ours = share([ratio for cell in cells for ratio in cell.ratios(cell.ours)], 1.25)
        shares = {
            name: share([ratio for cell in cells for ratio in cell.ratios(cell.theirs[name])], 1.25)
            for name in set.intersection(*(set(cell.theirs) for cell in cells))
        }
        best = max(sorted(shares), key=shares.__getitem__)
        lines.append(f"| {n} | {ours:.0%} | {shares[best]:.0%} | {best} |")
    return [*lines, ""]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=COUNT, help="draws from each prior")
    arguments = parser.parse_args()
    every = (*mixtures.FOUND, *mixtures.HELD_OUT)
    found: dict[str, Cells] = {}
    for process in dict.fromkeys(target.process for target in every):
        group = tuple(target for target in every if target.process is process)
        found |= zip((target.name for target in group), compared(group, arguments.count), strict=True)
    lines = ["## Accuracy of the chosen sampler", "", *described(__doc__)]
    lines += ["Targets on which all rows were found:", "", *table(mixtures.FOUND, found)]
    lines += ["Others, which took no part from 18 evaluations on:", "", *table(mixtures.HELD_OUT, found)]
    lines += single(found)
    whole = arguments.count == COUNT
    write_section("auto_accuracy" if whole else f"auto_accuracy_{arguments.count}", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
