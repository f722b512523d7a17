"""How exactly deterministic samplers solve the probability flow at small budgets, beside other libraries.

    python -m benchmarks.sampler_accuracy             the table, into benchmarks/RESULTS.md
    python -m benchmarks.sampler_accuracy --optimise  first makes grids and solvers anew, from pilot runs
    python -m benchmarks.sampler_accuracy --bespoke   first makes the bespoke solvers anew

The score is exact, so that all error is the sampler's. Error: root mean square per dimension of the result
against a converged reference; one evaluation at the smallest level, sigma/alpha = 0.0100, closes every run.
The Gaussian's is the largest at this budget or any larger one, because a scalar error crosses zero by luck.
At few evaluations the mixture's is made by the few samples that end in another mode: of 1024 draws perhaps
four, so that it is known to a quarter of itself. Peers are run with the exact denoiser at their own levels,
each with every grid and order that it has; the best setting on these very draws is shown. Grids and bespoke
solvers are optimised by `samplers.pilot` and `samplers.bespoke` on prior draws of another seed than they are
judged on; the best on the pilot is shown. The last rows are the figures to beat: the best of six libraries
measured earlier on other modes and draws.
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
from benchmarks.report import described, write_section
from samplers import PCSampler, Predictor
from samplers.bespoke import STARTS as BESPOKE_STARTS
from samplers.bespoke import optimise_bespoke
from samplers.correctors.none import NoneCorrector
from samplers.pilot import optimise_grid
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.bespoke import Bespoke
from sde_lib import Noise
from sde_lib.grids import Cosine, Density, Explicit, Grid, LogSNR

HERE = Path(__file__).parent
GRIDS, BESPOKE = HERE / "sampler_grids.json", HERE / "sampler_bespoke.json"
BUDGETS = (5, 8, 10, 15, 20, 30, 50, 100)
TARGETS = ("gaussian", "mixture")
COUNT, SEED, PILOT_SEED = {"gaussian": 128, "mixture": 1024}, 1, 2
REFERENCE_STEPS = 1000
TO_BEAT = {
    "Gaussian, envelope": (1.2e-2, 9.1e-4, 5.6e-4, 2.5e-4, 9.0e-5, 3.7e-6, 3.7e-6, 7.9e-8),
    "mixture": (6.5e-2, 3.8e-2, 3.5e-2, 2.0e-3, 1.1e-3, 1.9e-4, 1.1e-4, 1.6e-5),
    "mixture, median sample": (1.1e-2, 2.4e-3, 3.9e-4, 4.3e-4, 2.0e-4, 6.7e-5, 5.1e-6, 2.9e-7),
}


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
    stored = [entry for entry in read(GRIDS) if entry["target"] == target]
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
    for power in POWERS:
        made = {e["budget"]: e for e in read(BESPOKE) if (e["target"], e["power"]) == (target, power)}

        def bespoke(n: int, made: dict[int, Any] = made) -> Tensor | None:
            if n not in made:
                return None
            return solve(target, Bespoke(made[n]["shares"]), Explicit(made[n]["times"]), n, x)

        if made:
            yield measure(f"bespoke, power {power:g}", bespoke, exact)


def read(path: Path) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return stored


def write(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")


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
    entries = [e for e in read(GRIDS) if e["target"] not in targets or e["budget"] not in budgets]
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
            write(GRIDS, entries)


POWERS = (2.0, 0.25)
"""Which mean over the samples a bespoke solver is made for: the root mean square, and nearly the median."""


def optimise_solvers(budgets: list[int]) -> None:
    """The mixture's bespoke solvers, up to 15 evaluations."""
    wanted = [n for n in budgets if n <= 15]
    entries = [e for e in read(BESPOKE) if e["budget"] not in wanted]
    for n, power in itertools.product(wanted, POWERS):
        count = 2048 if power == 2 else 512
        found = optimise_bespoke(
            toys.model("mixture"),
            n,
            (count, toys.DIM),
            Noise(PILOT_SEED, range(count), dtype=torch.float64),
            starts=BESPOKE_STARTS if n <= 10 else (LogSNR(), Cosine()),
            power=power,
            iterations=60,
        )
        print(f"mixture {n} bespoke {power:g}: {found.before:.1e} -> {found.error:.1e}", flush=True)
        entries.append({
            "target": "mixture", "budget": n, "power": power, "pilot": found.error,
            "times": [round(t, 5) for t in found.grid.listed_times],
            "shares": [[round(share, 6) for share in row] for row in found.predictor.shares],
        })  # fmt: skip
        write(BESPOKE, entries)


