"""The activations that a network can be built with, by name."""

from __future__ import annotations

from torch import nn

_ACTIVATIONS = ("elu", "lrelu", "relu", "swish")


def activation(name: str) -> nn.Module:
    """The activation of a name: elu, relu, lrelu (slope 0.2) or swish, in any case.

    Raises:
        ValueError: no activation has this name.
    """
    match name.lower():
        case "swish":
            return nn.SiLU()
        case "relu":
            return nn.ReLU()
        case "elu":
            return nn.ELU()
        case "lrelu":
            return nn.LeakyReLU(negative_slope=0.2)
    raise ValueError(f"unknown nonlinearity {name!r}; allowed: {', '.join(_ACTIVATIONS)}.")
