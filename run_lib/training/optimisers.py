"""The optimiser and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from run_lib.config.settings import OptimSettings, TrainSettings


def make_optimizer(network: nn.Module, settings: OptimSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that require a gradient; an exact score has none."""
    kind = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[settings.optimizer]
    return kind(
        [{"params": [p for p in network.parameters() if p.requires_grad]}],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        amsgrad=settings.amsgrad,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def make_scaler(device: torch.device, settings: TrainSettings) -> torch.amp.GradScaler:
    """What keeps half-precision gradients from vanishing; does nothing in other precisions.

    The scale doubles after 1 / ``loss_scale_growth`` steps without overflow and halves at each overflow.
    """
    return torch.amp.GradScaler(
        device.type,
        init_scale=2.0**settings.loss_scale,
        growth_interval=round(1 / settings.loss_scale_growth),
        enabled=settings.precision == "float16",
    )


def learning_rate(settings: OptimSettings, step: int, n_iters: int) -> float:
    """The rate of step ``step`` (from 0): linear warm-up, then constant, a cosine or a line that ends at 0."""
    rate = settings.lr
    if settings.schedule == "linear":
        rate *= 1 - min(step / n_iters, 1.0)
    if settings.schedule == "cosine":
        done = min(max(step - settings.warmup, 0) / max(n_iters - settings.warmup, 1), 1.0)
        rate *= 0.5 * (1 + math.cos(math.pi * done))
    return rate * min((step + 1) / settings.warmup, 1.0) if settings.warmup else rate
