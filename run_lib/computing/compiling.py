"""Networks compiled by ``torch.compile``, and what that takes of a machine.

What is compiled is kept on disk by PyTorch (``TORCHINDUCTOR_CACHE_DIR``) and serves later runs and other processes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from typing import Any

import torch
from torch import Tensor, nn


def obstacle(device: str) -> str | None:
    """Why nothing can be compiled for a kind of device; None: it can."""
    if device == "cuda":
        found = importlib.util.find_spec("triton")
        return None if found else "PyTorch compiles for GPUs by Triton, which is not installed"
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler):
        return None
    return f"PyTorch compiles for CPUs by a C++ compiler, and there is no {compiler} (CXX names another)"


class Compiled:
    """A network that is compiled when it is first called, for each size of batch that it is given.

    Args:
        network: called as ``network(x, labels, **cond)``.
    """

    def __init__(self, network: nn.Module) -> None:
        self._call = torch.compile(network, dynamic=False)

    def __call__(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        # A plain tensor: one that knows its place in a run has tables, which are not the network's inputs.
        output: Tensor = self._call(x, labels.detach(), **cond)
        return output