def table(title: str, rows: dict[str, list[Row]], column: Callable[[Row], tuple[float, ...]]) -> list[str]:
    """The best of each group at each budget, and which it is; ours beside the best peer and the figures to beat."""
    places = range(len(BUDGETS))
    lines = [f"| {title} | " + " | ".join(map(str, BUDGETS)) + " |", "|---" * (len(BUDGETS) + 1) + "|"]

    def best_of(members: list[Row]) -> list[Row]:
        return [min(members, key=lambda r, k=k: column(r)[k]) for k in places]  # type: ignore[misc]

    def add(name: str, cells: list[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    def figure(value: float) -> str:
        return "-" if value == float("inf") else f"{value:.1e}"

    for group, members in rows.items():
        best = best_of(members)
        add(group, [figure(column(r)[k]) for k, r in enumerate(best)])
        add("", [r.name if column(r)[k] < float("inf") else "" for k, r in enumerate(best)])
    mine = [r for group, members in rows.items() if group.startswith("score-pc") for r in members]
    others = [r for group, members in rows.items() if not group.startswith("score-pc") for r in members]
    ours = [column(r)[k] for k, r in enumerate(best_of(mine))]
    theirs = [column(r)[k] for k, r in enumerate(best_of(others))] if others else [float("nan")] * len(ours)
    add("ours / best peer", [f"{a / b:.2g}" for a, b in zip(ours, theirs, strict=True)])
    add("to beat", [figure(value) for value in TO_BEAT[title]])
    add("ours / to beat", [f"{a / b:.2g}" for a, b in zip(ours, TO_BEAT[title], strict=True)])
    return [*lines, ""]


def group_of(name: str) -> str:
    kind = (
        "bespoke solver" if "bespoke" in name else "optimised grid" if "optimised" in name else "log_snr grid"
    )
    return f"score-pc, {kind}"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimise", action="store_true", help="make grids and solvers anew, first")
    parser.add_argument(
        "--bespoke", action="store_true", help="make the mixture's bespoke solvers anew, first"
    )
    parser.add_argument("--targets", nargs="*", default=TARGETS, choices=TARGETS, help="whose")
    parser.add_argument("--budgets", nargs="*", default=BUDGETS, choices=BUDGETS, type=int, help="for which")
    parser.add_argument("--count", type=int, default=COUNT["mixture"], help="draws from the mixture's prior")
    arguments = parser.parse_args()
    if arguments.optimise:
        optimise(arguments.targets, arguments.budgets)
    if arguments.bespoke or (arguments.optimise and "mixture" in arguments.targets):
        optimise_solvers(arguments.budgets)
    lines = ["## Accuracy of deterministic samplers", "", *described(__doc__)]
    for target in TARGETS:
        x = toys.prior(arguments.count if target == "mixture" else COUNT[target], SEED)
        exact, denoise = reference(target, x), peers.denoiser(target)
        rows: dict[str, list[Row]] = {}
        for row in ours(target, x, exact):
            rows.setdefault(group_of(row.name), []).append(row)
            print(row, flush=True)
        for peer in peers.installed():
            row = measure(peer.name, lambda n, p=peer, d=denoise, x=x: p.run(d, x, n), exact)  # type: ignore[misc]
            rows.setdefault(peer.name.split()[0], []).append(row)
            print(row, flush=True)
        if target == "gaussian":
            lines += table("Gaussian, envelope", rows, lambda r: r.envelope)
        else:
            lines += table("mixture", rows, lambda r: r.rms)
            lines += table("mixture, median sample", rows, lambda r: r.median)
    write_section("sampler_accuracy", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
