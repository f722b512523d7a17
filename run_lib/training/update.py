"""A step of the optimiser, taken whole or not at all."""

from __future__ import annotations

import torch
from torch import Tensor

from models.parts import own_part
from run_lib.training.state import TrainState
from run_lib.training.undo import Kept, KeptOptimizer
from run_lib.training.watch import Batch, Findings


@torch.no_grad()
def update(state: TrainState, rate: float, clip: float, batch: Batch) -> Tensor:
    """Take one step of the optimiser and update the averages; returns the gradient's norm before clipping.

    If the data, a loss, the gradient or a weight after the step is not finite, the step changes neither weights nor
    moments, averages, buffers and float16's scale of the loss. If the gradient has overflowed because of that scale,
    it alone changes: it is halved. All this is decided on the device; ``state.watch`` has what was found.

    Args:
        state: with the gradient in its weights.
        rate: the learning rate.
        clip: largest norm of the gradient; 0 or less: any.
        batch: what the gradient is of.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    with state.team.stepping():
        state.scaler.unscale_(state.optimizer)
    named = [(name, p) for name, p in state.named_parameters if p.grad is not None]
    parameters: list[Tensor] = [p for _, p in named]
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = state.team.norms(gradients, 2.0)
    norm = torch.linalg.vector_norm(norms, 2.0)
    if clip > 0:
        torch._foreach_mul_([own_part(g) for g in gradients], (clip / (norm + 1e-6)).clamp(max=1.0))

    before = KeptOptimizer(state.optimizer)
    with state.team.stepping():
        state.optimizer.step()
    weights = state.team.norms(parameters, float("inf"))  # the norm of 2 could overflow

    sound = batch.data.all() & batch.losses.values.mean().isfinite()
    overflow = sound & ~norm.isfinite()
    # A gradient that is not finite at a scale of 1 would be so without one.
    overflow &= state.scaler.scale(torch.ones_like(norm)) > 1
    sound &= norm.isfinite() & weights.isfinite().all()
    faulty = ~sound & ~overflow

    skipped = faulty | overflow
    before.put_back(skipped)
    batch.buffers.put_back(skipped)
    _rescale(state, faulty, ~norm.isfinite())
    for average in state.weights.tracked:
        average.update(state.network, where=~skipped)
    names = [name for name, _ in named]
    state.watch.note(Findings(batch.data, batch.losses, names, norms, weights, faulty, overflow))
    return norm


def _rescale(state: TrainState, faulty: Tensor, overflow: Tensor) -> None:
    """Adjust float16's scale of the loss to whether the gradient overflowed; not after a fault."""
    scaler = state.scaler
    if not scaler.is_enabled():
        return
    for found in scaler._found_inf_per_device(state.optimizer).values():
        found.copy_(overflow)  # in any part of the gradient, of which this process may have seen another
    before = Kept(part for part in (scaler._scale, scaler._growth_tracker) if part is not None)
    scaler.update()
    before.put_back(faulty)
