"""What a configuration says of training reaches the optimiser, the averages, the scaler and the network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses.of_samples import Losses
from models.blocks.dropout import Dropout
from run_lib.config import plans
from run_lib.config.training import TrainingPlan
from run_lib.data.levels import Arrays
from run_lib.run import Run
from run_lib.seeds import Use, stream_seed
from run_lib.training.optimisers import adam, adam_w
from run_lib.training.state import TrainState
from run_lib.training.steps import backward, make_batches, training_losses, validation_loss
from run_lib.training.update import update
from run_lib.training.watch import Batch
from sde_lib.noise import Noise
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, run
from tests.run_lib.tiny import get_config as tiny

SETTINGS: dict[str, Any] = {
    "optim__lr": 1e-3, "optim__beta1": 0.8, "optim__beta2": 0.95, "optim__eps": 0.03, "optim__weight_decay": 0.7,
    "optim__warmup": 4, "optim__schedule": "constant", "optim__grad_clip": 1e-3, "model__ema_rate": 0.25,
    "model__ema_rates": (0.75,), "model__ema_warmup": False, "training__n_iters": 1, "seed": 3,
}  # fmt: skip
"""Of which each changes the first step by more than rounding does: the gradient is clipped to the size of eps."""


def training(**fields: Any) -> TrainingPlan:
    plan: TrainingPlan = planned(tiny(), plans.training, fields)
    return plan


def fresh(plan: TrainingPlan) -> TrainState:
    return Run(Path("unused")).new_state(plan)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().double().clone() for name, p in module.named_parameters()}


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
def test_the_first_step_of_training_is_the_closed_form(optimizer: str, tmp_path: Path) -> None:
    """With g the gradient clipped to norm c, and bias corrections that cancel at the first step: w1 = w0 - r d,

        Adam   d = h / (|h| + eps) of h = g + decay w0,      AdamW  d = g / (|g| + eps) + decay w0 of h = g,

    r = lr / warmup, moments (1 - beta1) h and (1 - beta2) h^2, and averages a w0 + (1 - a) w1.
    """
    fields = {**SETTINGS, "optim__optimizer": optimizer}
    run(TINY, "train", tmp_path, **fields)
    held = torch.load(tmp_path / "checkpoints/step_00000001.pt", weights_only=True)

    plan = training(**fields)
    state = fresh(plan)
    before = weights(state.network)
    backward(state, plan, make_batches(plan), 0)
    raw = {n: p.grad.double() for n, p in state.network.named_parameters() if p.grad is not None}
    norm = math.sqrt(sum(float(g.square().sum()) for g in raw.values()))
    assert norm > 10 * SETTINGS["optim__grad_clip"]
    clipped = {n: g * SETTINGS["optim__grad_clip"] / norm for n, g in raw.items()}

    decay, rate = SETTINGS["optim__weight_decay"], SETTINGS["optim__lr"] / SETTINGS["optim__warmup"]
    for place, (name, w0) in enumerate(before.items()):
        g = clipped[name]
        h = g + decay * w0 if optimizer == "Adam" else g
        step = h / (h.abs() + SETTINGS["optim__eps"]) + (0 if optimizer == "Adam" else decay * w0)
        moments = held["optimizer"]["state"][place]
        close(moments["exp_avg"], (1 - SETTINGS["optim__beta1"]) * h, name)
        close(moments["exp_avg_sq"], (1 - SETTINGS["optim__beta2"]) * h**2, name)
        moved = held["model"][name].double() - w0
        assert torch.allclose(moved, -rate * step, rtol=1e-2, atol=2e-7 * float(1 + w0.abs().max())), name
        for average, keeps in ((held["ema"], 0.25), (held["averages"][0.75], 0.75)):
            close(average["shadow"][name] - w0.float(), (1 - keeps) * moved, name, atol=2e-7)


def close(found: Tensor, wanted: Tensor, name: str, atol: float = 1e-9) -> None:
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=atol, msg=lambda m: f"{name}: {m}")


@pytest.mark.parametrize("make", [adam, adam_w])
def test_amsgrad_divides_by_the_largest_square_so_far(make: Any) -> None:
    """After a gradient of 100, one of 1: v falls from 100^2 (1 - b) to b of it, and the largest stays.

    With beta1 = 0 the second step is lr / (sqrt(v / (1 - b^2)) + eps), of v or of the largest v.
    """
    b, lr = 0.5, 0.1
    v1 = (1 - b) * 1e4
    v2 = b * v1 + (1 - b)
    for amsgrad, v in ((False, v2), (True, v1)):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = make([{"params": [weight]}], lr, beta1=0.0, beta2=b, amsgrad=amsgrad)
        steps = []
        for gradient in (100.0, 1.0):
            was = weight.item()
            weight.grad = torch.full_like(weight, gradient)
            optimizer.step()
            steps.append(was - weight.item())
        assert steps[0] == pytest.approx(lr, rel=1e-6)
        assert steps[1] == pytest.approx(lr / (math.sqrt(v / (1 - b**2)) + 1e-8), rel=1e-6)


def test_the_warm_up_of_averages_is_switched_on_by_its_field(tmp_path: Path) -> None:
    """The first update then keeps 2 / 11 of the old weights, of every average with a larger rate."""
    run(TINY, "train", tmp_path, **{**SETTINGS, "model__ema_warmup": True, "optim__lr": 0.1})
    held = torch.load(tmp_path / "checkpoints/step_00000001.pt", weights_only=True)
    before = weights(fresh(training(**SETTINGS)).network)
    for name, w0 in before.items():
        for average in (held["ema"], held["averages"][0.75]):
            wanted = w0 * 2 / 11 + held["model"][name].double() * 9 / 11
            torch.testing.assert_close(average["shadow"][name].double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_network_computes_in_the_precision_asked_for(precision: str) -> None:
    """Its convolutions and linear layers in training; parameters, losses, and what is not training in float32."""
    plan = training(training__precision=precision)
    state, data = fresh(plan), plan.subject.data.load("train")
    seen: set[torch.dtype] = set()
    for layer in plan.subject.network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(lambda layer, args, output: seen.add(output.dtype))
    with plan.subject.placement.training.used():
        losses = training_losses(plan, make_batches(plan), 0, range(8)).losses
    assert seen == {getattr(torch, precision)}
    assert losses.values.dtype is torch.float32
    assert {p.dtype for p in plan.subject.network.parameters()} == {torch.float32}
    seen.clear()
    validation_loss(plan, state, data)
    assert seen == {torch.float32}


def test_the_loss_is_scaled_as_asked_in_float16_alone() -> None:
    """By 2^12 at first; gradients are as many times the others', the weights' step is not."""
    fields = {"training__loss_scale": 12.0, "training__loss_scale_growth": 0.5}
    gradients = {}
    for precision in ("float32", "float16"):
        plan = training(
            training__precision=precision, model__dropout=0.0, **fields if precision == "float16" else {}
        )
        state = fresh(plan)
        backward(state, plan, make_batches(plan), 0)
        gradients[precision] = torch.cat([p.grad.flatten() for p in state.network.parameters()])
        assert state.scaler.get_scale() == (4096 if precision == "float16" else 1)
    ratio = gradients["float16"].norm() / gradients["float32"].norm()
    assert float(ratio) == pytest.approx(4096, rel=0.02)


def test_the_scale_doubles_after_as_many_steps_as_asked_and_halves_at_an_overflow() -> None:
    """With growth 1/3: 2^4, and 2^5 after three steps that are finite in a row; a step that overflows is not taken."""
    fields = {
        "training__loss_scale": 4.0,
        "training__loss_scale_growth": 1 / 3,
        "training__precision": "float16",
    }
    plan = training(**fields)
    state = fresh(plan)
    parameter = next(state.network.parameters())
    scales = []
    for gradient in (1.0, 1.0, math.inf, 1.0, 1.0, 1.0, 1.0):
        state.optimizer.zero_grad()
        before = parameter.detach().clone()
        state.scaler.scale((parameter * gradient).sum()).backward()
        update(state, 1e-2, 0.0, Batch(Losses(torch.zeros(1), torch.zeros(1)), torch.tensor([True])))
        scales.append(state.scaler.get_scale())
        assert torch.equal(before, parameter) == math.isinf(gradient)
    assert scales == [16, 16, 8, 8, 8, 16, 16]


def test_dropout_differs_from_step_to_step_and_seed_to_seed() -> None:
    """The share asked for, other elements at every step, the same again for the same step and seed."""

    def dropped(seed: int, step: int) -> Tensor:
        plan = training(seed=seed, model__dropout=0.3)
        masks: list[Tensor] = []
        for layer in plan.subject.network.modules():
            if isinstance(layer, Dropout):
                layer.register_forward_hook(lambda layer, args, output: masks.append((output == 0).flatten()))
        torch.manual_seed(0)
        backward(fresh(plan), plan, make_batches(plan), step)
        return torch.cat(masks)

    masks = {which: dropped(*which) for which in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1))}
    for which, mask in masks.items():
        assert float(mask.double().mean()) == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / len(mask)))
        for other, another in masks.items():
            # Two independent masks agree in 0.7^2 + 0.3^2 of their elements.
            agree = float((mask == another).double().mean())
            assert agree == pytest.approx(1 if which == other else 0.58, abs=4 * math.sqrt(0.25 / len(mask)))
    assert torch.equal(dropped(1, 1), masks[1, 1])


def test_validation_is_of_the_averaged_weights_on_so_many_images_each_on_its_own() -> None:
    """Four batches of held-out images, evenly spaced, without dropout: the mean of losses each computed alone."""
    plan = training(training__times="uniform", model__dropout=0.5)
    state, data = fresh(plan), plan.subject.data.load("test")
    subject = plan.subject
    subject.network.eval()

    def alone(count: int, rows: list[int]) -> float:
        """The mean loss of so many images, each with the stream of its place."""
        total = 0.0
        for k, row in enumerate(rows[:count]):
            noise = Noise(stream_seed(subject.seed, Use.VALIDATION), [k], torch.device("cpu"))
            x0 = subject.data.training_batch(data.images[row : row + 1], noise).images
            total += float(plan.objective.losses(x0, noise).values)
        return total / count

    with torch.no_grad():
        for p in subject.network.parameters():
            torch.nn.init.normal_(p, std=0.1)
        for average in (state.ema, *state.averages.values()):
            average.copy_to(subject.network, average.shadow | weights(subject.network))
            average.shadow = {n: p.detach().clone() for n, p in subject.network.named_parameters()}
        spaced = [k * len(data) // 32 for k in range(32)]
        wanted, fewer, first = alone(32, spaced), alone(31, spaced), alone(5, list(range(5)))
        for p in subject.network.parameters():
            p.zero_()
    found = validation_loss(plan, state, data)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert abs(found - fewer) > 1e-4 * found, "another number of images is another number"
    few = Arrays(data.images[:5], data.labels[:5]).as_split()
    assert validation_loss(plan, state, few) == pytest.approx(first, rel=1e-5)
    assert all(not p.any() for p in subject.network.parameters()), "the raw weights are back"
