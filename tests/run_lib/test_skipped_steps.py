"""A training step in which something is not finite changes nothing, and the device is not asked for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from losses.of_samples import Losses
from models.ema import EMA
from run_lib.training.optimisers import adam, adam_w
from run_lib.training.state import TrainState, Weights
from run_lib.training.undo import Kept
from run_lib.training.update import update
from run_lib.training.watch import Batch

NAN, INF = float("nan"), float("inf")
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": adam,
    "amsgrad": lambda p, lr: adam_w(p, lr, amsgrad=True, weight_decay=0.1),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
    "on the host": lambda p, lr: torch.optim.Adam(p, lr, foreach=False, fused=False),
    "averaged": lambda p, lr: torch.optim.NAdam(p, lr),
}


def state_of(optimizer: str, scaler: torch.amp.GradScaler | None = None) -> TrainState:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    weights = Weights(network, EMA(network, 0.999), 0, {0.5: EMA(network, 0.5)})  # type: ignore[arg-type]
    made = OPTIMISERS[optimizer]([{"params": list(network.parameters())}], lr=0.1)
    return TrainState(weights, made, **({"scaler": scaler} if scaler else {}))


def step(state: TrainState, number: int, spoil: str = "") -> None:
    """One step on data of its own; ``spoil`` says what is not finite in it."""
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(number))
    if spoil == "data":
        x[2, 1] = NAN
    state.optimizer.zero_grad(set_to_none=True)
    buffers = Kept(state.network.buffers())
    values = state.network(x).square().flatten(1).mean(1)  # type: ignore[call-arg]
    if spoil == "loss":
        values = torch.where(torch.arange(6) == 4, values * INF, values)
    state.scaler.scale(values.mean()).backward()
    gradient = next(iter(state.network.parameters())).grad
    assert gradient is not None
    if spoil == "gradient":
        gradient[1, 0] = NAN
    if spoil == "norm":
        gradient.fill_(1e30)
    losses = Losses(values.detach(), torch.linspace(0, 1, 6))
    spoiling = state.optimizer.register_step_post_hook(
        lambda *_: (
            next(iter(state.network.parameters())).data[0, 0].fill_(INF) if spoil == "weights" else None
        )
    )
    update(state, 0.1, 0, Batch(losses, x.isfinite().all(1), buffers))
    spoiling.remove()


def contents(state: TrainState) -> dict[str, Any]:
    """Everything that a step may change, copied."""
    found = {f"network.{n}": v for n, v in state.network.state_dict().items()}
    for name, average in (("ema", state.ema), ("average", state.averages[0.5])):
        found |= {f"{name}.{n}": v for n, v in average.shadow.items()} | {
            f"{name}.count": average.num_updates
        }
    for i, held in enumerate(state.optimizer.state_dict()["state"].values()):
        found |= {f"moment.{i}.{n}": v for n, v in held.items()}
    found |= {f"scaler.{n}": v for n, v in state.scaler.state_dict().items()}
    return {n: v.clone() if isinstance(v, Tensor) else v for n, v in found.items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The names of what differs."""
    assert a.keys() == b.keys()
    return [n for n in a if not (torch.equal(a[n], b[n]) if isinstance(a[n], Tensor) else a[n] == b[n])]


