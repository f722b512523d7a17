"""How near each method for inverse problems comes to the exact posterior: writes docs/posteriors.md.

python -m benchmarks.posteriors
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.posterior_toys import COUNT, DATA, OPERATORS, STD, Problem
from samplers import PCSampler
from samplers.constraints import Replacement, repaint
from samplers.inverse import DPS, MomentMatching, PosteriorModel, PseudoInverseGuidance

PAGE = Path(__file__).parent.parent / "docs" / "posteriors.md"
NOISES = (0.0, 0.05, 0.3)
HEAD = f"""# Posteriors, against the exact ones

Written by `python -m benchmarks.posteriors`; do not edit.

{COUNT} samples of one measurement's posterior, by each method, for data of 4 x 4 pixels whose exact score and
posterior are known. A cell has two errors: of the samples' mean, in standard deviations of the posterior (root
mean square), and of their covariance, in its Frobenius norm. *Exact* is what as many exact samples have.

- **Data**: `independent` pixels, N(0.2, 0.5^2); `correlated` ones, covariance 0.5^2 exp(-distance / 2);
  `mixture`, three modes of standard deviation 0.25, 3 to 5 apart, where a few per cent of samples in a mode that
  the measurement excludes make a covariance error near 1.
- **Measurements**: `mask`, the upper half; `downsample`, means of 2 x 2 pixels; `projection`, six orthonormal
  random projections.
- **Sampling**: VP, log-SNR grid. Pseudo-inverse guidance (`data_std` 0.5, for the mixture 0.6) and moment
  matching (8 iterations) with `unipc`, 20 evaluations; DPS (`residual`, zeta = 0.2, num_steps = 50) and
  replacement with `ddim`, 50; RePaint with jump_length = 10, resamplings = 5 and `above` the measurement's noise.

What to expect, and what the tests hold: moment matching is exact on Gaussians, pseudo-inverse guidance on
independent ones of its `data_std`; replacement is exact where the measured part says nothing of the rest,
and otherwise drawn towards the prior, a third or more of which RePaint puts right; DPS is approximate everywhere; on
mixtures all are.

"""


def constrained(problem: Problem, resamplings: int) -> PCSampler:
    constraint = Replacement(problem.operator, problem.measurements, problem.noise_std)
    run = problem.sampler(problem.model, "ddim", 50, constraints=(constraint,))
    if resamplings == 1:
        return run
    above = problem.noise_std / (problem.operator.gain or 1.0) ** 0.5
    return repaint(run, jump_length=10, resamplings=resamplings, above=above)


def pseudo_inverse(problem: Problem) -> PosteriorModel:
    std = 0.6 if problem.data == "mixture" else STD
    return PseudoInverseGuidance(problem.model, problem.operator, noise_std=problem.noise_std, data_std=std)


def dps(problem: Problem, steps: int = 50) -> PosteriorModel:
    return DPS(problem.model, problem.operator, noise_std=problem.noise_std, zeta=0.2, num_steps=steps)


def matching(problem: Problem) -> PosteriorModel:
    return MomentMatching(problem.model, problem.operator, noise_std=problem.noise_std, iterations=8)


def cell(problem: Problem, run: PCSampler) -> str:
    given = {"measurement": problem.measurements} if isinstance(run.model, PosteriorModel) else {}
    found = problem.errors(run, **given)
    return f"{shown(found.mean)} / {shown(found.covariance)}"


def shown(error: float) -> str:
    return f"{error:.2f}" if error < 10 else "diverges"


METHODS: dict[str, Callable[[Problem], PCSampler]] = {
    "replacement": lambda p: constrained(p, 1),
    "RePaint": lambda p: constrained(p, 5),
    "DPS": lambda p: p.sampler(dps(p), "ddim", 50),
    "pseudo-inverse": lambda p: p.sampler(pseudo_inverse(p), "unipc", 20),
    "moment matching": lambda p: p.sampler(matching(p), "unipc", 20),
}
SAMPLERS: dict[str, Callable[[Problem, PosteriorModel], PCSampler]] = {
    "`ddim`, 50": lambda p, m: p.sampler(m, "ddim", 50),
    "`unipc`, 20": lambda p, m: p.sampler(m, "unipc", 20),
    "`heun`, 25": lambda p, m: p.sampler(m, "heun", 25),
    "`ancestral_sampling`, 100": lambda p, m: p.sampler(m, "ancestral_sampling", 100),
    "`ancestral_sampling`, 100, `langevin` 0.1": lambda p, m: p.sampler(
        m, "ancestral_sampling", 100, "langevin", snr=0.1
    ),
}


def table(data: str) -> Iterator[str]:
    yield f"## {data}\n"
    yield "| measurement | noise | exact | " + " | ".join(METHODS) + " |"
    yield "|---|---|---|" + "---|" * len(METHODS)
    for (name, operator), noise_std in itertools.product(OPERATORS.items(), NOISES):
        problem = Problem(data, operator, noise_std)
        cells = [cell(problem, build(problem)) for build in METHODS.values()]
        exact = f"{COUNT**-0.5:.2f} / {problem.floor:.2f}"
        yield f"| {name} | {noise_std:g} | {exact} | " + " | ".join(cells) + " |"
    yield ""


def by_sampler() -> Iterator[str]:
    problem = Problem("correlated", OPERATORS["mask"], 0.05)
    yield "## By sampler\n"
    yield "Correlated data, `mask`, noise 0.05.\n"
    yield "| predictor, times, corrector | exact | DPS | pseudo-inverse | moment matching |"
    yield "|---|---|---|---|---|"
    for name, build in SAMPLERS.items():
        guided = (dps(problem), pseudo_inverse(problem), matching(problem))
        cells = [cell(problem, build(problem, model)) for model in guided]
        yield f"| {name} | {COUNT**-0.5:.2f} / {problem.floor:.2f} | " + " | ".join(cells) + " |"


def main() -> None:
    torch.set_num_threads(1)
    lines = [line for data in DATA for line in table(data)]
    PAGE.write_text(HEAD + "\n".join([*lines, *by_sampler()]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
