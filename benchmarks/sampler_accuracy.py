"""How exactly deterministic samplers solve the probability flow at small budgets, beside other libraries.

    python -m benchmarks.sampler_accuracy             the table, into benchmarks/RESULTS.md
    python -m benchmarks.sampler_accuracy --optimise  first makes the grids anew, from pilot runs

The score is exact, so that all error is the sampler's. Error: root mean square per dimension of the result
against a converged reference; one evaluation at the smallest level, sigma/alpha = 0.0100, closes every run.
The Gaussian's is the largest at this budget or any larger one, because a scalar error crosses zero by luck.
Peers are run with the exact denoiser at their own levels, each with every grid and order that it has; the
best setting at each budget is shown. Grids are optimised on prior draws of another seed than they are judged
on.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import peers, toys
from samplers import PCSampler, Predictor
from samplers.correctors.none import NoneCorrector
from samplers.pilot import optimise_grid
from samplers.predictors.adams import ExponentialAdams
from sde_lib import Noise
from sde_lib.grids import Density, Grid, LogSNR

HERE = Path(__file__).parent
GRIDS, RESULTS = HERE / "sampler_grids.json", HERE / "RESULTS.md"
BUDGETS = (5, 8, 10, 15, 20, 30, 50, 100)
TARGETS = ("gaussian", "mixture")
COUNT, SEED, PILOT_SEED = 256, 1, 2
REFERENCE_STEPS = 3000


@dataclass(frozen=True)
class Row:
    """A setting's errors at every budget; infinite where it cannot run. ``median``: over the samples."""

    name: str
    rms: tuple[float, ...]
    median: tuple[float, ...]

    @property
    def envelope(self) -> tuple[float, ...]:
        return tuple(max(self.rms[k:]) for k in range(len(self.rms)))


def solve(target: str, predictor: Predictor, grid: Grid, n: int, x: Tensor) -> Tensor:
    sampler = PCSampler(toys.model(target), predictor, NoneCorrector(), grid.times(toys.PROCESS, n))
    *_, last = sampler.iterate(x, Noise(0, range(len(x))))
    return last.x


def reference(target: str, x: Tensor) -> Tensor:
    return solve(target, ExponentialAdams(order=5, form="x0", corrected=True), LogSNR(), REFERENCE_STEPS, x)


def measure(name: str, run: Callable[[int], Tensor | None], exact: Tensor) -> Row:
    rms, median = [], []
    for n in BUDGETS:
        try:
            result = run(n)
        except (ValueError, IndexError, RuntimeError):  # a peer that has no such number of steps
            result = None
        error = (exact * torch.inf if result is None else result - exact).square().mean(1)
        error = torch.where(error.isnan(), torch.inf, error)
        rms.append(float(error.mean().sqrt()))
        median.append(float(error.sqrt().median()))
    return Row(name, tuple(rms), tuple(median))


def ours(target: str, x: Tensor, exact: Tensor) -> Iterator[Row]:
    """Every form and order on the log grid, and the grids that were optimised for a budget."""
    for form in ("v", "x0", "eps"):
        for order in (2, 3, 4, 5):
            for corrected in (False, True):
                if order == 5 and not corrected:
                    continue
                method = ExponentialAdams(order=order, form=form, corrected=corrected)  # type: ignore[arg-type]
                name = f"adams {form} {order}{' corrected' * corrected}, log_snr"
                yield measure(name, lambda n, m=method: solve(target, m, LogSNR(), n, x), exact)  # type: ignore[misc]
    stored = [entry for entry in read_grids() if entry["target"] == target]
    best = {
        n: min((e for e in stored if e["budget"] == n), key=lambda e: e["pilot"], default=None)
        for n in BUDGETS
    }

    def run(n: int) -> Tensor | None:
        entry = best[n]
        if entry is None:
            return None
        method = ExponentialAdams(order=entry["order"], form=entry["form"], corrected=entry["corrected"])
        return solve(target, method, Density(entry["log_density"]), n, x)

    yield measure("adams, optimised grid", run, exact)


def read_grids() -> list[dict[str, Any]]:
    grids: list[dict[str, Any]] = json.loads(GRIDS.read_text()) if GRIDS.exists() else []
    return grids


