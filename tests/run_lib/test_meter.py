"""What a training tells of itself: loss by time, speed, use of the device, memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from losses.of_samples import Losses
from models.describe import describe
from run_lib.config import plans
from run_lib.training import meter
from run_lib.training.curves import Curves
from sde_lib import VPSDE
from tests.oracles import CASES
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, run
from tests.run_lib.tiny import get_config as tiny


def test_loss_by_time_of_an_sde() -> None:
    """Parts of an eighth of [0, 1]; importance weights and what is not finite are left out."""
    t = torch.tensor([1e-5, 0.1, 0.3, 0.99, 1.0, 0.6], dtype=torch.float64)
    weights = torch.tensor([2.0, 1.0, 4.0, 1.0, 1.0, 1.0])
    values = torch.tensor([1.0, 3.0, 5.0, 7.0, 8.0, float("nan")])
    found = meter.loss_by_time(VPSDE(), Losses(values * weights, t, weights))
    assert found == pytest.approx({"0.0625": 2.0, "0.3125": 5.0, "0.9375": 7.5})


def test_loss_by_time_of_a_chain() -> None:
    """1000 levels: 0 to 124 are the first eighth, 875 to 999 the last."""
    chain = CASES["ddpm"].process
    t = torch.tensor([0, 124, 125, 874, 875, 999])
    found = meter.loss_by_time(chain, Losses(torch.tensor([1.0, 3.0, 10.0, 20.0, 4.0, 8.0]), t))
    assert found == pytest.approx({"0.0625": 2.0, "0.1875": 10.0, "0.8125": 20.0, "0.9375": 6.0})


def test_speed_counts_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 samples between 0 s and 10 s, of which 6 s were something else: 25 a second."""
    clock = iter([0.0, 2.0, 8.0, 10.0, 12.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    watch = meter.Stopwatch()
    watch.add(60)
    with watch.paused():
        pass
    watch.add(40)
    assert watch.read() == pytest.approx(25.0)
    watch.add(4)
    assert watch.read() == pytest.approx(2.0)


def test_peaks() -> None:
    assert meter.peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert meter.peak("NVIDIA A100-SXM4-80GB", "tf32") == 156e12
    assert meter.peak("NVIDIA A100-SXM4-80GB", "float32") == 19.5e12
    assert meter.peak("", "float32") is None


def test_utilisation_is_three_forward_passes_over_the_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = planned(tiny(), plans.training, {}).subject
    monkeypatch.setattr(meter, "peak", lambda name, precision: 1e12)
    monkeypatch.setattr(meter.Stopwatch, "read", lambda self: 50.0)
    said: dict[str, float] = {}
    monkeypatch.setattr(Curves, "add_scalar", lambda self, tag, value, step: said.update({tag: value}))
    with Curves(tmp_path, 0) as writer:
        meter.Meter(subject, devices=2).write(writer, Losses(torch.ones(1), torch.ones(1)), 1)
    flop = describe(subject.network, (1, 8, 8)).gflop * 1e9
    assert said["train/utilisation"] == pytest.approx(50 * 3 * flop / 2e12)
    assert said["train/images_per_second"] == 50.0


def test_curves_of_a_training(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(TINY, "train", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/images_per_second", "train/memory_GiB", "train/gradient_norm"} <= tags
    assert "train/utilisation" not in tags, "a CPU's peak is not known"
    assert [e.step for e in events.Scalars("train/images_per_second")] == [2, 4, 6]
    assert 0.05 < events.Scalars("train/memory_GiB")[-1].value < 64
    # Stratified times of 8 samples: one in each part at every step.
    assert {f"loss_by_time/{(k + 0.5) / 8:.4f}" for k in range(8)} <= tags
