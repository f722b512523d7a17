"""What networks are told of the time of a run is computed once for all of its steps, to the bit as it would be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models import register_model
from models.base import Network
from sde_lib.timetable import grid_times
from tests.models.test_one_graph import CONDITIONING, NETWORKS, image, made
from tests.samplers.test_kernels import Kernels

TOLD = {"aten::arange", "aten::exp", "aten::sin", "aten::cos", "aten::log"}
"""What sinusoids and Fourier features consist of."""
TIMES = torch.tensor([900.0, 310.5, 7.25, 1.5])
AXES = {"mlp": 0}
POSITIONAL: dict[str, Any] = {"embedding": "positional", "scale_by_sigma": False}
SIGMAS: dict[str, Any] = {"scale_by_sigma": True, "sigmas": [50.0 * 0.9955**k for k in range(1000)]}


def network(name: str, **settings: Any) -> Network:
    """One of ``made``, or with settings of its own; all have weights that are not zero."""
    if not settings:
        return made(name)
    found = register_model[name](**{**NETWORKS[name], **settings})
    for k, parameter in enumerate(found.parameters()):
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(k))
    return found.eval()


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ("adm", "ddpm", "dit", "edm2", "mlp", "ncsnpp")},
    "ddpm, by the level": ("ddpm", SIGMAS),
    "ncsnpp, positional": ("ncsnpp", POSITIONAL),
    "ncsnpp, positional, by the level": ("ncsnpp", {**POSITIONAL, **SIGMAS}),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_run_tells_what_each_step_would(case: str) -> None:
    """Labels of a run, against the same labels with no place in one; after the first step nothing is left of it."""
    name, settings = CASES[case]
    one, cond = network(name, **settings), CONDITIONING.get(name, {})
    x = image(8, axes=AXES.get(name, 2))
    for k, t in enumerate(grid_times(TIMES, len(x))):
        with Kernels() as counted:
            found = one(x, t, **cond)
        assert torch.equal(found, one(x, t.clone(), **cond))
        assert k == 0 or not TOLD & set(counted.names)
    with Kernels() as counted:
        one(x, TIMES[: len(x)], **cond)
    assert TOLD & set(counted.names), "where it is computed it is seen"


class Activations(Kernels):
    """Counts activations of vectors (B, E)."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.silu.default and args[0].ndim == 2:
            self.names.append("embedding")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["adm", "ddpm", "ncsnpp", "dit"])
@torch.no_grad()
def test_the_embedding_is_activated_once_for_all_blocks(name: str) -> None:
    """And once between the two layers that make it."""
    x: Tensor = image(8)
    with Activations() as counted:
        made(name)(x, torch.tensor([3.0, 11.0]), **CONDITIONING.get(name, {}))
    assert counted.names == ["embedding"] * 2
