"""Training of a variational dequantisation for a given model, which stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from likelihood.denoising_bound import DenoisingBound
from likelihood.frozen import frozen
from likelihood.variational_dequantise import VariationalDequantisation
from models.prediction.noise_model import Model
from sde_lib.noise import Noise

Conditions = Callable[[Tensor, Tensor], dict[str, Any]]
"""(dequantised data, their rows) -> the network's conditioning."""


def fit_dequantisation(
    dequantise: VariationalDequantisation,
    model: Model,
    levels: Tensor,
    *,
    seed: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    conditions: Conditions | None = None,
) -> Tensor:
    """Minimise E[denoising bound of x + log q] over q, by Adam with a rate that falls to zero.

    The denoising bound stands for -log p, which would cost an ODE each step: it bounds the reverse SDE's
    density, and what lowers it raises the flow's (Song et al. 2021, "Maximum likelihood training", section 4.4).
    Log-SNRs are stratified over the batch. Whatever comes of it, ``logp - log_q`` remains a lower bound.

    Args:
        dequantise: changed in place; on the device of ``levels``.
        model: of an SDE with a Gaussian marginal.
        levels: the training data, (N, ...).
        seed: of rows, places and noise: another for every use.
        steps, batch_size, learning_rate: of the optimiser.
        conditions: the network's conditioning; none unless given.

    Returns:
        The loss of every step, in nats a sample less its first term's constants, (steps,).

    Raises:
        ValueError: the model's process has no log-SNR, or the bound is not finite.
    """
    bound = DenoisingBound(model)
    optimiser = torch.optim.Adam(dequantise.parameters(), learning_rate, betas=(0.9, 0.99))
    size, losses = min(batch_size, len(levels)), []
    with frozen(model), torch.enable_grad():
        for step in range(steps):
            noise = Noise(seed, range(step * size, (step + 1) * size), levels.device)
            rows = noise.integers(len(levels))
            drawn = dequantise(levels[rows], noise)
            strata = torch.arange(size, device=levels.device) / size
            quantile = (strata + noise.uniform((size, 1))[:, 0].double() / size).clamp(max=1 - 1e-12)
            cond = conditions(drawn.x, rows) if conditions else {}
            loss = (bound(drawn.x, noise, quantile, **cond) + drawn.log_q).mean()
            if not bool(loss.isfinite()):
                raise ValueError(
                    f"the bound is not finite at step {step} of fitting the dequantisation: the model explodes, or "
                    "the data are not finite. Take eval.bpd_dequantisation='uniform' to find the images."
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 - step / steps)
            optimiser.step()
            losses.append(loss.detach())
    return torch.stack(losses)
