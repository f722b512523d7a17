"""Bits per dimension with score_sde_pytorch's function."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from likelihood.bits import bits_per_dim
from likelihood.divergence import Divergence, Hutchinson, Probe
from likelihood.ode import log_likelihood
from models.prediction.conventions import convention
from models.prediction.noise_model import Model
from sde_lib.base import SDE
from sde_lib.integrate import Outcome
from sde_lib.noise import Noise

LEVELS = 256
"""score_sde's bits/dim are those of 8-bit data."""


def get_likelihood_fn(
    sde: SDE,
    inverse_scaler: Callable[[Tensor], Tensor],
    hutchinson_type: str = "Rademacher",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: str = "RK45",
    eps: float = 1e-5,
    *,
    seed: int = 0,
    epsilon: Tensor | None = None,
) -> Callable[[Model | nn.Module, Tensor], tuple[Tensor, Tensor, int]]:
    """Make a function ``(model, data) -> (bits/dim, z, nfe)`` that computes what score_sde_pytorch's does.

    The probability flow of the whole batch is one system for scipy's solver, integrated in time from ``eps``; bits/dim
    are those of 8-bit data. score_sde evaluates the network twice at each point, this function once: ``nfe`` is the
    number of points. A bare network is read by the convention of the process, as score_sde trains continuously.
    ``log_likelihood`` is faster, and its numbers do not depend on the batch.

    Args:
        sde: the forward process; the model's own must be the same.
        inverse_scaler: from the model's range to [0, 1]; tells the width of the range.
        hutchinson_type: distribution of the probe of the divergence, ``Rademacher`` or ``Gaussian``.
        rtol, atol, method: tolerances and method of ``scipy.integrate.solve_ivp``.
        eps: the time at which the density of the data is taken.
        seed: of the probes; sample i of every batch has stream i.
        epsilon: probes shaped like the data; drawn unless given.

    Raises:
        ValueError: an unknown distribution of probes, a model of another process, a solver that failed.
    """
    kinds: dict[str, Probe] = {"Rademacher": "rademacher", "Gaussian": "gaussian"}
    if hutchinson_type not in kinds:
        raise ValueError(f"unknown hutchinson_type {hutchinson_type!r}; known: {', '.join(kinds)}.")
    divergence: Divergence = Hutchinson(kinds[hutchinson_type])
    one, zero = torch.ones(()), torch.zeros(())
    width = float((one - zero) / (inverse_scaler(one) - inverse_scaler(zero)))

    def likelihood_fn(model: Model | nn.Module, data: Tensor) -> tuple[Tensor, Tensor, int]:
        if not isinstance(model, Model):
            model = convention(sde).sampling.model(model)
        if model.process != sde:
            raise ValueError(
                f"the model is of {model.process}, not of {sde}; pass the SDE that it was built with."
            )
        result = log_likelihood(
            model,
            data,
            Noise(seed, range(len(data)), device=data.device, dtype=data.dtype),
            divergence=divergence,
            rtol=rtol,
            atol=atol,
            method=method,
            t_min=eps,
            coordinates="time",
            probes=None if epsilon is None else epsilon.flatten(1)[:, None],
        )
        if result.failures:
            raise ValueError(f"{method} failed: {Outcome(int(result.outcome[0])).reason}.")
        bpd = bits_per_dim(result.logp, math.prod(data.shape[1:]), levels=LEVELS, data_range=width)
        return bpd, result.z, int(result.nfe[0])

    return likelihood_fn
