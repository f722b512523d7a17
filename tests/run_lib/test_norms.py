"""Norms of many tensors, and what a sound step costs beside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from run_lib.training.norms import norms_of
from run_lib.training.undo import KeptOptimizer

NAN, INF = float("nan"), float("inf")


class Kernels(TorchDispatchMode):
    """The names of torch's operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


HELD = {
    "negative": (torch.tensor([[3.0, -4.0], [0.0, 1.0]]), INF, 4.0),
    "positive": (torch.tensor([3.0, -2.0]), INF, 3.0),
    "half": (torch.tensor([-1.5, 0.5], dtype=torch.bfloat16), INF, 1.5),
    "infinite": (torch.tensor([1.0, -INF]), INF, INF),
    "not a number": (torch.tensor([NAN, 1.0, INF]), INF, NAN),
    "would overflow as a square": (torch.tensor([1e30, -2e30]), INF, 2e30),
    "complex": (torch.tensor([3 + 4j]), INF, 5.0),
    "Euclidean": (torch.tensor([3.0, -4.0]), 2.0, 5.0),
}


@pytest.mark.parametrize("name", HELD)
def test_norms(name: str) -> None:
    tensor, order, wanted = HELD[name]
    found = norms_of([tensor, torch.ones(1, dtype=tensor.dtype)], order)
    torch.testing.assert_close(found.double(), torch.tensor([wanted, 1.0]).double(), equal_nan=True)


def test_the_largest_value_is_found_by_its_ends() -> None:
    with Kernels() as seen:
        norms_of([torch.ones(3)], INF)
    assert "aminmax" in seen.names
    assert "_foreach_norm" not in seen.names


@pytest.mark.parametrize("where", [False, True])
def test_what_is_kept_is_read_again_only_to_be_put_back(where: bool) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    kept = KeptOptimizer(torch.optim.SGD([weight], 0.1))
    with torch.no_grad():
        weight.fill_(1)
    with Kernels() as seen:
        kept.put_back(torch.tensor(where))
    assert any("foreach" in name for name in seen.names) is where
    assert weight.tolist() == [0.0 if where else 1.0] * 3
