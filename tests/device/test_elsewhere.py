"""On a device that is not the CPU everything runs, reads what it must, and gives the CPU's numbers, bit for bit.

The device is ``tests.devices.elsewhere``, whose operations are the CPU's own and whose tensors do not mix with those
of the CPU. Without a device of its own in what it makes, each of these would end in an error.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from tests.device import densities, editing, solving
from tests.device.subjects import Work
from tests.devices import ELSEWHERE, Elsewhere, elsewhere, shapes_on_cuda

WORKS = {**solving.WORKS, **densities.WORKS, **editing.WORKS}
QUICK = ("-ddpm", "-interpolated", "-no_marginal")
"""Processes with tables, without and with derivatives of them, and one that says the least; the others are slow."""
SLOW = ("hutch++-interpolated", "gaussian-interpolated", "scipy-interpolated")
ALSO = ("ddim-tabulated", "langevin corrector-tabulated", "adams-vpsde", "classifier guidance-vpsde", "ode-vpsde",
        "tune.bespoke-vpsde", "bound-vpsde", "exact-tabulated", "score_sde-vpsde", "score_sde's conditional-vpsde",
        "variational dequantisation-vpsde", "ddim-flow", "interpolant_sde-flow", "ancestral_sampling-flow",
        "exact-flow")  # fmt: skip


def quick(name: str) -> bool:
    return (name.endswith(QUICK) and name not in SLOW) or name in ALSO


def works() -> list[object]:
    return [pytest.param(WORKS[n], id=n, marks=() if quick(n) else pytest.mark.slow) for n in WORKS]


@pytest.mark.parametrize("work", works())
def test_the_numbers_are_those_of_the_cpu(work: Work) -> None:
    expected = work(torch.device("cpu"))
    with elsewhere() as device:
        found = work(device)
        assert isinstance(found, Elsewhere)
    assert torch.equal(found.held, expected)


def test_no_name_is_given_twice() -> None:
    assert len(WORKS) == len(solving.WORKS) + len(densities.WORKS) + len(editing.WORKS)


X = torch.tensor([3.0, 1.0, 2.0])
MIXTURES = {
    "a sum": lambda x: x + X,
    "a number of the device": lambda x: x[0] * X,
    "where": lambda x: torch.where(x > 1, X, x),
    "cat": lambda x: torch.cat([x, X]),
    "lerp": lambda x: torch.lerp(x, x, X),
    "in place": lambda x: x.clone().add_(X),
    "searchsorted": lambda x: torch.searchsorted(X, x),
    "an index of the device": lambda x: X[x.long()],
    "matmul": lambda x: x @ X,
    "a gradient": lambda x: torch.autograd.grad(x.clone().requires_grad_().square().sum(), x, X),
    "numpy": lambda x: x.numpy(),
}
ALLOWED = {
    "a number": (lambda x: x * torch.tensor(2.0), 2 * X),
    "a Python number": (lambda x: 1 + x, 1 + X),
    "an index of the CPU": (lambda x: x[torch.tensor([2, 0])], X[[2, 0]]),
    "a list as an index": (lambda x: x[[2, 0]], X[[2, 0]]),
    "from a list": (lambda x: torch.tensor([3.0, 1.0, 2.0], device=x.device), X),
    "like another": (lambda x: x.new_tensor([3.0, 1.0, 2.0]), X),
    "a copy": (lambda x: x.new_zeros(3).copy_(X), X),
    "in place": (lambda x: x.clone().mul_(2), 2 * X),
    "a view": (lambda x: x.clone().requires_grad_(False)[1:].add_(1), X[1:] + 1),
    "sorted": (lambda x: x.sort().values, X.sort().values),
    "a gradient": (lambda x: torch.func.vjp(torch.square, x)[1](x)[0], 2 * X * X),
}


@pytest.mark.parametrize("mixture", list(MIXTURES))
def test_two_devices_do_not_mix(mixture: str) -> None:
    """As on a GPU, whose rules torch's shapes on ``cuda`` have too, of indices and gradients aside."""
    with elsewhere() as device, pytest.raises(RuntimeError):
        MIXTURES[mixture](X.to(device))
    if mixture not in ("an index of the device", "a gradient", "numpy"):
        with shapes_on_cuda() as device, pytest.raises(RuntimeError):
            MIXTURES[mixture](X.to(device))


@pytest.mark.parametrize("use", list(ALLOWED))
def test_what_a_gpu_allows(use: str) -> None:
    work, expected = ALLOWED[use]
    with elsewhere() as device:
        found = work(X.to(device))
        assert found.device == ELSEWHERE
        back: Tensor = found.cpu()
    assert type(back) is Tensor
    assert torch.equal(back, expected)


def test_values_are_read() -> None:
    with elsewhere() as device:
        x = X.to(device)
        assert float(x[0]) == 3.0
        assert bool((x > 0).all())
        assert x.tolist() == X.tolist()


def test_a_module_is_moved_with_its_gradients_and_optimiser() -> None:
    layer, same = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    same.load_state_dict(layer.state_dict())
    with elsewhere() as device, warnings.catch_warnings():
        layer.to(device)
        for network, x in ((layer, X.to(device)), (same, X)):
            optimiser = torch.optim.Adam(network.parameters(), 0.1, fused=True)
            network(x).sum().backward()
            optimiser.step()
        assert all(p.device == ELSEWHERE and p.grad.device == ELSEWHERE for p in layer.parameters())
        assert torch.equal(layer.weight.cpu(), same.weight)
