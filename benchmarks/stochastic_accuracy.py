"""Whose stochastic samplers reach the target's law, and in how many evaluations, beside other libraries.

    python -m benchmarks.stochastic_accuracy                the tables, into benchmarks/RESULTS.md
    python -m benchmarks.stochastic_accuracy --count 16384  with more draws: smaller sampling floors

Exact scores of ten equal modes of std 0.05 in 64 dimensions under the DDPM linear schedule; every run ends
with a denoising evaluation. Mode weights: total variation between the shares of the samples nearest to each
mode and one tenth. Spread: the samples' std within their modes over 0.05; a perfect sampler that denoises at
sigma/alpha = 0.0100 has 0.981. Mean: root mean square over the coordinates of the mean's error. W2: sliced
2-Wasserstein distance (128 directions) to as many exact draws. The floor is that of exact draws. Methods of
two evaluations a step take half the steps; `-`: no run of that method fits the budget.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import peers, stochastic_peers, toys
from benchmarks.report import described, write_section
from samplers import Corrector, PCSampler, Predictor
from samplers.correctors.langevin import Langevin
from samplers.correctors.none import NoneCorrector
from samplers.predictors.adaptive_sde import AdaptiveSDE
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.dpm_solver import SDEDPMSolverMultistep
from samplers.predictors.heun import Heun
from samplers.predictors.restart import Restart
from samplers.predictors.sa_solver import SASolver
from samplers.predictors.seeds import SEEDS
from sde_lib import Noise
from sde_lib.grids import Grid, Karras, LogSNR, Uniform

BUDGETS = (10, 20, 50, 100, 250, 1000)
COUNT, SEED = 4096, 3
TOLERANCES = (2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02)


@dataclass(frozen=True)
class Quality:
    """Distances from the target: see the module."""

    weights: float
    spread: float
    mean: float
    distance: float


Runs = dict[str, Callable[[int], Tensor | None]]


def exact_draws(count: int, seed: int) -> Tensor:
    noise = Noise(seed, range(count), dtype=torch.float64)
    mode = noise.integers(toys.MODES)
    return toys.mode_means()[mode] + toys.MODE_STD * noise.normal((count, toys.DIM))


def quality(x: Tensor, target: Tensor) -> Quality:
    means = toys.mode_means()
    nearest = torch.cdist(x, means).argmin(1)
    shares = torch.bincount(nearest, minlength=toys.MODES) / len(x)
    within = x - means[nearest]
    # Less each mode's own mean, one degree of freedom each.
    centred, groups = torch.zeros_like(within), 0
    for k in range(toys.MODES):
        rows = nearest == k
        if bool(rows.any()):
            centred[rows], groups = within[rows] - within[rows].mean(0), groups + 1
    spread = math.sqrt(float(centred.square().sum()) / ((len(x) - groups) * toys.DIM)) / toys.MODE_STD
    directions = Noise(11, range(128), dtype=torch.float64).normal((128, toys.DIM))
    directions = directions / directions.norm(dim=1, keepdim=True)
    gap = (x @ directions.T).sort(0).values - (target @ directions.T).sort(0).values
    return Quality(
        weights=float((shares - 1 / toys.MODES).abs().sum() / 2),
        spread=spread,
        mean=float((x.mean(0) - means.mean(0)).square().mean().sqrt()),
        distance=float(gap.square().mean().sqrt()),
    )


def in_loop(
    predictor: Predictor,
    grid: Grid,
    x: Tensor,
    each: int = 1,
    once: int = 0,
    corrector: Corrector | None = None,
) -> Callable[[int], Tensor | None]:
    """Our sampler with as many times as ``n`` evaluations allow, ``each`` a step and ``once`` more."""

    def run(n: int) -> Tensor | None:
        # A corrector is called at every time, the last one included.
        times = (n - once) // 2 if corrector else 1 + (n - 1 - once) // each
        if times < 2:
            return None
        model = toys.model("mixture")
        sampler = PCSampler(model, predictor, corrector or NoneCorrector(), grid.times(toys.PROCESS, times))
        *_, last = sampler.iterate(x, Noise(SEED + 1, range(len(x)), dtype=torch.float64))
        assert model.nfe <= n, f"{predictor} took {model.nfe} evaluations for {n}"
        return last.x

    return run


def adaptive(x: Tensor) -> Callable[[int], Tensor | None]:
    """By budget, the tightest tolerance whose slowest sample keeps to it."""
    found: list[tuple[int, Tensor]] = []

    def solve(relative: float) -> None:
        model = toys.model("mixture")
        times = torch.tensor([toys.PROCESS.start, toys.PROCESS.t_end], dtype=torch.float64)
        predictor = AdaptiveSDE(relative=relative, absolute=0.4 * relative)
        sampler = PCSampler(model, predictor, NoneCorrector(), times)
        *_, last = sampler.iterate(x, Noise(SEED + 1, range(len(x)), dtype=torch.float64))
        found.append((model.nfe, last.x))

    def run(n: int) -> Tensor | None:
        while len(found) < len(TOLERANCES) and (not found or found[-1][0] <= n):
            solve(TOLERANCES[len(found)])
        return next((last for nfe, last in reversed(found) if nfe <= n), None)

    return run


def churned(x: Tensor) -> Callable[[int], Tensor | None]:
    """EDM's S_churn = 20, shared over the steps."""

    def run(n: int) -> Tensor | None:
        predictor = Heun(churn=min(20 / max((n - 1) // 2, 1), 0.41), churn_low=0.05, churn_high=50.0)
        return in_loop(predictor, LogSNR(), x, each=2)(n)

    return run


def ours(x: Tensor) -> Runs:
    log, seven = LogSNR(), Karras(7.0)
    return {
        "ancestral_sampling, DDPM grid": in_loop(AncestralSampling(), Uniform(), x),
        "ancestral_sampling, log_snr": in_loop(AncestralSampling(), log, x),
        "sde_dpm_solver_multistep 2, log_snr": in_loop(SDEDPMSolverMultistep(2), log, x),
        "sde_dpm_solver_multistep 2, karras": in_loop(SDEDPMSolverMultistep(2), seven, x),
        "sde_dpm_solver_multistep 3, log_snr": in_loop(SDEDPMSolverMultistep(3), log, x),
        "sa_solver 2 2, log_snr": in_loop(SASolver(2, 2, 1.0), log, x),
        "sa_solver 3 3, log_snr": in_loop(SASolver(3, 3, 1.0), log, x),
        "sa_solver 3 3 tau 0.5, log_snr": in_loop(SASolver(3, 3, 0.5), log, x),
        "sa_solver 3 3 tau 0.5, last step of order one, log_snr": in_loop(
            SASolver(3, 3, 0.5, lower_order_final=True), log, x
        ),
        "seeds 2, log_snr": in_loop(SEEDS(2), log, x, each=2),
        "seeds 3, log_snr": in_loop(SEEDS(3), log, x, each=3),
        "restart, log_snr": in_loop(Restart(0.1, 1.0, repeats=2, inner=3), log, x, each=2, once=12),
        "heun with churn, log_snr": churned(x),
        "adaptive_sde": adaptive(x),
        "ancestral_sampling and langevin, log_snr": in_loop(
            AncestralSampling(), log, x, corrector=Langevin(snr=0.1)
        ),
    }


def table(title: str, rows: dict[str, list[str]], floor: str) -> list[str]:
    head = [f"| {title} | " + " | ".join(map(str, BUDGETS)) + " |", "|---" * (len(BUDGETS) + 1) + "|"]
    body = [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    return [*head, *body, f"| exact draws | {floor}" + " |" * len(BUDGETS), ""]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=COUNT, help="draws of every sampler")
    count = parser.parse_args().count
    x, target, denoise = toys.prior(count, SEED), exact_draws(count, 5), peers.denoiser("mixture")
    floor = quality(exact_draws(count, 6), target)
    runs: Runs = {f"score-pc {name}": run for name, run in ours(x).items()}
    for peer in stochastic_peers.installed():
        runs[peer.name] = functools.partial(peer.attempt, denoise, x)
    found: dict[str, list[Quality | None]] = {}
    for name, run in runs.items():
        results = []
        for n in BUDGETS:
            result = run(n)
            results.append(
                None if result is None or not bool(result.isfinite().all()) else quality(result, target)
            )
        found[name] = results
        print(name, *(f"{q.spread:.3f}" if q else "-" for q in results), flush=True)
    lines = ["## Stochastic samplers", "", *described(__doc__), f"{count} draws of each.", ""]
    for title, show in (
        ("mode weights", lambda q: f"{q.weights:.3f}"),
        ("spread within modes", lambda q: f"{q.spread:.3f}"),
        ("mean", lambda q: f"{q.mean:.3f}"),
        ("sliced W2", lambda q: f"{q.distance:.4f}"),
    ):
        cells = {name: [show(q) if q else "-" for q in row] for name, row in found.items()}
        lines += table(title, cells, show(floor))
    write_section("stochastic_accuracy", lines)


if __name__ == "__main__":
    main()
