"""Variances that a network learns beside its prediction (Nichol & Dhariwal 2021, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

VarianceOutput = Literal["learned", "learned_range"]
"""What the further channels of a network mean: the log-variance itself, or where it lies in its range."""


@dataclass(frozen=True)
class LearnedVariance:
    """The variances that a network learns, from the further channels of its output; shaped like the state.

    ``learned``: log Sigma of p(x_s | x_t), for the step that the network was trained on.
    ``learned_range``: v, where log Sigma = w log beta + (1 - w) log beta-tilde with w = (v + 1) / 2
    (eq. 15, with v in [-1, 1] as published weights have it); it serves any two times.
    """

    values: Tensor
    kind: VarianceOutput

    def log_variance(self, smallest: Tensor, largest: Tensor) -> Tensor:
        """log Sigma, shaped like the state.

        Args:
            smallest: log beta-tilde of the step, the variance of q(x_s | x_t, x_0), broadcastable.
            largest: log beta of the step, the variance of q(x_t | x_s), broadcastable.
        """
        # In the precision of the bounds, which is the state's: a network may have computed in a lower one.
        values = self.values.to(smallest.dtype)
        if self.kind == "learned":
            return values
        return torch.lerp(smallest.expand_as(values), largest.expand_as(values), (values + 1) / 2)


def split_output(
    output: Tensor, state: Tensor, kind: VarianceOutput | None
) -> tuple[Tensor, LearnedVariance | None]:
    """Split a network's output into its prediction and, from the second half of its channels, the variances.

    Raises:
        ValueError: the output has another number of channels than the parameterisation needs.
    """
    channels = state.shape[1]
    wanted = channels if kind is None else 2 * channels
    if output.shape[1] != wanted:
        raise ValueError(wrong_channels(output.shape[1], channels, kind))
    if kind is None:
        return output, None
    prediction, values = output.split(channels, dim=1)
    return prediction, LearnedVariance(values, kind)


def wrong_channels(found: int, channels: int, kind: VarianceOutput | None) -> str:
    """The message for a network whose output has ``found`` channels where samples have ``channels``."""
    if kind is None:
        twice = " Twice as many hold learned variances: set model.variance." if found == 2 * channels else ""
        return f"the network outputs {found} channels but a prediction of the data needs {channels}.{twice}"
    return (
        f"variance {kind!r} needs a network with {2 * channels} output channels, {channels} for the "
        f"prediction "
        f"and {channels} for the variances; this one has {found}. Build it with out_channels={2 * channels}."
    )


def check_variance_output(kind: str | None) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: listing the known ones.
    """
    if kind is not None and kind not in get_args(VarianceOutput):
        raise ValueError(
            f"a network's variances are one of {', '.join(get_args(VarianceOutput))}, or None for fixed "
            f"ones; got {kind!r}."
        )
