"""Weights that layers compute from their parameters, once where these stay as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar

import torch
from torch import Tensor

_MADE: ContextVar[dict[Hashable, tuple[tuple[object, ...], Tensor]] | None] = ContextVar(
    "derived", default=None
)
"""By the addresses of what they are made of, which is held with them. None: parameters may change."""


@contextlib.contextmanager
def derived_once() -> Iterator[None]:
    """Within the block, which parameters must not change in, what layers make of them is kept until it ends."""
    token = _MADE.set({})
    try:
        yield
    finally:
        _MADE.reset(token)


def derived(make: Callable[[], Tensor], of: tuple[object, ...], *how: Hashable) -> Tensor:
    """``make()``, or what it gave before in the same ``derived_once``.

    Evaluations with gradients and those that are being compiled make their own.

    Args:
        make: computes the weight.
        of: what it is computed from, such as the layer: told apart by identity.
        how: what else it depends on, told apart by value, such as its precision.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return make()
    made = _MADE.get()
    if made is None:
        return make()
    key = (*map(id, of), *how)
    if key not in made:
        with torch.inference_mode(False), torch.no_grad():
            made[key] = of, make()
    return made[key][1]
