"""Guidance by a log-probability: samples from one side of a line."""

import torch

from samplers import register_log_prob


@register_log_prob
def right_of_the_axis(x, t):
    """log of a logistic function of the first coordinate, (B,)."""
    return torch.nn.functional.logsigmoid(10 * x.flatten(1)[:, 0])
