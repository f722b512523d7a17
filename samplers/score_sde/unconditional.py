"""Unconditional sampling with score_sde_pytorch's functions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.prediction.conventions import convention
from models.prediction.noise_model import Model
from samplers.base import Corrector, Predictor
from samplers.ode import ODESampler
from samplers.pc import PCSampler
from sde_lib.base import SDE, register_sde
from sde_lib.noise import Noise

Component = TypeVar("Component")

Sampler = Callable[..., tuple[Tensor, int]]
"""model -> (samples in the data's scale, network evaluations)."""


_SCIPYS = {"RK45": "dopri5", "DOP853": "dop853"}
"""Solvers by the names that scipy, and score_sde with it, has for them."""


def as_model(model: Model | nn.Module, sde: SDE, continuous: bool) -> Model:
    """The model itself, or the model that a bare network is by the convention of its process."""
    if isinstance(model, Model):
        return model
    return convention(register_sde.name_of(type(sde)), sde, continuous).sampling.model(model)


def with_settings(component: Callable[..., Component], **settings: object) -> Component:
    """The component, given those of the settings that it has."""
    known = inspect.signature(component).parameters
    return component(**{name: value for name, value in settings.items() if name in known})


def get_pc_sampler(
    sde: SDE,
    shape: Sequence[int],
    predictor: type[Predictor],
    corrector: type[Corrector],
    inverse_scaler: Callable[[Tensor], Tensor],
    snr: float,
    n_steps: int = 1,
    probability_flow: bool = False,
    continuous: bool = False,
    denoise: bool = True,
    eps: float = 1e-3,
    device: torch.device | str = "cuda",
    *,
    num_steps: int | None = None,
    seed: int = 0,
) -> Sampler:
    """Make a predictor-corrector sampler, ``sampler(model) -> (samples, nfe)``.

    It differs from score_sde's function of this name where that is at fault: steps follow the grid whatever their
    number, the corrector's norms are those of each sample, and evaluations of the network are counted. Each call
    draws further samples of the seed.

    Args:
        sde: the forward process.
        shape: shape of the batch, (B, ...).
        predictor, corrector: classes, such as ``register_predictor["reverse_diffusion"]``.
        inverse_scaler: from the model's range to the data's.
        snr: signal-to-noise ratio of the corrector, where it has this setting.
        n_steps: corrector steps at each time.
        probability_flow: whether the predictor solves the probability-flow ODE, where it has this setting.
        continuous: whether a bare network was trained at continuous times.
        denoise: whether the result is the estimate of clean data, E[x_0 | x_t], at the last time.
        eps: the smallest time at which the model is evaluated.
        device: on which samples are made.
        num_steps: predictor steps; ``sde.N`` unless given, as in score_sde.
        seed: of the random numbers.
    """
    times = torch.linspace(sde.T, eps, num_steps or sde.N, dtype=torch.float64)
    first = itertools.count(0, shape[0])

    def pc_sampler(model: Model | nn.Module) -> tuple[Tensor, int]:
        sampler = PCSampler(
            model=as_model(model, sde, continuous),
            predictor=with_settings(predictor, probability_flow=probability_flow),
            corrector=with_settings(corrector, snr=snr),
            times=times,
            n_steps_each=n_steps,
            noise_removal=denoise,
        )
        start = next(first)
        result = sampler.sample(shape, Noise(seed, range(start, start + shape[0]), device))
        return inverse_scaler(result.x), result.nfe

    return pc_sampler


def get_ode_sampler(
    sde: SDE,
    shape: Sequence[int],
    inverse_scaler: Callable[[Tensor], Tensor],
    denoise: bool = False,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: str = "dopri5",
    eps: float = 1e-3,
    device: torch.device | str = "cuda",
    *,
    continuous: bool = True,
    seed: int = 0,
) -> Sampler:
    """Make a sampler that solves the probability-flow ODE, ``sampler(model, z=None) -> (samples, nfe)``.

    ``z`` are states at T to start from; drawn from the prior unless given.

    Args:
        sde, shape, inverse_scaler, denoise, eps, device, continuous, seed: as for ``get_pc_sampler``.
        rtol, atol: relative and absolute tolerance of the solver, which controls the error of each sample separately.
        method: ``dopri5``, which is also called by score_sde's name of it, ``RK45``; ``dop853`` (``DOP853``); or
            ``bosh3``.
    """
    first = itertools.count(0, shape[0])

    def ode_sampler(model: Model | nn.Module, z: Tensor | None = None) -> tuple[Tensor, int]:
        solver = _SCIPYS.get(method, method)
        sampler = ODESampler(as_model(model, sde, continuous), rtol, atol, solver, denoise, t_end=eps)
        if z is None:
            start = next(first)
            z = sde.prior_sampling(shape, Noise(seed, range(start, start + shape[0]), device))
        result = sampler.decode(z)
        return inverse_scaler(result.x), result.nfe

    return ode_sampler