@pytest.mark.parametrize("spoil", ["data", "loss", "gradient", "norm", "weights"])
@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_a_step_that_is_not_finite_never_happened(optimizer: str, spoil: str) -> None:
    """Bit for bit; also as the first step, before there are moments. The steps after it are those without it."""
    spoilt, clean = state_of(optimizer), state_of(optimizer)
    step(spoilt, 99, spoil)
    assert same(contents(spoilt), contents(clean)) == []
    for number in range(3):
        step(clean, number)
        step(spoilt, number)
        step(spoilt, 50 + number, spoil)
        assert same(contents(spoilt), contents(clean)) == []
    assert clean.ema.num_updates == 3
    found = spoilt.watch.read(7)
    assert [(one.step, one.in_a_row) for one in found] == [(0, 1), (2, 1), (4, 1), (6, 1)]
    assert (spoilt.watch.skipped, spoilt.watch.overflows) == (4, 0)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("data", r"the data are not finite: training sample 12 \(place 2 of the batch\)"),
        ("loss", r"the loss is not finite: training sample 14 \(place 4 of the batch at t=0\.8\)"),
        ("gradient", r"the gradient is not finite: 0\.weight$"),
        ("weights", r"the weights after the step are not finite: 0\.weight$"),
    ],
)
def test_the_cause_is_the_first_thing_that_is_not_finite(spoil: str, said: str) -> None:
    state = state_of("momentum")
    step(state, 0)
    step(state, 1, spoil)
    (found,) = state.watch.read(2)
    assert re.match(said, found.findings.cause(range(10, 16)))


def test_rows_of_faults_are_ended_by_a_finite_step() -> None:
    state = state_of("adam")
    for number, spoil in enumerate(["data", "loss", "", "data", "gradient", "data"]):
        step(state, number, spoil)
    assert [one.in_a_row for one in state.watch.read(6)] == [1, 2, 1, 2, 3]
    assert state.watch.progress
    step(state, 7, "data")
    assert [(one.step, one.in_a_row) for one in state.watch.read(7)] == [(6, 4)]


class NothingRead(TorchDispatchMode):
    """Refuses to give a number to the program: what waits for a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "the device is asked"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("spoil", ["", "data", "gradient"])
@pytest.mark.parametrize("optimizer", ["adam", "amsgrad"])
def test_no_step_reads_the_device(optimizer: str, spoil: str) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for state in (state_of(optimizer), state_of(optimizer, scaler)):
        step(state, 0)  # makes the moments
        with NothingRead():
            step(state, 1, spoil)
        with pytest.raises(AssertionError, match="asked"), NothingRead():
            bool(state.watch.latest.sound)


def test_overflows_of_the_scale_are_no_faults() -> None:
    """Half of a scale that is too large; at a scale of 1 there is nothing to blame. Faults leave the scale alone."""
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)
    state = state_of("adam", scaler)
    step(state, 0)
    before = contents(state)
    step(state, 1, "gradient")
    after = contents(state)
    assert set(same(before, after)) == {"scaler.scale", "scaler._growth_tracker"}
    assert (after["scaler.scale"], before["scaler.scale"]) == (2.0, 4.0)
    step(state, 2)
    before = contents(state)
    step(state, 3, "data")  # its gradient is NaN too
    assert same(before, contents(state)) == []
    step(state, 4, "gradient")  # 2 -> 1
    before = contents(state)
    step(state, 5, "gradient")
    assert same(before, contents(state)) == []
    assert [one.step for one in state.watch.read(6)] == [3, 5]
    assert (state.watch.skipped, state.watch.overflows) == (2, 2)


def in_bytes(t: Tensor) -> Tensor:
    return t.contiguous().flatten().view(torch.uint8).clone()


def test_kept_tensors_come_back_bit_for_bit() -> None:
    """Of every type, with values that arithmetic would lose."""
    held = [
        torch.tensor([NAN, -0.0, INF, 1e-45]), torch.tensor([1.5, NAN], dtype=torch.float64),
        torch.tensor([NAN, 2.0], dtype=torch.bfloat16), torch.tensor(7), torch.tensor([True, False]),
        torch.tensor([1 + 2j]), torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ]  # fmt: skip
    bits = [in_bytes(t) for t in held]
    for where in (False, True):
        kept = Kept(held)
        for t in held:
            t.logical_not_() if t.dtype is torch.bool else t.copy_(t.isnan() * 1.0 + t.isfinite() * 5.0)
        kept.put_back(torch.tensor(where))
        assert [torch.equal(in_bytes(t), b) for t, b in zip(held, bits, strict=True)] == [where] * len(held)
        for t, b in zip(held, bits, strict=True):
            t.copy_(b.view(t.dtype).reshape(t.shape))
