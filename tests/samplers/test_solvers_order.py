"""Every deterministic solver converges to the probability flow at the order that it declares.

On data whose score is not linear, for on Gaussian data the leading error of some methods cancels between the
ends and a wrong coefficient hides: the mixture 0.4 N(-0.6, 0.5^2) + 0.6 N(0.7, 0.5^2). The expected states
come from the flow in its simplest form, dy/dr = E[eps | y] for y = x/alpha and r = sigma/alpha, written here
in numpy and solved by scipy to 1e-13. Steps are equal in log(sigma/alpha), from the prior to t_end, but for
the first, which is cut into ever shorter ones: multistep methods start at order one, and a short start's
error is lost in the rest's.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import scipy.integrate
import torch

from models.exact.mixtures import GaussianMixtureScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import PCSampler, Predictor, register_predictor
from samplers.correctors.none import NoneCorrector
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.bespoke import Bespoke
from samplers.predictors.deis import DEIS, LinearMultistep
from samplers.predictors.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep
from samplers.predictors.heun import Heun
from samplers.predictors.sa_solver import SASolver
from samplers.predictors.unipc import UniPC
from sde_lib import Noise
from sde_lib.chain_sde import InterpolatedChain
from tests.oracles import CASES, Case

SHARES, MEANS, STD = np.array([0.4, 0.6]), np.array([-0.6, 0.7]), 0.5
STARTS = np.array([-1.9, -0.8, -0.3, 0.1, 0.6, 1.5])

FLOW = CASES["flow"]
CASES_HERE: dict[str, Case] = {
    "vp": CASES["vp"],
    "subvp": CASES["subvp"],
    "ve": CASES["ve"],
    "edm": CASES["edm"],
    # From where there is signal: sigma/alpha is infinite at the prior.
    "flow": dataclasses.replace(
        FLOW, oracle=dataclasses.replace(FLOW.oracle, start=FLOW.process.signal_start)
    ),
    "chain": dataclasses.replace(CASES["ddpm"], process=InterpolatedChain(CASES["ddpm"].process)),  # type: ignore[arg-type]
}
SOLVERS: list[Predictor] = [
    *(ExponentialAdams(order=order, form=form) for order in (1, 2, 3, 4) for form in ("x0", "eps", "v")),
    *(
        ExponentialAdams(order=order, form=form, corrected=True)
        for order in (2, 3, 4)
        for form in ("x0", "eps", "v")
    ),
    ExponentialAdams(order=5, form="x0", corrected=True),
    ExponentialAdams(order=3, corrected=True, data_std=0.7, shape=2.0, keeps_data=True),
    *(DEIS(order=order, variable=variable) for order in (2, 3, 4) for variable in ("log", "ratio")),
    *(LinearMultistep(order) for order in (2, 3, 4)),
    *(DPMSolverMultistep(order, form) for order in (2, 3) for form in ("x0", "eps", "v")),
    *(DPMSolverSinglestep(order, form) for order in (2, 3) for form in ("x0", "eps", "v")),
    *(UniPC(p, form, bh) for p in (1, 2, 3) for form in ("x0", "eps") for bh in ("bh1", "bh2")),
    SASolver(explicit=2, implicit=3, tau=0),
    SASolver(explicit=3, implicit=0, tau=0),
    Heun(),
    Bespoke(),
]


def eps(r: float, y: np.ndarray) -> np.ndarray:
    """E[eps | y] = (y - E[x_0 | y]) / r, modes weighed by their densities at y."""
    variance = STD**2 + r**2
    log_weight = np.log(SHARES) - (y[:, None] - MEANS) ** 2 / (2 * variance)
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    x0 = (weight * (MEANS * r**2 + y[:, None] * STD**2) / variance).sum(1)
    return (y - x0) / r


@functools.cache
def exact(name: str) -> np.ndarray:
    """States at t_end of the flow from STARTS times the prior's standard deviation."""
    o = CASES_HERE[name].oracle
    first, last = (o.sigma(t) / o.alpha(t) for t in (o.start, o.end))
    solution = scipy.integrate.solve_ivp(
        lambda l, y: eps(np.exp(l), y) * np.exp(l),
        (np.log(first), np.log(last)),
        STARTS * o.prior_std / o.alpha(o.start),
        method="DOP853",
        rtol=1e-13,
        atol=1e-14,
    )
    return solution.y[:, -1] * o.alpha(o.end)


def levels(name: str, steps: int) -> np.ndarray:
    """sigma/alpha: ``steps`` equal steps of its logarithm, the first at 2^-12, ..., 1/4, 1/2 of its length,
    too.
    """
    o = CASES_HERE[name].oracle
    ends = [np.log(o.sigma(t) / o.alpha(t)) for t in (o.start, o.end)]
    share = np.concatenate([[0.0], 0.5 ** np.arange(12, 0, -1), np.arange(1, steps + 1)]) / steps
    return np.exp(ends[0] + share * (ends[1] - ends[0]))


def error(name: str, solver: Predictor, steps: int) -> float:
    process = CASES_HERE[name].process
    network = GaussianMixtureScore(
        process=process, means=[[m] for m in MEANS], stds=STD, weights=list(SHARES)
    )  # type: ignore[arg-type]
    times = process.time_of(torch.from_numpy(levels(name, steps)))
    times[0], times[-1] = process.start, process.t_end
    x = torch.from_numpy(STARTS * CASES_HERE[name].oracle.prior_std)[:, None]
    sampler = PCSampler(
        NoiseModel(network, process, Time(process), "score"),
        solver,
        NoneCorrector(),
        times,
        noise_removal=False,
    )
    *_, last = sampler.iterate(x, Noise(0, range(len(x))))
    return float(np.abs(last.x[:, 0].numpy() - exact(name)).max())


def measured_order(name: str, solver: Predictor, steps: tuple[int, ...]) -> float:
    errors = [error(name, solver, n) for n in steps]
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


DEFAULTS = [
    ExponentialAdams(order=4, form="v"),
    ExponentialAdams(order=5, form="x0", corrected=True),
    ExponentialAdams(order=4, corrected=True, data_std=1.5, shape=2.0, keeps_data=True),
    DEIS(order=4),
    LinearMultistep(2),
    DPMSolverMultistep(2),
    DPMSolverMultistep(3),
    DPMSolverSinglestep(3),
    UniPC(2),
    UniPC(3),
    SASolver(explicit=2, implicit=3, tau=0),
    Heun(),
]


@pytest.mark.parametrize("solver", DEFAULTS, ids=str)
@pytest.mark.parametrize("name", ["vp", "ve", "chain"])
def test_declared_order_is_reached(name: str, solver: Predictor) -> None:
    assert measured_order(name, solver, (160, 320)) == pytest.approx(solver.order, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("name", CASES_HERE)
def test_declared_order_is_reached_by_every_setting(name: str, solver: Predictor) -> None:
    """Finer: the coefficients of some settings' leading errors are small, and the next order shows
    through.
    """
    assert measured_order(name, solver, (480, 960)) == pytest.approx(solver.order, abs=0.1)


def test_every_predictor_that_declares_an_order_is_measured() -> None:
    """Here, or in test_orders.py the first-order ones."""
    measured = {type(solver) for solver in SOLVERS}
    declaring = {name for name in register_predictor if register_predictor[name]().order is not None}
    assert {n for n in declaring if register_predictor[n] not in measured} == {"ddim", "reverse_ddim"}
