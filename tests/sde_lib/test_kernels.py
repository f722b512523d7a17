"""How many kernels noise takes, and that the ways to make it give the same bits.

A kernel is an operator of torch's that computes or copies; one that only views its argument starts none.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sde_lib import BrownianPath, Noise, box_muller, fused
from sde_lib.brownian import DEPTH


class Kernels(TorchDispatchMode):
    """The operators called within the block, by name; views are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not op.is_view:
            self.names.append(str(op))
        return op(*args, **(kwargs or {}))


def box_muller_at_once(noise: Noise, shape: tuple[int, ...]) -> Tensor:
    """The formula on whole tensors: sqrt(-2 log u) cos, then sin, of 2 pi v."""
    size = math.prod(shape[1:])
    words = noise.bits((size + 1) // 2)
    u, v = (words >> 32) & 0xFFFFFFFF, words & 0xFFFFFFFF
    radius = torch.sqrt(-2 * torch.log((u.double() + 0.5) * 2.0**-32))
    angle = (v.double() + 0.5) * (2 * math.pi * 2.0**-32)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :size].to(noise.dtype).reshape(shape)


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
EDGE = 2 * box_muller.BLOCK
"""Values of a whole block of words."""


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_give_the_bits_of_the_formula_on_whole_tensors(dtype: torch.dtype) -> None:
    """Sizes odd and even, of one word and around those of a block; batches of many rows a block and of one."""
    sizes = [(1, 1), (1, 2), (7, 5), (300, 255), (9000, 3), (20_000, 1), (128, 3072), (1, 100_001)]
    sizes += [(2, EDGE + more) for more in (-1, 0, 1, 2)] + [(1, 2 * EDGE + 1), (0, 4), (4, 0)]
    for shape in sizes:
        noises = [Noise(5, range(shape[0]), dtype=dtype) for _ in range(2)]
        for _ in range(2):
            assert torch.equal(noises[0].normal(shape), box_muller_at_once(noises[1], shape)), shape


def test_a_sample_of_several_blocks_is_the_same_alone_and_in_a_batch() -> None:
    among, alone = Noise(2, range(5)).normal((5, EDGE + 3)), Noise(2, [3]).normal((1, EDGE + 3))
    assert torch.equal(among[3], alone[0])


def test_normal_values_are_two_kernels() -> None:
    """Where the next draw starts, and the values, which are one operator also to torch's compiler."""
    noise = Noise(0, range(4))
    with Kernels() as kernels:
        noise.normal((4, 3, 5))
    assert kernels.names == ["aten.add.Tensor", "score_pc.normal.default"]


def test_torchs_compiler_takes_normal_values_whole_and_keeps_their_bits() -> None:
    def draw(states: Tensor) -> Tensor:
        return box_muller.normal(states, 33, torch.float32) + 1

    states = Noise(4, range(6)).key()
    assert torch.equal(torch.compile(draw, backend="eager", fullgraph=True)(states), draw(states))


@pytest.mark.slow
def test_inductor_makes_one_kernel_of_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does on a GPU; here with its compiler for CPUs, whose functions may differ in the last place."""
    from torch._inductor import cpp_builder, exc, metrics

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(fused, "COMPILED", ("cpu",))
    states = Noise(3, range(6)).key()
    metrics.reset()
    found = box_muller._formula(states, 1000, torch.float64)
    assert metrics.generated_kernel_count == 1
    expected = box_muller.normal(states, 1000, torch.float64)
    assert torch.allclose(found, expected, rtol=1e-14, atol=1e-14)


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def compile(function: Any, **_: Any) -> Any:
        def fails(*args: Any) -> Tensor:
            raise TorchDynamoException("no Triton\nmore of it")

        return fails

    double = fused.fused(lambda x: 2 * x)
    assert double(torch.ones(1)) == 2, "a CPU, where nothing is compiled"
    monkeypatch.setattr(fused, "COMPILED", ("cpu",))
    monkeypatch.setattr(torch, "compile", compile)
    with pytest.warns(UserWarning, match="many kernels, for torch.compile failed: no Triton$"):
        assert double(torch.ones(1)) == 2
    assert double(torch.ones(1)) == 2


def node_by_node(noise: Noise, shape: tuple[int, ...], u: Tensor) -> Tensor:
    """The tree of each sample, walked by halving in Python."""
    noise = noise.branch()
    end, rows = noise.normal(shape), []
    for row, rest in enumerate(u.tolist()):
        low, high, node = torch.zeros_like(end[row]), end[row], 1
        for level in range(1, DEPTH + 1):
            places = torch.full((1, shape[0]), node)
            fresh = noise.at(places)[0].normal(shape)[row]
            middle = (low + high) / 2 + fresh * math.sqrt(2.0 ** -(level + 1))
            node, rest = 2 * node + (rest >= 0.5), 2 * rest
            low, high, rest = (middle, high, rest - 1) if rest >= 1 else (low, middle, rest)
        rows.append(torch.lerp(low, high, rest))
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_path_is_its_tree_walked_node_by_node(dtype: torch.dtype) -> None:
    """Ends, middles, the last level, times between its points, and any."""
    tiny = 2.0**-DEPTH
    u = torch.tensor([0, 1, 0.5, 0.75, tiny, 1 - tiny, 1 - tiny / 3, 0.3, 2 / 3], dtype=torch.float64)
    shape = (len(u), 2, 3)
    path = BrownianPath(Noise(4, range(len(u)), dtype=dtype), shape)
    assert torch.equal(path(u), node_by_node(Noise(4, range(len(u)), dtype=dtype), shape, u))


def test_a_query_of_a_path_is_eight_kernels_a_level() -> None:
    """Two to draw, six to halve the interval; and 16 before and after the 24 levels."""
    path, u = BrownianPath(Noise(4, range(3)), (3, 2, 2)), torch.rand(3, dtype=torch.float64)
    with Kernels() as kernels:
        path(u)
    assert len(kernels.names) <= 8 * DEPTH + 16
