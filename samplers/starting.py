"""Where a run starts of a process whose prior has no signal: alpha is 0 at its first time."""

from __future__ import annotations

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.base import Predictor
from sde_lib.base import Process


def with_signal(times: Tensor, model: Model, predictor: Predictor) -> Tensor:
    """The times, without those at which the model or the predictor would divide by an alpha of 0.

    Those above ``signal_start`` give way to it: the state of the prior is taken for one there, from which it differs by
    1 - sigma. Where model and predictor work at pure noise, all times stay.

    Args:
        times: of a run, (num_steps,), noisy times first, or last for a predictor that encodes.
        model, predictor: of the run.
    """
    process = model.process
    if model.at_pure_noise and predictor.at_pure_noise:
        return times
    beyond = times > process.signal_start
    if process.signal_start == process.start or not bool(beyond.any()):
        return times
    kept, start = times[~beyond], torch.full_like(times[:1], process.signal_start)
    if bool((kept == start).any()):
        return kept
    return torch.cat([kept, start] if predictor.encodes else [start, kept])


def starts_below(start: float, process: Process) -> str:
    """What to tell of a run that starts at ``start``, below a prior's time that has no signal; empty: nothing."""
    if process.signal_start == process.start or start > process.signal_start:
        return ""
    return f"starts at t={start:g}, below {process.start:g}, where alpha is 0 and what is divided by it has no value"
