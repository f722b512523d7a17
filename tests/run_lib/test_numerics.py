"""The numeric policy: the networks alone are evaluated in lower precision, each kind of work in its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from run_lib.computing import numerics
from run_lib.computing.numerics import Arithmetic, Evaluator, Precision, in_float32
from run_lib.config.configuration import complete, of_record
from run_lib.config.placing import build_placement
from tests.run_lib.program import TINY, run
from tests.run_lib.tiny import get_config as tiny

FINE = 1 + 2.0**-9
"""Exact in float32, TF32 and float16; bfloat16, with 7 bits of mantissa, has 1 in its place."""


class Product(nn.Module):
    """One product by one."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return x @ torch.ones(1, 1)


class Dense(nn.Module):
    """The same with a weight, which is one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return x @ self.weight


@pytest.mark.parametrize(
    ("precision", "value"), [("float32", FINE), ("tf32", FINE), ("float16", FINE), ("bfloat16", 1.0)]
)
def test_the_network_is_rounded_and_nothing_else(precision: Precision, value: float) -> None:
    """Results are of the input's type; products outside of networks, as of measurements, keep all their bits."""
    x, labels = torch.full((1, 1), FINE), torch.zeros(1)
    with Arithmetic(precision).used():
        output = Evaluator(Product())(x, labels)
        beside = x @ torch.ones(1, 1)
        with in_float32():
            exact = Evaluator(Product())(x, labels)
    assert (output.dtype, output.item(), beside.item(), exact.item()) == (torch.float32, value, FINE, FINE)
    assert Evaluator(Product())(x, labels).item() == FINE


class Casts(TorchDispatchMode):
    """Counts casts of a tensor."""

    def __init__(self, of: Tensor) -> None:
        super().__init__()
        self.of, self.count = of, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._to_copy.default and args[0] is self.of
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("constant", "casts"), [(True, 1), (False, 3)])
@torch.no_grad()
def test_weights_that_do_not_change_are_rounded_once(constant: bool, casts: int) -> None:
    """In each work: three evaluations, and then one with other weights in another precision."""
    network = Dense()
    evaluate, x = Evaluator(network), torch.full((1, 1), FINE)
    with Casts(network.weight) as counted, Arithmetic("bfloat16", constant=constant).used():
        found = [evaluate(x, torch.zeros(1)).item() for _ in range(3)]
    assert (counted.count, found) == (casts, [1.0] * 3)
    network.weight.fill_(FINE)
    with Arithmetic("float16", constant=constant).used():
        assert evaluate(torch.ones(1, 1), torch.zeros(1)).item() == FINE


def test_a_training_rounds_its_weights_at_every_step() -> None:
    """They change; those of samples and evaluations do not."""
    placement = build_placement(complete(tiny()))
    assert not placement.training.constant
    assert placement.sampling.constant and placement.evaluation.constant


def test_deterministic_kernels_are_asked_for_within_the_work_alone() -> None:
    with Arithmetic(deterministic=True).used():
        assert torch.are_deterministic_algorithms_enabled()
        with in_float32():
            assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, bool]]:
    """The precision of each evaluation of the network, and whether it was trained by it."""
    found = set[tuple[str, bool]]()

    class Recording(Evaluator):
        def __call__(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            output = super().__call__(x, labels, **cond)
            found.add((numerics._USED.get().precision, self._network.training))
            return output

    monkeypatch.setattr("run_lib.config.subject.Evaluator", Recording)
    return found


HALF = {"training__precision": "bfloat16", "sampling__precision": "float16", "eval__precision": "float32"}
TRAINED, SAMPLED, JUDGED = ("bfloat16", True), ("float16", False), ("float32", False)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numerics")
    run(TINY, "train", folder, device="cpu")
    return folder


def test_training_validates_and_shows_samples_in_their_precisions(
    tmp_path: Path, evaluated: set[tuple[str, bool]]
) -> None:
    said = run(TINY, "train", tmp_path, device="cpu", training__snapshot_sampling=True, **HALF).err
    assert evaluated == {TRAINED, SAMPLED, JUDGED}
    assert "training in bfloat16 on cpu" in said


@pytest.mark.parametrize(
    ("mode", "settings", "expected"),
    [
        ("sample", {"sampling__num_samples": 2, "sampling__trajectory": 2}, {SAMPLED}),
        ("eval", {"eval__enable_sampling": False}, {JUDGED}),
        ("eval", {"eval__enable_loss": False, "eval__enable_bpd": False}, {SAMPLED}),
        ("reconstruct", {"reconstruct__input": "test", "reconstruct__num_images": 2}, {SAMPLED}),
        ("control", {"control__task": "inpaint", "control__num_images": 2}, {SAMPLED}),
        (
            "tune",
            {
                "tune__sweep": "num_steps=2,3",
                "tune__repeats": 2,
                "tune__num_samples": 70,
                "sampling__batch_size": 35,
            },
            {SAMPLED},
        ),
        ("tune", {"tune__grid": True, "tune__pilot_samples": 4, "sampling__predictor": "ddim"}, {SAMPLED}),
    ],
)
@pytest.mark.slow
def test_each_work_has_its_own_precision(
    workdir: Path,
    evaluated: set[tuple[str, bool]],
    mode: str,
    settings: dict[str, Any],
    expected: set[tuple[str, bool]],
) -> None:
    run(TINY, mode, workdir, device="cpu", sampling__precision="float16", **settings)
    assert evaluated == expected


def test_samples_say_in_what_they_were_computed(workdir: Path) -> None:
    run(TINY, "sample", workdir, device="cpu", sampling__precision="bfloat16")
    assert json.loads((workdir / "samples/samples.json").read_text())["arithmetic"] == "bfloat16 on cpu"


@pytest.mark.parametrize(("held", "found"), [(True, "tf32"), (False, "float32")])
def test_records_of_before_had_one_switch_for_all(held: bool, found: str) -> None:
    config = complete(of_record({"tf32": held, "eval": {"batch_size": 7}}))
    assert {c.precision for c in (config.training, config.sampling, config.eval)} == {found}
    assert config.eval.batch_size == 7