FEW = [
    ("v", 2, False),
    ("v", 3, False),
    ("x0", 2, False),
    ("eps", 2, False),
    ("eps", 3, False),
    ("x0", 3, True),
]
MEDIUM = [("v", 3, False), ("x0", 2, False), ("eps", 3, False), ("x0", 4, False), ("x0", 5, True)]
MANY = [("v", 4, False), ("x0", 4, False), ("x0", 5, True)]
STARTS = ((0.0,) * 6, (1.5, 1.5, 1.0, 0.0, 0.0, -1.0))
"""Equal steps in log(sigma/alpha), and more of them where the modes part."""


def optimise(targets: list[str], budgets: list[int]) -> None:
    """Each candidate's grid from a pilot of prior draws; the best of its starts is kept."""
    entries = [e for e in read_grids() if e["target"] not in targets or e["budget"] not in budgets]
    for target, n in itertools.product(targets, budgets):
        for form, order, corrected in FEW if n <= 10 else MEDIUM if n <= 20 else MANY:
            method = ExponentialAdams(order=order, form=form, corrected=corrected)  # type: ignore[arg-type]
            # Few evaluations err by whole modes, seldom: the pilot must hold such samples.
            count = 16 if target == "gaussian" else 512 if n <= 15 else 128 if n <= 20 else 48
            found = min(
                (
                    optimise_grid(
                        toys.model(target),
                        method,
                        n,
                        (count, toys.DIM),
                        Noise(PILOT_SEED, range(count), dtype=torch.float64),
                        start=start,
                        trials=150,
                        reference_steps=300,
                    )
                    for start in STARTS[: 2 if n <= 15 else 1]
                ),
                key=lambda f: f.error,
            )
            print(
                f"{target} {n} {form} {order} {corrected}: {found.before:.1e} -> {found.error:.1e}",
                flush=True,
            )
            entries.append({
                "target": target, "budget": n, "form": form, "order": order, "corrected": corrected,
                "pilot": found.error, "log_density": [round(v, 4) for v in found.grid.log_density],
            })  # fmt: skip
            GRIDS.write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")


def table(title: str, rows: dict[str, list[Row]], column: Callable[[Row], tuple[float, ...]]) -> list[str]:
    """The best of each group at each budget, and which it is."""
    lines = [f"| {title} | " + " | ".join(map(str, BUDGETS)) + " |", "|---" * (len(BUDGETS) + 1) + "|"]
    for group, members in rows.items():
        best = [min(members, key=lambda r, k=k: column(r)[k]) for k in range(len(BUDGETS))]  # type: ignore[misc]
        lines.append(f"| {group} | " + " | ".join(f"{column(r)[k]:.1e}" for k, r in enumerate(best)) + " |")
        lines.append("| | " + " | ".join(r.name for r in best) + " |")
    return [*lines, ""]


def write_section(name: str, lines: list[str]) -> None:
    """Replace the section of this name in RESULTS.md, leaving the others."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    section = "\n".join([begin, *lines, end])
    if begin in text:
        text = text[: text.index(begin)] + section + text[text.index(end) + len(end) :]
    else:
        text = text.rstrip("\n") + "\n\n" + section + "\n"
    RESULTS.write_text(text)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimise", action="store_true", help="make grids anew, first")
    parser.add_argument("--targets", nargs="*", default=TARGETS, choices=TARGETS, help="whose grids")
    parser.add_argument("--budgets", nargs="*", default=BUDGETS, choices=BUDGETS, type=int, help="for which")
    arguments = parser.parse_args()
    if arguments.optimise:
        optimise(arguments.targets, arguments.budgets)
    x = toys.prior(COUNT, SEED)
    lines = [
        "## Accuracy of deterministic samplers",
        "",
        *(__doc__ or "").split("\n\n", 2)[2].strip().split("\n"),
        "",
    ]
    for target in TARGETS:
        exact, denoise = reference(target, x), peers.denoiser(target)
        rows: dict[str, list[Row]] = {}
        for row in ours(target, x, exact):
            group = "score-pc, optimised grid" if "optimised" in row.name else "score-pc, log_snr grid"
            rows.setdefault(group, []).append(row)
        for peer in peers.installed():
            row = measure(peer.name, lambda n, p=peer, d=denoise: p.run(d, x, n), exact)  # type: ignore[misc]
            rows.setdefault(peer.name.split()[0], []).append(row)
        if target == "gaussian":
            lines += table("Gaussian, envelope", rows, lambda r: r.envelope)
        else:
            lines += table("mixture", rows, lambda r: r.rms)
            lines += table("mixture, median sample", rows, lambda r: r.median)
    write_section("sampler_accuracy", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
