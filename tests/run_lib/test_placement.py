"""Placement: everything that a plan holds is on the device, moved and not built anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from run_lib.computing.numerics import Arithmetic, Precision
from run_lib.computing.placement import Placement, find_device
from run_lib.config import plans
from run_lib.config.files import load_config_file
from samplers.operators import register_operator
from tests.reachable import reachable
from tests.run_lib.planned import planned, subject
from tests.run_lib.tiny import get_config as tiny

META = Placement(torch.device("meta"))
"""Another device than the CPU, on every machine."""
GENERATES = ("tuning", "control", "reconstruction")
MODES = ("complete", "conversion", "description", *GENERATES)
"""Of a complete plan training, sampling and evaluation are parts."""
CHAIN = {"training__sde": "ddpm", "sampling__predictor": "ancestral_sampling", "sampling__grid": "uniform"}
EXACT_CLASSES = {"guidance__name": "classifier", "guidance__classifier": "exact"}
CONFIGURATIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "continuous": (tiny, {}),
    "variance exploding": (tiny, {"training__sde": "vesde"}),
    "chain": (tiny, CHAIN),
    "interpolated chain": (tiny, {**CHAIN, "sampling__chain": "interpolated"}),
    "learned variances": ("adm/digits_learned", {}),
    "classifier": ("adm/digits_classifier", {}),
    "super-resolution": ("adm/digits_superres", {}),
    "preconditioned": ("edm/digits", {}),
    "exact score": ("toy/gaussian_image", {}),
    "guided by a classifier": ("toy/mixture_image", EXACT_CLASSES),
    "classifier-free guidance": (
        tiny,
        {"model__num_classes": 10, "training__label_dropout": 0.1, "guidance__name": "classifier_free"},
    ),
}
OF_MODES = {"tuning": {"tune__grid": True}, "reconstruction": {"reconstruct__input": "test"}}
ON_THE_CPU = ("times._losses", "times._counts")
"""LossSecondMoment's history, which has the same bits on every device."""


def plan_of(name: str, mode: str, **fields: Any) -> Any:
    config, own = CONFIGURATIONS[name]
    config = load_config_file(config) if isinstance(config, str) else config()
    return planned(config, getattr(plans, mode), {**own, **OF_MODES.get(mode, {}), **fields})


def tensors(held: Any) -> dict[str, Tensor]:
    return {where: part for where, part in reachable(held) if isinstance(part, Tensor)}


def left_behind(held: Any) -> list[str]:
    return [where for where, tensor in tensors(held).items() if not tensor.is_meta]


@pytest.mark.parametrize(
    ("name", "mode"),
    [(n, m) for n in CONFIGURATIONS for m in MODES if (n != "classifier" or m not in GENERATES)],
)
def test_every_tensor_of_every_plan_is_moved(name: str, mode: str) -> None:
    plan = plan_of(name, mode)
    assert len(tensors(plan)) >= 1
    assert not left_behind(META.place(plan))


@pytest.mark.parametrize("task", sorted({*register_operator, "sdedit", "interpolate"} - {"mask_image"}))
def test_every_operator_is_moved(task: str) -> None:
    """Its tables too, where it has any, as the model and the sampler that restore with it."""
    shape = {"data__num_channels": 3, "model__mean": 0.0} if task == "grey" else {}
    assert not left_behind(META.place(plan_of("exact score", "control", control__task=task, **shape)))


def test_the_history_of_losses_stays() -> None:
    plan = plan_of("chain", "training", training__times="importance")
    left = left_behind(META.place(plan))
    assert sorted(where.split(".loss.")[1] for where in left) == sorted(ON_THE_CPU)


def test_what_is_shared_stays_shared() -> None:
    """One network for the loss, the samples and the evaluation: weights that are loaded are loaded for all."""
    plan = META.place(plan_of("continuous", "complete"))
    networks = {id(part) for _, part in reachable(plan) if part.__class__.__name__ == "ADM"}
    assert len(networks) == 1
    assert plan.training.subject is plan.sampling.subject is plan.evaluation.subject


def test_an_operator_is_moved_and_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A singular value decomposition on another device has other digits, and takes time."""
    plan = plan_of("continuous", "control", control__task="deblur")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("it was computed again")

    monkeypatch.setattr(torch.linalg, "svd", refuse)
    operator = META.place(plan).work.operator
    assert operator.row_out.is_meta
    assert not plan.work.operator.row_out.is_meta, "the plan itself is frozen"


@dataclass(frozen=True)
class Holder:
    """Tensors in all the ways that a plan may hold them."""

    one: Tensor
    several: tuple[Tensor, ...]
    named: dict[str, Tensor]
    inner: Holder | None = None


class Module(nn.Module):
    """With a dataclass beside its buffers."""

    def __init__(self, holder: Holder) -> None:
        super().__init__()
        self.holder = holder


def test_tensors_in_containers_and_within_modules() -> None:
    x = torch.ones(2)
    holder = Holder(x, (x, x), {"a": x})
    placed = META.place(replace(holder, inner=holder))
    assert not left_behind(placed)
    assert placed.one is placed.named["a"] is placed.inner.several[1]
    module = Module(holder)
    assert META.place(module) is module
    assert not left_behind(module)


def test_a_plan_that_is_where_it_should_be_stays_itself() -> None:
    holder = Holder(torch.ones(2), (torch.ones(2),), {"a": torch.ones(2)})
    assert Placement(torch.device("cpu")).place(holder) is holder


@pytest.mark.parametrize(
    ("device", "precision", "last"),
    [
        ("cpu", "float32", True),
        ("cpu", "bfloat16", True),
        ("cuda", "float32", False),
        ("cuda", "tf32", True),
        ("cuda", "bfloat16", True),
        ("cuda", "float16", True),
        ("mps", "float16", False),
    ],
)
def test_channels_are_last_where_convolutions_are_products_of_rows(
    device: str, precision: Precision, last: bool
) -> None:
    """In whatever work."""
    for work in ("training", "sampling", "evaluation"):
        placement = replace(Placement(torch.device(device)), **{work: Arithmetic(precision)})
        assert placement.memory_format is (torch.channels_last if last else torch.contiguous_format)


@pytest.mark.parametrize(("device", "last"), [("cpu", True), ("cuda", False)])
def test_the_weights_of_an_image_network_lie_as_the_device_has_them(
    device: str, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie so before they are moved, so that no device is needed."""
    monkeypatch.setattr("run_lib.config.placing.find_device", lambda _: torch.device(device))
    network = subject(tiny()).network
    weight = next(p for p in network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[-1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last) is last


def test_a_network_without_numbers_is_left_so() -> None:
    """``describe``'s plan holds shapes alone, which are nowhere."""
    plan = plan_of("continuous", "description")
    placed = Placement(torch.device("cpu")).place(plan)
    assert all(p.is_meta for p in placed.network.parameters())


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert {str(find_device(name)) for name in ("auto", "cuda")} == {"cuda:1"}
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="there are 2 GPUs here for more processes"):
        find_device("auto")
