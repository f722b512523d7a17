"""Optimisers and learning-rate schedules, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import torch
from torch import nn

from sde_lib.registry import Registry
from sde_lib.settings import Range

Share = Annotated[float, Range(least=0, below=1)]
Positive = Annotated[float, Range(least=0)]
Steps = Annotated[int, Range(least=0)]
Parameters = Iterable[dict[str, Any]]

register_optimizer: Registry[Callable[..., torch.optim.Optimizer]] = Registry("config.optim.optimizer")
"""Functions or classes that take groups of parameters and ``lr``, the learning rate, and give an optimiser. Every other
parameter is a setting."""


class Schedule(Protocol):
    """A learning-rate schedule: ``schedule(step, n_iters)`` is the factor of ``optim.lr`` at a step, counted from 0."""

    def __call__(self, step: int, n_iters: int) -> float: ...


register_schedule: Registry[Callable[..., Schedule]] = Registry("config.optim.schedule")
"""Classes or functions that give a ``Schedule``. One that names ``samples_per_step`` is given the samples of a step;
every other parameter is a setting."""


@register_optimizer(name="Adam")
def adam(
    parameters: Parameters,
    lr: float,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    eps: Positive = 1e-8,
    amsgrad: bool = False,
    weight_decay: Positive = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015), with weight decay added to the gradient.

    Args:
        beta1, beta2: decay of the averages of the gradient and of its square, in [0, 1).
        eps: added to the root of the averaged square.
        amsgrad: divide by the largest averaged square so far (Reddi et al. 2018).
        weight_decay: factor of the weights in the gradient.
    """
    return torch.optim.Adam(
        parameters, lr, (beta1, beta2), eps, weight_decay=weight_decay, amsgrad=amsgrad, fused=True
    )


@register_optimizer(name="AdamW")
def adam_w(
    parameters: Parameters,
    lr: float,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    eps: Positive = 1e-8,
    amsgrad: bool = False,
    weight_decay: Positive = 0.0,
) -> torch.optim.Optimizer:
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019).

    Args:
        beta1, beta2: decay of the averages of the gradient and of its square, in [0, 1).
        eps: added to the root of the averaged square.
        amsgrad: divide by the largest averaged square so far (Reddi et al. 2018).
        weight_decay: share of the weights, times the learning rate, taken off at each step.
    """
    return torch.optim.AdamW(
        parameters, lr, (beta1, beta2), eps, weight_decay=weight_decay, amsgrad=amsgrad, fused=True
    )


@register_optimizer(name="RAdam")
def r_adam(
    parameters: Parameters,
    lr: float,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    eps: Positive = 1e-8,
    weight_decay: Positive = 0.0,
    decoupled: bool = False,
) -> torch.optim.Optimizer:
    """Rectified Adam: momentum alone until the averaged square can be trusted (Liu et al. 2020, algorithm 2).

    Args:
        beta1, beta2: decay of the averages of the gradient and of its square, in [0, 1).
        eps: added to the root of the averaged square.
        weight_decay: factor of the weights in the gradient.
        decoupled: take the weight decay apart from the gradient, as AdamW does.
    """
    return torch.optim.RAdam(
        parameters, lr, (beta1, beta2), eps, weight_decay, decoupled_weight_decay=decoupled, foreach=True
    )


@register_optimizer(name="SGD")
def sgd(
    parameters: Parameters,
    lr: float,
    momentum: Share = 0.9,
    nesterov: bool = False,
    weight_decay: Positive = 0.0,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum: v <- momentum v + gradient, weights <- weights - lr v.

    Args:
        momentum: share of the last step's direction that is kept, in [0, 1).
        nesterov: take the gradient where the momentum leads (Sutskever et al. 2013, in torch's form); needs momentum.
        weight_decay: factor of the weights in the gradient.
    """
    if nesterov and not momentum:
        raise ValueError("optim.nesterov=True looks ahead along the momentum: set optim.momentum above 0.")
    return torch.optim.SGD(
        parameters, lr, momentum, weight_decay=weight_decay, nesterov=nesterov, foreach=True
    )


def _warm_up(step: int, warmup: int) -> float:
    return min((step + 1) / warmup, 1.0) if warmup else 1.0


@register_schedule(name="constant")
@dataclass(frozen=True)
class Constant:
    """A linear warm-up, then the rate itself.

    Args:
        warmup: steps of the warm-up; 0: none.
    """

    warmup: Steps = 5000

    def __call__(self, step: int, n_iters: int) -> float:
        return _warm_up(step, self.warmup)


