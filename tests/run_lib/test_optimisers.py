"""Optimisers and schedules by name, against their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from configs.base import get_config as defaults
from run_lib.config.configuration import read
from run_lib.config.training import Optimisation, build_optimisation
from run_lib.training.optimisers import trained_parameters
from tests.run_lib.planned import with_fields
from tests.run_lib.program import TINY, program, run


def optimisation(**fields: Any) -> Optimisation:
    named = {f"optim__{name}": value for name, value in fields.items()}
    return build_optimisation(read(with_fields(defaults(), named)))


def rates(n_iters: int = 20, **fields: Any) -> list[float]:
    plan = optimisation(lr=0.1, **fields)
    return [plan.rate(step, n_iters) / 0.1 for step in range(n_iters + 1)]


def test_inverse_square_root_falls_from_the_end_of_the_warm_up() -> None:
    """Steps 0 to 3 rise by quarters; the rate holds to step 4, and is a half at 16, four times as far."""
    found = rates(schedule="inverse_sqrt", warmup=4)
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert [found[9], found[16]] == pytest.approx([2 / 3, 0.5])


def test_inverse_square_root_after_a_plateau() -> None:
    """EDM2's: constant to step 9, then sqrt(9 / step), whatever the length of training."""
    found = rates(schedule="inverse_sqrt", warmup=0, constant_until=9)
    assert found[:10] == pytest.approx([1.0] * 10)
    assert found[16] == pytest.approx(0.75)
    assert rates(40, schedule="inverse_sqrt", warmup=0, constant_until=9)[36] == pytest.approx(0.5)
    assert rates(40, schedule="inverse_sqrt", warmup=0)[:3] == pytest.approx([1.0, 1.0, math.sqrt(0.5)])


def test_inverse_square_root_of_another_batch_than_the_papers() -> None:
    """EDM2-S of ImageNet-64: alpha_ref 0.01, t_ref 35,000 batches of 2048, a rise over 10 million images; and a
    quarter of the batch: the same images have the same share of a rate that is half."""
    stated: dict[str, Any] = {
        "lr": 0.01, "schedule": "inverse_sqrt", "warmup": 4883, "constant_until": 35_000, "reference_batch": 2048,
    }  # fmt: skip
    for accumulate, part in ((16, 1), (4, 4)):
        fields = {f"optim__{name}": value for name, value in stated.items()}
        fields |= {"training__batch_size": 128, "training__accumulate": accumulate}
        rate = build_optimisation(read(with_fields(defaults(), fields))).rate
        scale = 0.01 / math.sqrt(part)
        found = [rate(step * part, 0) / scale for step in (2441, 4883, 35_000, 140_000, 315_000)]
        assert found == pytest.approx([0.5, 1.0, 1.0, 1 / 2, 1 / 3], rel=1e-3)
    # The formula of the paper at every step, without a reference.
    plain = optimisation(lr=0.01, schedule="inverse_sqrt", warmup=0, constant_until=70)
    for t in range(0, 300, 7):
        assert plain.rate(t, 1) == pytest.approx(0.01 / math.sqrt(max(t / 70, 1)), rel=1e-12)


@pytest.mark.parametrize(
    ("fall", "quarter", "half"), [("linear", 0.75, 0.5), ("sqrt", 0.5, 1 - math.sqrt(0.5))]
)
def test_cool_down(fall: str, quarter: float, half: float) -> None:
    """The last 8 of 20 steps: whole at 12, a quarter of the way at 14, half at 16, the end at 20."""
    found = rates(schedule="cooldown", warmup=2, cooldown=0.4, fall=fall)
    assert found[:13] == pytest.approx([0.5] + [1.0] * 12)
    assert [found[14], found[16], found[20]] == pytest.approx([quarter, half, 0.0])
    longer = rates(100, schedule="cooldown", warmup=2, cooldown=0.4, fall=fall)
    assert longer[:61] == pytest.approx([0.5] + [1.0] * 60)


