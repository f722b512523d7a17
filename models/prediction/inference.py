"""Evaluations of which no gradient is asked, in torch's inference mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def evaluated(network: nn.Module, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
    """``network(x, labels, **cond)``: in inference mode where gradients are off and the network ``keeps_nothing``.

    Inference mode leaves out what torch notes of every tensor in case of a later derivative. Its tensors can be part of
    none, so the output is copied to one like any other: samplers, guidance and plugins never meet them, and who turns
    gradients on around an evaluation has an evaluation with gradients. A network that does not say ``keeps_nothing``
    (``models.base.Network``) is called as it is.
    """
    if not _for_inference(network, x):
        output: Tensor = network(x, labels, **cond)
        return output
    with torch.inference_mode():
        output = network(x, labels, **cond)
    return output.clone()


def _for_inference(network: nn.Module, x: Tensor) -> bool:
    if (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or type(x) is not Tensor  # tensors of other classes need not be able to be made in it
        or not getattr(network, "keeps_nothing", False)
    ):
        return False
    # Tangents pass through no_grad, but not through inference mode.
    return forward_ad.unpack_dual(x).tangent is None
