"""How exactly deterministic samplers solve the probability flow at small budgets, beside other libraries.

    python -m benchmarks.sampler_accuracy             the table, into benchmarks/RESULTS.md
    python -m benchmarks.sampler_accuracy --count 512 the mixture's alone, on fewer draws, into a section of its own
    python -m benchmarks.sampler_accuracy --optimise  first makes grids and solvers anew, from pilot runs

The score is exact, so that all error is the sampler's. Error: root mean square per dimension of the result
against a converged reference; one evaluation at the smallest level, sigma/alpha = 0.0100, closes every run.
The Gaussian's is the largest at this budget or any larger one, because a scalar error crosses zero by luck.
At few evaluations the mixture's is made by the few samples that end in another mode, of 4096 draws a handful
to some tens; one of them makes 1e-2, so that figures compare at the same draws, or at the same number of them.
Peers are run with the exact denoiser at their own levels, each with every grid and order that it has, ours
first as `auto` chooses from the number of evaluations alone, then with every method on every named grid, and
the best setting on these very draws is shown. Grids are optimised for the root mean square by `samplers.pilot`
and are given to the peers that take any levels as well; the mixture's bespoke solvers are made for the many
samples that keep to their mode by `samplers.bespoke`: both on prior draws of another seed than they are judged
on. The last rows are the figures to beat: the best of six libraries measured earlier on other modes and other,
fewer draws.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from benchmarks import peers, toys
from benchmarks.report import described, write_section
from samplers import PCSampler, Predictor
from samplers.bespoke import optimise_bespoke
from samplers.correctors.none import NoneCorrector
from samplers.pilot import optimise_grid
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.bespoke import Bespoke
from samplers.predictors.unipc import BH, UniPC
from samplers.predictors.unipc import Form as UniPCForm
from sde_lib import Noise
from sde_lib.exponential import Form
from sde_lib.grids import Cosine, Density, Explicit, Grid, Karras, LogSNR, Quadratic

HERE = Path(__file__).parent
GRIDS, BESPOKE = HERE / "sampler_grids.json", HERE / "sampler_bespoke.json"
BUDGETS = (5, 8, 10, 15, 20, 30, 50, 100)
TARGETS = ("gaussian", "mixture")
COUNT, SEED, PILOT_SEED = {"gaussian": 128, "mixture": 4096}, 1, 2
REFERENCE_STEPS = 2000
THEIRS = "peers, optimised grid"
"""The group of other libraries on the grids that were made for the target."""
FAR = 0.3
"""An error that takes another mode: they lie 0.67 to 0.91 apart, and no other error comes near."""
TO_BEAT = {
    "Gaussian, envelope": (1.2e-2, 9.1e-4, 5.6e-4, 2.5e-4, 9.0e-5, 3.7e-6, 3.7e-6, 7.9e-8),
    "mixture": (6.5e-2, 3.8e-2, 3.5e-2, 2.0e-3, 1.1e-3, 1.9e-4, 1.1e-4, 1.6e-5),
    "mixture, median sample": (1.1e-2, 2.4e-3, 3.9e-4, 4.3e-4, 2.0e-4, 6.7e-5, 5.1e-6, 2.9e-7),
}


@dataclass(frozen=True)
class Row:
    """A setting's errors at every budget; infinite where it cannot run.

    Attributes:
        rms, median: over the samples.
        strayed: samples that end in another mode.
    """

    name: str
    rms: tuple[float, ...]
    median: tuple[float, ...]
    strayed: tuple[float, ...]

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
    rms, median, strayed = [], [], []
    for n in BUDGETS:
        result = run(n)
        error = (exact * torch.inf if result is None else result - exact).square().mean(1)
        error = torch.where(error.isnan(), torch.inf, error)
        rms.append(float(error.mean().sqrt()))
        median.append(float(error.sqrt().median()))
        strayed.append(float("inf") if result is None else float((error.sqrt() > FAR).sum()))
    return Row(name, tuple(rms), tuple(median), tuple(strayed))


FORMS: tuple[Form, ...] = ("v", "x0", "eps")
METHODS: dict[str, Predictor] = {
    **{
        f"adams {form} {order}{' corrected' * corrected}": ExponentialAdams(order, form, corrected)
        for form, order, corrected in itertools.product(FORMS, (2, 3, 4, 5), (False, True))
        if order < 5 or corrected
    },
    **{
        f"unipc {form} {order} {bh}": UniPC(order, form, bh)
        for form, order, bh in itertools.product(get_args(UniPCForm), (1, 2, 3), get_args(BH))
        if order < 3 or bh == "bh2"  # of three values on, both are one method
    },
}
NAMED = {"log_snr": LogSNR(), "cosine": Cosine(), "quadratic": Quadratic(), "karras": Karras()}


def ours(target: str, x: Tensor, exact: Tensor) -> Iterator[Row]:
    """What ``auto`` takes; every method on every named grid; grids, and for the mixture solvers, made for a budget
    by a pilot.
    """

    def chosen(n: int) -> Tensor:
        *_, last = PCSampler.of(toys.model(target), num_steps=n).iterate(x, Noise(0, range(len(x))))
        return last.x

    yield measure("auto", chosen, exact)
    for (method, predictor), (name, grid) in itertools.product(METHODS.items(), NAMED.items()):
        yield measure(
            f"{method}, {name}",
            functools.partial(solve, target, predictor, grid, x=x),
            exact,
        )
    best = made_for(target)

    def optimised(n: int) -> Tensor | None:
        if n not in best:
            return None
        return solve(target, METHODS[best[n]["method"]], Density(best[n]["log_density"]), n, x)

    yield measure("optimised grid", optimised, exact)
    made = {entry["budget"]: entry for entry in read(BESPOKE)}

    def bespoke(n: int) -> Tensor | None:
        if n not in made:
            return None
        return solve(target, Bespoke(made[n]["shares"]), Explicit(made[n]["times"]), n, x)

    if target == "mixture":
        yield measure("bespoke", bespoke, exact)


def made_for(target: str) -> dict[int, dict[str, Any]]:
    """The optimised grid of each budget, with the method for which it was made."""
    return {entry["budget"]: entry for entry in read(GRIDS) if entry["target"] == target}


def theirs_on_ours(target: str, x: Tensor, exact: Tensor) -> Iterator[Row]:
    """The peers that take any noise levels, on the grids that were made for the target."""
    denoise = peers.denoiser(target)
    made = {
        n: {peer.name: peer for peer in peers.on_grid(Density(entry["log_density"]))}
        for n, entry in made_for(target).items()
    }
    for name in dict.fromkeys(name for those in made.values() for name in those):

        def run(n: int, name: str = name) -> Tensor | None:
            return made[n][name].attempt(denoise, x, n) if n in made else None

        yield measure(name, run, exact)


def read(path: Path) -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return stored


def write(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")


LIKELY = {
    5: ("adams v 3", "adams eps 3", "unipc x0 1 bh1"),
    8: ("adams eps 3", "adams x0 3 corrected", "unipc x0 2 bh2"),
    15: ("adams x0 4", "adams x0 5 corrected", "unipc x0 3 bh2"),
    30: ("adams v 4", "adams x0 4", "adams x0 5 corrected"),
}
"""Methods for which a grid is made, from this budget on."""


def pilot_size(target: str, n: int) -> int:
    """Up to 30 evaluations the mixture's errors are those of the few samples that end in another mode."""
    return 16 if target == "gaussian" else 16384 if n <= 30 else 128