def stepped(gradients: list[float], **fields: Any) -> list[float]:
    """A weight that starts at 1, after steps at a rate of 0.1 with the given gradients."""
    network = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(network.weight)
    chosen = optimisation(lr=0.1, **fields).optimizer
    optimizer = chosen.build(parameters=trained_parameters(network), lr=0.1)
    found = []
    for gradient in gradients:
        network.weight.grad = torch.full_like(network.weight, gradient)
        optimizer.step()
        found.append(network.weight.item())
    return found


def sgd(momentum: float, nesterov: bool, decay: float) -> Callable[[list[float]], list[float]]:
    def steps(gradients: list[float]) -> list[float]:
        weight, v, found = 1.0, 0.0, []
        for gradient in gradients:
            g = gradient + decay * weight
            v = momentum * v + g
            weight -= 0.1 * (g + momentum * v if nesterov else v)
            found.append(weight)
        return found

    return steps


@pytest.mark.parametrize(
    ("momentum", "nesterov", "decay"), [(0.9, False, 0.0), (0.5, True, 0.1), (0.0, False, 0.1)]
)
def test_sgd(momentum: float, nesterov: bool, decay: float) -> None:
    gradients = [3.0, -4.0, 1.0]
    found = stepped(gradients, optimizer="SGD", momentum=momentum, nesterov=nesterov, weight_decay=decay)
    assert found == pytest.approx(sgd(momentum, nesterov, decay)(gradients), rel=1e-12)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValueError, match=r"set optim\.momentum above 0"):
        stepped([1.0], optimizer="SGD", momentum=0.0, nesterov=True)


@pytest.mark.parametrize("decoupled", [False, True])
def test_r_adam(decoupled: bool) -> None:
    """Liu et al. 2020, algorithm 2, with beta2 = 0.8: rho_inf = 9, and rho_t exceeds 5 from the tenth step on."""
    b1, b2, decay, gradients = 0.9, 0.8, 0.1, [math.sin(k) for k in range(1, 16)]
    weight, m, v, wanted, rectified = 1.0, 0.0, 0.0, [], 0
    infinite = 2 / (1 - b2) - 1
    for k, gradient in enumerate(gradients, 1):
        weight *= 1 - 0.1 * decay if decoupled else 1
        g = gradient + (0 if decoupled else decay * weight)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        length = infinite - 2 * k * b2**k / (1 - b2**k)
        step = m / (1 - b1**k)
        if length > 5:
            rectified += 1
            r = math.sqrt((length - 4) * (length - 2) * infinite / ((infinite - 4) * (infinite - 2) * length))
            step *= r / (math.sqrt(v / (1 - b2**k)) + 1e-8)
        weight -= 0.1 * step
        wanted.append(weight)
    assert 0 < rectified < len(gradients)
    found = stepped(gradients, optimizer="RAdam", beta1=b1, beta2=b2, weight_decay=decay, decoupled=decoupled)
    assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["RAdam", "SGD"])
def test_a_training_in_two_parts_ends_with_the_same_weights(optimizer: str, tmp_path: Path) -> None:
    """The state of each optimiser is in its checkpoint, whole."""
    fields: dict[str, Any] = {"optim__optimizer": optimizer, "optim__schedule": "constant", "optim__lr": 0.01}
    for name, parts in (("whole", (8,)), ("parts", (3, 8))):
        for steps in parts:
            run(TINY, "train", tmp_path / name, training__n_iters=steps, **fields)
    whole, parts_ = (
        torch.load(tmp_path / name / "checkpoints/step_00000008.pt", weights_only=True)
        for name in ("whole", "parts")
    )
    assert all(torch.equal(parts_["model"][name], value) for name, value in whole["model"].items())


def test_settings_of_the_new_ones_are_listed() -> None:
    for name, wanted in {
        "inverse_sqrt": "constant_until", "cooldown": "fall", "SGD": "nesterov", "RAdam": "decoupled",
    }.items():  # fmt: skip
        assert wanted in program("--mode", "list", name).out
