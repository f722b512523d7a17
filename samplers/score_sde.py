"""score_sde_pytorch's entry points, for users who know them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from models.base import Network
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


def as_model(model: Model | Network, sde: SDE, continuous: bool) -> Model:
    """A bare network is read by the convention of its process."""
    if isinstance(model, Model):
        return model
    return convention(register_sde.name_of(type(sde)), sde, continuous).sampling.model(model)


def with_settings(component: Callable[..., Component], **settings: object) -> Component:
    """The component with those of the settings that it has."""
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
    """A predictor-corrector sampler: ``sampler(model) -> (samples, nfe)``.

    As the ancestor's, with what it got wrong put right: steps follow the grid whatever their number, norms are
    of each sample, and evaluations are counted. Each call goes on to fresh samples.

    Args:
        sde: the forward process.
        shape: of the batch, (B, ...).
        predictor, corrector: classes, such as ``register_predictor["reverse_diffusion"]``.
        inverse_scaler: from the model's range to the data's.
        snr: of the corrector, where it has one.
        n_steps: corrector sub-steps at each time.
        probability_flow: of the predictor, where it has a choice.
        continuous: how a bare network was trained.
        denoise: close with the estimate of clean data.
        eps: the smallest time at which the model is evaluated.
        device: where samples are made.
        num_steps: of the predictor; the ancestor's ``sde.N`` unless given.
        seed: of the samples' streams.
    """
    times = torch.linspace(sde.T, eps, num_steps or sde.N, dtype=torch.float64)
    first = itertools.count(0, shape[0])

    def pc_sampler(model: Model | Network) -> tuple[Tensor, int]:
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
    """A probability-flow sampler: ``sampler(model, z=None) -> (samples, nfe)``; ``z`` are states at T.

    Args:
        sde, shape, inverse_scaler, denoise, eps, device, continuous, seed: as for ``get_pc_sampler``.
        rtol, atol: tolerance of the solver, for each sample on its own.
        method: ``dopri5`` (the ancestor's RK45, on the device) or ``dop853``.
    """
    first = itertools.count(0, shape[0])

    def ode_sampler(model: Model | Network, z: Tensor | None = None) -> tuple[Tensor, int]:
        sampler = ODESampler(as_model(model, sde, continuous), rtol, atol, method, denoise, t_end=eps)
        if z is None:
            start = next(first)
            z = sde.prior_sampling(shape, Noise(seed, range(start, start + shape[0]), device))
        result = sampler.decode(z)
        return inverse_scaler(result.x), result.nfe

    return ode_sampler