def optimise(targets: list[str], budgets: list[int]) -> None:
    """A grid for each of the likely methods; the best on the pilot is kept."""
    entries = [e for e in read(GRIDS) if e["target"] not in targets or e["budget"] not in budgets]
    for target, n in itertools.product(targets, budgets):
        count, made = pilot_size(target, n), []
        for method in LIKELY[max(budget for budget in LIKELY if budget <= n)]:
            found = optimise_grid(
                toys.model(target),
                METHODS[method],
                n,
                (count, toys.DIM),
                Noise(PILOT_SEED, range(count), dtype=torch.float64),
                trials=150,
                reference_steps=2000 if target == "gaussian" else 400,
            )
            print(f"{target} {n} {method}: {found.before:.1e} -> {found.error:.1e}", flush=True)
            made.append({
                "target": target, "budget": n, "method": method, "pilot": found.error,
                "log_density": [round(v, 10) for v in found.grid.log_density],
            })  # fmt: skip
        entries.append(min(made, key=lambda entry: entry["pilot"]))
        write(GRIDS, entries)


def optimise_solvers(budgets: list[int]) -> None:
    """The mixture's bespoke solvers, up to 15 evaluations, made for the many samples that keep to their mode."""
    wanted = [n for n in budgets if n <= 15]
    entries = [e for e in read(BESPOKE) if e["budget"] not in wanted]
    for n in wanted:
        found = optimise_bespoke(
            toys.model("mixture"),
            n,
            (1024, toys.DIM),
            Noise(PILOT_SEED, range(1024), dtype=torch.float64),
            power=0.25,
            iterations=60,
        )
        print(f"mixture {n} bespoke: {found.before:.1e} -> {found.error:.1e}", flush=True)
        entries.append({
            "budget": n, "times": [round(t, 5) for t in found.grid.listed_times],
            "shares": [[round(float(share), 6) for share in row] for row in found.predictor.shares],
        })  # fmt: skip
        write(BESPOKE, entries)


