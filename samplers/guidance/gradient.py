"""Guidance by a gradient: of any log-probability of noisy states, or of any loss on predicted data."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias, final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.prediction.noise_model import Model, Prediction
from samplers.guidance.base import Guided, Scale, rows
from samplers.guidance.interval import Bounds
from sde_lib.needs import GivenProcess
from sde_lib.registry import Registry

LogProb: TypeAlias = Callable[..., Tensor]
"""log_prob(x_t, t) -> (B,): states (B, ...) and times (B,), and by name what it asks of the conditioning."""

DenoisedLoss: TypeAlias = Callable[..., Tensor]
"""loss(x0) -> (B,): predicted data (B, ...), and by name what it asks of the conditioning."""

register_log_prob: Registry[LogProb] = Registry("log-probability of noisy states")
register_denoised_loss: Registry[DenoisedLoss] = Registry("loss on predicted data")
"""Functions of one's own, by the name that guidance.name gives; each sample's value must be its own."""


def gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d f(x) / dx, (B, ...), of samples ``x`` on whose own values ``f(x)`` (B,) depends, row by row.

    Where ``x`` is being differentiated, as in a likelihood, so is the gradient: the divergence of a guided
    flow has the second derivatives of ``f``.
    """
    twice = differentiated(x)
    # Fused attention has no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH) if twice else nullcontext():
        at = x if twice else x.detach().requires_grad_(True)
        value = f(at)
        if value.shape != (len(x),):
            raise ValueError(
                f"guidance needs one number a sample, of shape {(len(x),)}; the function gave "
                f"{tuple(value.shape)}."
            )
        if not value.requires_grad:
            return torch.zeros_like(x)
        (found,) = torch.autograd.grad(value.sum(), at, create_graph=twice, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


def differentiated(x: Tensor) -> bool:
    """Whether derivatives with respect to ``x`` will be asked of what is computed from it."""
    return torch.is_grad_enabled() and x.requires_grad


def named(function: Callable[..., Tensor], positional: int, cond: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the conditioning, what a function takes by name after its first arguments."""
    parameters = list(inspect.signature(function).parameters.values())[positional:]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return cond
    return {p.name: cond[p.name] for p in parameters if p.name in cond}


def remaining(cond: dict[str, Tensor], asked: dict[str, Tensor]) -> dict[str, Tensor]:
    """The conditioning that is not ``asked``."""
    return {name: value for name, value in cond.items() if name not in asked}


def confined(found: Tensor, inside: Tensor | None) -> Tensor:
    """The gradient, zero for samples outside the interval."""
    return found if inside is None else torch.where(rows(inside, found), found, torch.zeros_like(found))


@final
class LogProbGuidance(Guided[GivenProcess]):
    """score + scale grad log_prob(x_t, t): the posterior score where log_prob is log p(y | x_t) up to a
    constant and scale is 1 (Song et al. 2021, eq. 14).

    Args:
        log_prob: differentiable in its first argument; each sample's value depends on that sample alone.
        conditional: whether the model is given the conditioning that ``log_prob`` names as well.
    """

    def __init__(
        self,
        model: Model[GivenProcess],
        log_prob: LogProb,
        scale: Scale = 1.0,
        interval: Bounds | None = None,
        conditional: bool = True,
    ) -> None:
        super().__init__(model, scale, interval)
        self.log_prob, self.conditional = log_prob, conditional

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        asked = named(self.log_prob, 2, cond)
        prediction: Prediction = self.model(x, t, **(cond if self.conditional else remaining(cond, asked)))
        found = gradient(lambda at: self.log_prob(at, t, **asked), x)
        return prediction.plus_score(self.scale * confined(found, self.inside(t)))


@final
class DenoisedLossGuidance(Guided[GivenProcess]):
    """score - scale grad_x loss(x0(x_t)), x0 the model's prediction of the data, through the network.

    With loss(x0) = |y - A x0|^2 / (2 std^2) it is diffusion posterior sampling in the score (Chung et al.
    2023, eq. 11). One evaluation of the network gives prediction and gradient.

    Args:
        loss: differentiable; each sample's value depends on that sample alone.
        conditional: whether the model is given the conditioning that ``loss`` names as well.
    """

    def __init__(
        self,
        model: Model[GivenProcess],
        loss: DenoisedLoss,
        scale: Scale = 1.0,
        interval: Bounds | None = None,
        conditional: bool = True,
    ) -> None:
        super().__init__(model, scale, interval)
        self.loss, self.conditional = loss, conditional

    def forward(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        asked = named(self.loss, 1, cond)
        told = cond if self.conditional else remaining(cond, asked)
        kept: list[Prediction] = []

        def loss(at: Tensor) -> Tensor:
            kept.append(self.model(at, t, **told))
            return self.loss(kept[0].x0, **asked)

        found = gradient(loss, x)
        move = -self.scale * confined(found, self.inside(t))
        prediction = kept[0] if differentiated(x) else kept[0].detached()
        return prediction.plus_score(move)
