"""Densities on a device: the probability flow's, bounds, dequantisation, and what they are taken of: losses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from likelihood import (
    DenoisingBound,
    Divergence,
    ExactTrace,
    Hutchinson,
    HutchPlusPlus,
    UniformDequantisation,
    VariationalDequantisation,
    bits_per_dim,
    fit_dequantisation,
    importance_weighted,
    log_likelihood,
    variational_bound,
)
from likelihood.score_sde import get_likelihood_fn
from losses.denoising import DenoisingLoss
from losses.named_times import register_times
from losses.objectives import register_objective
from losses.times import TimeSampler
from losses.weightings import register_weighting
from models.exact.mixtures import GaussianScore
from models.prediction.cut_levels import CutLevels
from models.prediction.noise_model import Model, NoiseModel
from models.prediction.time_encoding import Time
from run_lib.computing.placement import Placement
from sde_lib import SDE
from sde_lib.base import GaussianSDE
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.gaussian import Bins
from tests.device.subjects import PROCESSES, Work, model_on, noise_on

LOOSE: dict[str, Any] = {"rtol": 0.5, "atol": 0.5}
DIVERGENCES: dict[str, Divergence] = {
    "rademacher": Hutchinson(),
    "gaussian": Hutchinson("gaussian", 2),
    "hutch++": HutchPlusPlus(1, 1),
    "exact": ExactTrace(),
}
TRUNCATIONS = ("state", "noised")


def data_on(device: torch.device) -> Tensor:
    return torch.tensor([[0.7, -0.2], [-0.5, 0.4], [0.1, 0.2]], device=device)


def levels_on(device: torch.device) -> Tensor:
    return torch.tensor([[3, 1], [0, 2], [2, 2]], device=device)


def flow_work(name: str, trace: str, options: dict[str, Any], device: torch.device) -> Tensor:
    found = log_likelihood(
        model_on(device, name),
        data_on(device),
        noise_on(device),
        divergence=DIVERGENCES[trace],
        **LOOSE,
        **options,
    )
    assert not found.failures
    return torch.stack([found.logp, found.nfe.double(), found.z.double()[:, 0]])


def score_sde_work(device: torch.device) -> Tensor:
    model = model_on(device, "vpsde")
    bpd, z, _ = get_likelihood_fn(model.process, lambda x: (x + 1) / 2, **LOOSE)(model, data_on(device))
    return torch.cat([bpd[:, None], z.double()], dim=1)


def bound_work(name: str, bins: bool, device: torch.device) -> Tensor:
    model: Model = model_on(device, name)
    if not isinstance(model.process, DiscreteDiffusion):
        model = CutLevels(4, last_noise=0.05)(model)
    found = variational_bound(
        model, data_on(device), noise_on(device), bins=Bins(4, -1, 1) if bins else None,
        times=torch.tensor([3, 1, 0]),
    )  # fmt: skip
    return found.total


def denoising_bound_work(name: str, device: torch.device) -> Tensor:
    bound, noise = DenoisingBound(model_on(device, name)), noise_on(device)
    return bound(data_on(device), noise, noise.strata())


def dequantisation_work(kind: str, device: torch.device) -> Tensor:
    model, levels = model_on(device, "vpsde"), levels_on(device)
    if kind == "uniform":
        drawn = UniformDequantisation(4)(levels, noise_on(device))
    else:
        torch.manual_seed(0)
        learned = VariationalDequantisation((2,), levels=4, width=4, couplings=2).to(device)
        fit_dequantisation(learned, model, levels, seed=0, steps=2, batch_size=3, learning_rate=0.01)
        with torch.no_grad():
            drawn = learned(levels, noise_on(device))
    weights = importance_weighted(torch.stack([drawn.log_q, drawn.x.double().sum(1)]))
    return bits_per_dim(weights, 2, levels=4, data_range=2.0)


LEARNED = {"kl", "rescaled_kl", "hybrid", "rescaled_mse", "mse"}
OF_SDES = {"elbo"}


class TwoHalves(GaussianScore):
    """An exact prediction, and as many channels again for learned variances."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return torch.cat([super().forward(x, labels), 0.1 * x], dim=1)


def learned_on(device: torch.device, name: str, kind: str) -> Model:
    process = PROCESSES[name]()
    network = TwoHalves(process=process, mean=0.1, std=0.5)
    return Placement(device).place(NoiseModel(network, process, Time(process), "score", kind))


def loss_work(name: str, objective: str, times: str, device: torch.device) -> Tensor:
    learned = objective in LEARNED
    model = learned_on(device, name, "learned_range") if learned else model_on(device, name)
    of_process = {} if times == "log_normal" else {"process": model.process}
    sampler: TimeSampler = Placement(device).place(register_times[times](**of_process))
    given = {"times": sampler, "output": "score", "bins": Bins(4, -1, 1), "learned": learned}
    if objective in register_weighting:
        loss: Any = DenoisingLoss(sampler, register_weighting[objective]())
    else:
        made = register_objective[objective]
        loss = made(**{k: v for k, v in given.items() if k in made.__annotations__})
    x0 = data_on(device).requires_grad_()
    losses = loss(model, x0, noise_on(device))
    sampler.observe(losses.t, losses.unweighted.detach())
    return torch.stack([losses.values, torch.autograd.grad(losses.values.sum(), x0)[0].sum(1)])


def _works() -> Iterator[tuple[str, Work]]:
    for name in PROCESSES:
        process = PROCESSES[name]()
        if isinstance(process, SDE):
            for trace in DIVERGENCES:
                yield f"{trace}-{name}", partial(flow_work, name, trace, {})
            yield f"scipy-{name}", partial(flow_work, name, "exact", {"method": "RK45"})
            yield (
                f"in time-{name}",
                partial(flow_work, name, "exact", {"coordinates": "time", "method": "dop853"}),
            )
        if isinstance(process, GaussianSDE):
            yield f"noised-{name}", partial(flow_work, name, "rademacher", {"truncation": "noised"})
            yield f"denoising bound-{name}", partial(denoising_bound_work, name)
        if isinstance(process, GaussianSDE | DiscreteDiffusion):
            for bins in (False, True):
                yield f"bound{' of levels' * bins}-{name}", partial(bound_work, name, bins)
    yield "score_sde-vpsde", score_sde_work
    for kind in ("uniform", "variational"):
        yield f"{kind} dequantisation-vpsde", partial(dequantisation_work, kind)
    for objective, times in itertools.product(register_objective, ("uniform", "stratified", "importance")):
        if objective != "denoising":
            if objective in OF_SDES:
                name, times = "vpsde", {"importance": "least_variance"}.get(times, times)
            else:
                name = "ddpm"
            yield f"{objective} at {times} times-{name}", partial(loss_work, name, objective, times)
    for name, weighting in itertools.product(PROCESSES, register_weighting):
        process = PROCESSES[name]()
        if isinstance(process, register_weighting[weighting].needs):
            times = "log_normal" if weighting == "edm" else "uniform"
            yield f"{weighting} weighting-{name}", partial(loss_work, name, weighting, times)


WORKS: dict[str, Work] = dict(_works())