def table(
    title: str,
    rows: dict[str, list[Row]],
    column: Callable[[Row], tuple[float, ...]],
    figure: Callable[[float], str] = "{:.1e}".format,
) -> list[str]:
    """The best of each group at each budget, and which it is; ours beside the best peer and the figures to beat."""
    places = range(len(BUDGETS))
    lines = [f"| {title} | " + " | ".join(map(str, BUDGETS)) + " |", "|---" * (len(BUDGETS) + 1) + "|"]

    def best_of(members: list[Row]) -> list[Row]:
        def at(k: int) -> Row:
            return min(members, key=lambda row: column(row)[k])

        return [at(k) for k in places]

    def add(name: str, cells: list[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    def shown(value: float) -> str:
        return "-" if value == float("inf") else figure(value)

    for group, members in rows.items():
        best = best_of(members)
        add(group, [shown(column(r)[k]) for k, r in enumerate(best)])
        add("", [r.name if column(r)[k] < float("inf") else "" for k, r in enumerate(best)])
    mine = [r for group, members in rows.items() if group.startswith("score-pc") for r in members]
    others = [
        r for group, members in rows.items() if not group.startswith(("score-pc", THEIRS)) for r in members
    ]

    if title not in TO_BEAT:
        return [*lines, ""]

    def over(label: str, members: list[Row], figures: Sequence[float]) -> None:
        values = [column(r)[k] for k, r in enumerate(best_of(members))]
        add(label, [f"{a / b:.2g}" for a, b in zip(values, figures, strict=True)])

    if others:
        theirs = [column(r)[k] for k, r in enumerate(best_of(others))]
        over("auto / best peer", rows["score-pc, auto"], theirs)
        over("named grids / best peer", rows["score-pc, named grids"], theirs)
        over("ours / best peer", mine, theirs)
        if THEIRS in rows:
            both = [column(r)[k] for k, r in enumerate(best_of([*others, *rows[THEIRS]]))]
            over("ours / best peer, its grids optimised too", mine, both)
    add("to beat", [shown(value) for value in TO_BEAT[title]])
    over("ours / to beat", mine, TO_BEAT[title])
    return [*lines, ""]


def group_of(name: str) -> str:
    kinds = {"auto": "auto", "optimised grid": "optimised grid", "bespoke": "bespoke solver"}
    return f"score-pc, {kinds.get(name, 'named grids')}"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimise", action="store_true", help="make grids and solvers anew, first")
    parser.add_argument("--targets", nargs="*", default=TARGETS, choices=TARGETS, help="whose")
    parser.add_argument("--budgets", nargs="*", default=BUDGETS, choices=BUDGETS, type=int, help="for which")
    parser.add_argument("--count", type=int, default=COUNT["mixture"], help="draws from the mixture's prior")
    arguments = parser.parse_args()
    if arguments.optimise:
        optimise(arguments.targets, arguments.budgets)
        if "mixture" in arguments.targets:
            optimise_solvers(arguments.budgets)
    targets, name = TARGETS, "sampler_accuracy"
    lines = ["## Accuracy of deterministic samplers", "", *described(__doc__)]
    if arguments.count != COUNT["mixture"]:
        targets, name = TARGETS[1:], f"sampler_accuracy_{arguments.count}"
        lines = [f"## Accuracy of deterministic samplers, first {arguments.count} draws of the mixture", ""]
    for target in targets:
        x = toys.prior(arguments.count if target == "mixture" else COUNT[target], SEED)
        exact, denoise = reference(target, x), peers.denoiser(target)
        rows: dict[str, list[Row]] = {}
        for row in ours(target, x, exact):
            rows.setdefault(group_of(row.name), []).append(row)
            print(row, flush=True)
        for peer in peers.installed():
            row = measure(peer.name, functools.partial(peer.attempt, denoise, x), exact)
            rows.setdefault(peer.name.split()[0], []).append(row)
            print(row, flush=True)
        for row in theirs_on_ours(target, x, exact):
            rows.setdefault(THEIRS, []).append(row)
            print(row, flush=True)
        if target == "gaussian":
            lines += table("Gaussian, envelope", rows, lambda r: r.envelope)
        else:
            lines += table("mixture", rows, lambda r: r.rms)
            lines += table("mixture, median sample", rows, lambda r: r.median)
            lines += table(
                f"mixture, of {len(x)} in another mode", rows, lambda r: r.strayed, "{:.0f}".format
            )
    write_section(name, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
