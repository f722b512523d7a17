"""A model whose parameters need no gradients while those of its input are computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and without gradients of its parameters; as it was afterwards."""
    training = [m for m in model.modules() if m.training]
    learnt = [p for p in model.parameters() if p.requires_grad]
    try:
        model.eval()
        for p in learnt:
            p.requires_grad_(False)
        yield
    finally:
        for p in learnt:
            p.requires_grad_(True)
        for m in training:
            m.training = True
