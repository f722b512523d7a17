"""Functions of many small kernels, which become one or two on a GPU."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

COMPILED = ("cuda",)
"""Types of devices on which it pays: a kernel there may take longer to start than to run."""


def fused(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function`` compiled by torch where its first argument, a tensor, lies on a GPU; as it is elsewhere.

    It is compiled at its first use, for all shapes, and torch keeps the kernels on disk for later processes. Within a
    larger function that is being compiled it is a part of that; tensors of other kinds, as those that have shapes
    alone, meet it as it is. Where nothing can be compiled, as without Triton, a warning says so and the function runs
    as it is.
    """
    run: Callable[..., Tensor] | None = None

    @functools.wraps(function)
    def call(x: Tensor, *args: object) -> Tensor:
        nonlocal run
        if x.device.type not in COMPILED or type(x) is not Tensor or torch.compiler.is_compiling():
            return function(x, *args)
        if run is None:
            run = torch.compile(function, dynamic=True, fullgraph=True)
        # torch's compiler takes a second to import, and its errors have no other name.
        from torch._dynamo.exc import TorchDynamoException

        try:
            return run(x, *args)
        except TorchDynamoException as error:
            run = function
            warnings.warn(
                f"{function.__module__}.{function.__name__} stays many kernels, for torch.compile failed: "
                f"{str(error).strip().splitlines()[0]}",
                stacklevel=2,
            )
            return function(x, *args)

    return call