@register_schedule(name="cosine")
@dataclass(frozen=True)
class Cosine:
    """A linear warm-up, then half a cosine that ends at 0 (Loshchilov & Hutter 2017, eq. 5, without restarts).

    Args:
        warmup: steps of the warm-up; 0: none.
    """

    warmup: Steps = 5000

    def __call__(self, step: int, n_iters: int) -> float:
        done = min(max(step - self.warmup, 0) / max(n_iters - self.warmup, 1), 1.0)
        return 0.5 * (1 + math.cos(math.pi * done)) * _warm_up(step, self.warmup)


@register_schedule(name="linear")
@dataclass(frozen=True)
class Linear:
    """A line that ends at 0, times a linear warm-up (improved-diffusion's ``lr_anneal_steps``).

    Args:
        warmup: steps of the warm-up; 0: none.
    """

    warmup: Steps = 5000

    def __call__(self, step: int, n_iters: int) -> float:
        return (1 - min(step / n_iters, 1.0)) * _warm_up(step, self.warmup)


@register_schedule(name="inverse_sqrt")
@dataclass(frozen=True)
class InverseSquareRoot:
    """A linear warm-up, then 1 / sqrt(max(step / n, 1)): the rate itself for n steps, then falling for ever.

    With n the end of the warm-up it is that of Vaswani et al. 2017, section 5.3, but for their factor; with a longer
    one EDM2's (Karras et al. 2024, section 2.3). It does not depend on how long training goes on.

    With a reference, rate and steps are those of training with batches of that size. Another size then keeps the
    schedule over the samples that have been seen, and its rate is sqrt(size / reference) times as high, which keeps
    Adam's noise (Malladi et al. 2022, definition 5).

    Args:
        samples_per_step: size of the batches.
        warmup: steps of the warm-up; 0: none.
        constant_until: n, the step from which the rate falls; 0: the end of the warm-up.
        reference_batch: samples of a step for which ``lr``, ``warmup`` and ``constant_until`` are stated; 0: those of
            a step here.
    """

    samples_per_step: int
    warmup: Steps = 5000
    constant_until: Steps = 0
    reference_batch: Steps = 0

    def __call__(self, step: int, n_iters: int) -> float:
        size = self.samples_per_step / (self.reference_batch or self.samples_per_step)
        start = max(self.constant_until or self.warmup, 1)
        risen = min((step + 1) * size / self.warmup, 1.0) if self.warmup else 1.0
        return math.sqrt(size / max(step * size / start, 1.0)) * risen


@register_schedule(name="cooldown")
@dataclass(frozen=True)
class CoolDown:
    """A linear warm-up, the rate itself, and in the last steps a fall to 0 (Haegele et al. 2024, section 3).

    Up to the fall it does not depend on how long training goes on.

    Args:
        warmup: steps of the warm-up; 0: none.
        cooldown: share of the training that the fall takes, in (0, 1].
        fall: with u the share of the fall that is done, ``linear``: 1 - u; ``sqrt``: 1 - sqrt(u).
    """

    warmup: Steps = 5000
    cooldown: Annotated[float, Range(above=0, most=1)] = 0.2
    fall: Literal["linear", "sqrt"] = "sqrt"

    def __call__(self, step: int, n_iters: int) -> float:
        length = self.cooldown * n_iters
        done = min(max(step - (n_iters - length), 0) / length, 1.0)
        left = 1 - (math.sqrt(done) if self.fall == "sqrt" else done)
        return left * _warm_up(step, self.warmup)


def trained_parameters(network: nn.Module, learned: nn.Module | None = None) -> Parameters:
    """One group of the parameters that require a gradient; an exact score has none.

    Args:
        network: whose parameters come first.
        learned: what a loss learns beside them; None: nothing.
    """
    held = [*network.parameters(), *(() if learned is None else learned.parameters())]
    return [{"params": [p for p in held if p.requires_grad]}]


@dataclass(frozen=True)
class LossScaling:
    """Scaling of the loss, so that gradients in float16 do not underflow; does nothing in other precisions.

    The scale doubles after 1 / ``growth`` steps without overflow and halves at each overflow.

    Attributes:
        enabled: whether training is in float16.
        scale: binary logarithm of the first scale.
        growth: what each step without overflow adds to this logarithm, in (0, 1].
    """

    enabled: bool
    scale: float
    growth: float

    def make_scaler(self, device: torch.device) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(
            device.type,
            init_scale=2.0**self.scale,
            growth_interval=round(1 / self.growth),
            enabled=self.enabled,
        )
