"""Writes docs/predictors.md, the table of predictors, from runs of every registered predictor.

python docs/make_predictors.py
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import PCSampler, Predictor, register_predictor
from samplers.pc import default_grid
from sde_lib import SDE, VESDE, VPSDE, DiscreteDiffusion, Flow, GaussianSDE, Noise, Process, subVPSDE
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.edm import EDM
from sde_lib.needs import serves
from sde_lib.schedules import linear_betas
from sde_lib.settings import settings_of

PAGE = Path(__file__).parent / "predictors.md"
CHAIN = DiscreteDiffusion.ddpm(linear_betas(1000))
PROCESSES: dict[str, Process] = {
    "VP": VPSDE(), "subVP": subVPSDE(), "VE": VESDE(), "EDM": EDM(), "flow": Flow(),
    "chain": CHAIN, "chain, real index": InterpolatedChain(CHAIN),
}  # fmt: skip
HEAD = """# Predictors

This page is written by `python docs/make_predictors.py`, which runs every registered predictor at its
defaults; do not edit it. `python main.py --mode list unipc` prints one predictor's settings with their
meaning and ranges.

- **Processes**: `any SDE` includes an SDE of your own with a drift and a diffusion; `any Gaussian` includes
  one with a marginal; `chain, real index` is a network trained on a chain and sampled with
  `sampling.chain=interpolated`.
- **Settings**: `form` is the prediction that is interpolated, whatever the network outputs. `deis` and `lms`
  interpolate eps; `sa_solver` and `sde_dpm_solver_multistep` interpolate x0.
- **Order**: the order of convergence to the probability flow, confirmed by the tests; `-` for stochastic
  predictors. `heun` with churn has weak order 2 if the churn falls as one over the number of steps (fixed
  S_churn of EDM), and weak order 1 if it does not.
- **NFE**: network evaluations a step. With `noise_removal` every run ends with one more evaluation, the
  estimate of clean data, so N times are N - 1 steps. No step goes to zero noise.
- **Memory**: whether earlier evaluations are used. They are discarded when a corrector or a constraint has
  moved the state, and the next step is then a first step, of order one.

**A predictor of your own** may compute its coefficients at every step, `model.process.marginal(t)`: at the times
of a run that is read from a table. To have all of them from one, write them as a function of the times and ask for
`coefficients(x, self.weights, model.process, t, s)` (`sde_lib.coefficients`): `weights(process, t, s)`, which
returns tensors shaped like the times, alone or in a dataclass, is called once for all steps of a run, and gives the
numbers of this step in the precision and the shape that multiply `x`. At times of your own (each sample its own, or
computed in the step) it is called each time, with the same result. A step of ours has at most 12 kernels beside the
network, 20 with noise.

"""


@dataclass(frozen=True)
class Found:
    """Properties of a predictor, measured in runs on the exact scores of one process."""

    nfe: str
    stochastic: bool


def evaluations(predictor: Predictor, process: Process, steps: int) -> int:
    """Evaluations of ``steps`` steps; the states must stay finite."""
    model = NoiseModel(GaussianScore(process=process), process, Time(process), "score")
    noise = Noise(0, range(2), dtype=torch.float64)
    x = process.prior_sampling((2, 3), noise)
    sampler = PCSampler.of(model, predictor, num_steps=steps + 1, noise_removal=False)
    *_, last = sampler.iterate(x, noise)
    assert bool(last.x.isfinite().all()), f"{predictor} on {process}"
    return model.nfe


def find(predictor: Predictor, process: Process) -> Found:
    few, more, many = (evaluations(predictor, process, steps) for steps in (4, 6, 8))
    each = (many - few) // 4
    if (few + 2 * each, few + 4 * each) != (more, many):
        nfe = "as many as it takes"
    else:
        nfe = f"{each}, and {few - 4 * each} once" if few > 4 * each else f"{each}"
    draws = Noise(0, range(2), dtype=torch.float64)
    model = NoiseModel(GaussianScore(process=process), process, Time(process), "score")
    times = default_grid(process).times(process, 3)
    for step, t, s in zip(predictor.plan(process, times), times[:-1], times[1:], strict=True):
        here, there = (s, t) if predictor.encodes else (t, s)
        step.update_fn(model, torch.ones(2, 3).double(), here.expand(2), there.expand(2), draws)
    drawn = not torch.equal(draws.bits(1), Noise(0, range(2)).bits(1))
    return Found(nfe, drawn)


def choices(predictor: Predictor) -> str:
    """The settings, each with its default and, of a closed set, the others."""
    written: list[str] = []
    for setting in settings_of(type(predictor)):
        value = getattr(predictor, setting.name)
        others = [repr(choice) for choice in setting.choices or () if choice != value]
        written.append(f"`{setting.name}={value!r}`" + (f" (or {', '.join(others)})" if others else ""))
    return ", ".join(written) or "none"


def page() -> str:
    rows = [
        "| Predictor | Settings, defaults | Processes | Order | NFE a step | Stochastic | Memory | Correctors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in register_predictor:
        predictor = register_predictor[name]()
        served = {label: one for label, one in PROCESSES.items() if serves(one, predictor)}
        first, *others = served.values()
        some = find(predictor, first)
        for process in others:
            evaluations(predictor, process, 4)
        kind = {Process: "any", SDE: "any SDE", GaussianSDE: "any Gaussian SDE"}.get(
            predictor.needs, "any Gaussian"
        )
        rows.append(
            f"| `{name}` | {choices(predictor)} | {kind}: {', '.join(served)} | {predictor.order or '-'} | {some.nfe} "
            f"| {'yes' if some.stochastic else 'no'} | {'yes' if predictor.remembers else 'no'} "
            f"| {'encodes: none' if predictor.encodes else 'all, memory cleared' if predictor.remembers else 'all'} |"
        )
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
