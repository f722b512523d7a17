"""The optimiser and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from run_lib.settings import OptimSettings


def make_optimizer(network: nn.Module, settings: OptimSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that require a gradient."""
    kind = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[settings.optimizer]
    return kind(
        [p for p in network.parameters() if p.requires_grad],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def learning_rate(settings: OptimSettings, step: int, n_iters: int) -> float:
    """The rate of step ``step`` (from 0): linear warm-up, then constant or a cosine that ends at 0."""
    rate = settings.lr
    if settings.schedule == "cosine":
        done = min(max(step - settings.warmup, 0) / max(n_iters - settings.warmup, 1), 1.0)
        rate *= 0.5 * (1 + math.cos(math.pi * done))
    return rate * min((step + 1) / settings.warmup, 1.0) if settings.warmup else rate
