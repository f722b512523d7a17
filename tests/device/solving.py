"""Sampling on a device: every predictor, corrector, grid and constraint on every process that it works with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from samplers import (
    Bespoke,
    Mask,
    ODESampler,
    PCSampler,
    Replacement,
    optimise_bespoke,
    optimise_grid,
    register_corrector,
    register_predictor,
    repaint,
    sdedit,
)
from samplers.editing import DDIMInversion, interpolate
from samplers.predictors.ddim import DDIM
from samplers.predictors.dpm_solver import DPMSolverMultistep
from samplers.predictors.restart import Restart
from sde_lib import SDE
from sde_lib.base import GaussianProcess
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.grids import Cosine, Density, Explicit, Grid, Karras, LogSNR, Quadratic, Respaced, Uniform
from tests.device.subjects import PROCESSES, SHAPE, Work, model_on, noise_on

STEPS = 3
BRIEF: dict[str, dict[str, Any]] = {"adaptive_sde": {"relative": 3.0, "absolute": 3.0, "first_step": 0.3}}
"""Settings with which a predictor takes few steps."""
GRIDS: dict[str, Grid[Any]] = {
    "uniform": Uniform(),
    "quadratic": Quadratic(),
    "log_snr": LogSNR(),
    "karras": Karras(),
    "cosine": Cosine(),
    "density": Density((0.0, 0.4, 0.1)),
    "respaced": Respaced(),
}
READS_VALUES = {"adaptive_sde"}
"""Predictors that choose their steps by what they see."""


def fits(component: Any, name: str) -> bool:
    return isinstance(PROCESSES[name](), component.needs)


def sampled(device: torch.device, sampler: PCSampler, **cond: Any) -> Tensor:
    """Samples of the sampler, with noise of the device's own streams."""
    return sampler.sample(SHAPE, noise_on(device), **cond).x


def predictor_work(name: str, predictor: str, device: torch.device) -> Tensor:
    model, component = model_on(device, name), register_predictor[predictor](**BRIEF.get(predictor, {}))
    return sampled(device, PCSampler.of(model, component, num_steps=STEPS))


def corrector_work(name: str, corrector: str, device: torch.device) -> Tensor:
    model = model_on(device, name)
    sampler = PCSampler.of(
        model, register_predictor["euler_maruyama" if name == "no_marginal" else "reverse_diffusion"](),
        register_corrector[corrector](), num_steps=STEPS, n_steps_each=2,
    )  # fmt: skip
    return sampled(device, sampler)


def grid_work(name: str, grid: str, device: torch.device) -> Tensor:
    model = model_on(device, name)
    times = GRIDS[grid].times(model.process, STEPS)
    assert times.device.type == model.process.device.type
    return model.process.time(times).double().to(device)


def by_name(name: str, what: str, device: torch.device) -> Tensor:
    """Work that is more than one component's."""
    model = model_on(device, name)
    plain = PCSampler.of(model, DDIM(), num_steps=6)
    shown = torch.tensor([1.0, 0.0], device=device)
    y = torch.full(SHAPE, 0.3, device=device)
    held = Replacement(Mask(shown), Mask(shown).apply(y))
    if what == "restart":
        restart = Restart(restart_low=0.2, restart_high=0.5, inner=2)
        return sampled(device, PCSampler.of(model, restart, num_steps=6))
    if what == "bespoke":
        return sampled(device, PCSampler.of(model, Bespoke(((1.0,), (1.5, -0.5))), num_steps=3))
    if what == "seed":
        return plain.sample(SHAPE, seed=3).x
    if what == "times of the CPU":
        return sampled(device, replace(plain, times=plain.times.cpu()))
    if what == "explicit":
        listed = Explicit(tuple(plain.times.tolist()))
        return sampled(device, PCSampler.of(model, DDIM(), num_steps=6, grid=listed))
    if what == "replacement":
        return sampled(device, replace(plain, constraints=[held]))
    if what == "repaint":
        held = replace(held, noise_std=0.1)
        walk = repaint(replace(plain, constraints=[held]), jump_length=2, resamplings=2, above=0.1)
        return sampled(device, walk)
    if what == "repaint of a multistep predictor":
        return sampled(
            device, repaint(replace(plain, predictor=DPMSolverMultistep()), jump_length=2, resamplings=2)
        )
    if what == "sdedit":
        return sdedit(plain, y, 0.6, noise_on(device)).x
    if what == "inversion":
        return DDIMInversion(model, plain.times).decode(DDIMInversion(model, plain.times).encode(y).x).x
    if what == "interpolation":
        shares = torch.linspace(0, 1, 3, device=device)
        return interpolate(DDIMInversion(model, plain.times), y, -y.roll(1, 0) + shown, shares).x
    if what == "tune.grid":
        found = optimise_grid(
            model, DDIM(), 4, SHAPE, noise_on(device), levels=3, trials=4, reference_steps=5
        )
        return torch.tensor(found.grid.log_density, device=device)
    assert what == "tune.bespoke"
    found = optimise_bespoke(
        model, 3, SHAPE, noise_on(device), starts=(Karras(3.0),), iterations=1, finalists=1, reference_steps=5
    )
    return torch.tensor(found.grid.listed_times, device=device)


EVERYWHERE = (
    "restart", "bespoke", "seed", "times of the CPU", "explicit", "replacement", "repaint",
    "repaint of a multistep predictor", "sdedit", "inversion", "interpolation", "tune.grid",
)  # fmt: skip
"""By name, for each process with a marginal."""


def ode_work(name: str, device: torch.device) -> Tensor:
    sampler = ODESampler(model_on(device, name), rtol=0.5, atol=0.5)
    return sampler.encode(sampler.sample(SHAPE, noise_on(device)).x).x


def _works() -> Iterator[tuple[str, Work]]:
    for name in PROCESSES:
        process = PROCESSES[name]()
        for predictor in register_predictor:
            if fits(register_predictor[predictor], name) and predictor != "restart":
                yield f"{predictor}-{name}", partial(predictor_work, name, predictor)
        for corrector in register_corrector:
            if fits(register_corrector[corrector], name):
                yield f"{corrector} corrector-{name}", partial(corrector_work, name, corrector)
        for grid in GRIDS:
            if fits(GRIDS[grid], name):
                yield f"{grid} grid-{name}", partial(grid_work, name, grid)
        for what in EVERYWHERE if isinstance(process, GaussianProcess) else ():
            yield f"{what}-{name}", partial(by_name, name, what)
        if isinstance(process, GaussianProcess) and not isinstance(process, DiscreteDiffusion):
            yield f"tune.bespoke-{name}", partial(by_name, name, "tune.bespoke")
        if isinstance(process, SDE):
            yield f"flow-{name}", partial(ode_work, name)


WORKS: dict[str, Work] = dict(_works())
