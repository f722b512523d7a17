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
from sde_lib.finite import NotFiniteError
from sde_lib.noise import Noise
from sde_lib.words import listed

_SHOWN = 8
"""Images that a message names."""

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
        ValueError: the model's process has no log-SNR.
        NotFiniteError: the bound or its gradient is not; the rows are those of ``levels``.
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
            each = bound(drawn.x, noise, quantile, **cond) + drawn.log_q
            if not bool(each.isfinite().all()):
                raise _explodes("bound", step, rows[~each.isfinite()])
            loss = each.mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if not all(bool(p.grad.isfinite().all()) for p in dequantise.parameters() if p.grad is not None):
                raise _explodes("bound's gradient", step, rows)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 - step / steps)
            optimiser.step()
            losses.append(loss.detach())
    return torch.stack(losses)


def _explodes(what: str, step: int, rows: Tensor) -> NotFiniteError:
    found = sorted(set(rows.tolist()))
    return NotFiniteError(
        f"the {what} is not finite at step {step} of fitting the dequantisation, with training images "
        f"{listed(found, _SHOWN)}: the model explodes there. Look at the weights, or take "
        f"eval.bpd_dequantisation='uniform'.",
        found,
    )
