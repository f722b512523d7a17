"""Details that the tests of larger things pass over, each against what it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from run_lib.config.listing import without_settings
from run_lib.data.levels import Arrays
from run_lib.metrics.recognition import Labelled, recognised
from run_lib.training.labels import LabelDropout, RequestedClasses
from run_lib.training.loop import _preview
from run_lib.training.steps import backward, make_batches
from run_lib.training.tasks import Diffusion
from run_lib.tuning import jobs
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, numbers, run
from tests.run_lib.test_passed_on import fresh, training
from tests.run_lib.test_tune import FEW


def test_labels_that_a_guiding_classifier_needs_are_checked() -> None:
    """The network itself takes none, the classifier tells two apart: unlabelled data and a third class are refused."""
    task = Diffusion(0, RequestedClasses(2, (0, 1)), LabelDropout())
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    task.check(Arrays(images, torch.tensor([0, 1])), "the split")
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match="the split has"):
            task.check(Arrays(images, torch.tensor([0, wrong])), "the split")
    Diffusion(0, RequestedClasses(), LabelDropout()).check(
        Arrays(images, torch.tensor([-1, -1])), "the split"
    )


def test_recognised_classes_are_counted_each_on_its_own() -> None:
    """Real points around -5 are of class 0, around 5 of class 1; of the samples asked to be 0 three in four are there,
    of those asked to be 1 one in two: (3 + 2) / 8 in all, with Agresti and Coull's errors."""
    real = np.concatenate([np.linspace(-6, -4, 20), np.linspace(4, 6, 20)])[:, None]
    fake = np.array([-5.0, -5.5, -4.5, 5.0, 5.0, 5.5, -5.0, -4.0])[:, None]
    found = recognised(Labelled(real, np.arange(40) // 20), Labelled(fake, np.arange(8) // 4))
    assert found.overall.value == pytest.approx(5 / 8)
    assert {k: e.value for k, e in found.by_class.items()} == {0: 0.75, 1: 0.5}
    assert found.by_class[0].stderr == pytest.approx((5 / 8 * 3 / 8 / 8) ** 0.5)


def test_the_norm_that_is_logged_is_the_gradients_before_clipping(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fields = {"training__n_iters": 1, "training__log_freq": 1, "optim__grad_clip": 1e-3}
    run(TINY, "train", tmp_path, **fields)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (logged,) = events.Scalars("train/gradient_norm")
    plan = training(**fields)
    state = fresh(plan)
    losses = backward(state, plan, make_batches(plan), 0).losses
    squares = [p.grad.double().square().sum() for p in state.network.parameters() if p.grad is not None]
    assert logged.value == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-4)
    assert events.Scalars("train/loss")[0].value == pytest.approx(float(losses.values.mean()), rel=1e-5)


def test_sets_of_samples_are_drawn_by_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are added in another order by more; afterwards there are as many as before."""
    seen, before = [], torch.get_num_threads()
    whole = jobs.draw

    def watched(*args: object, **kwargs: object) -> object:
        seen.append(torch.get_num_threads())
        return whole(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "draw", watched)
    torch.set_num_threads(2)
    try:
        run(GAUSSIAN, "tune", tmp_path, **FEW)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}
    assert after == 2


def test_the_filter_of_resampling_is_score_sdes_unless_it_is_given() -> None:
    """(1, 3, 3, 1), normalised: its outer product sums to one."""
    from configs.ncsnpp.cifar10_ve_continuous import get_config as ncsnpp
    from tests.run_lib.planned import subject

    one = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    fields = {"model__fir": True, "model__nf": 32, "model__ch_mult": (1, 2), "device": "cpu"}
    network = subject(ncsnpp(), fields).network
    kernels = [kernel for name, kernel in network.named_buffers() if "kernel" in name]
    assert isinstance(network, nn.Module) and kernels
    assert all(torch.allclose(k.reshape(k.shape[-2:]) / k.sum(), torch.outer(one, one)) for k in kernels)


def test_the_note_of_a_bound_says_of_what_it_is(tmp_path: Path) -> None:
    """Nothing of guidance without any; with guidance, that the bound is not of the guided model."""
    few = {
        "eval__bpd_method": "vlb", "eval__bpd_levels": 3, "eval__bpd_num_images": 2, "eval__enable_sampling": False,
        "eval__enable_loss": False, "sampling__num_steps": 4,
    }  # fmt: skip
    mixture = ROOT / "configs/toy/mixture_2d.py"
    run(mixture, "eval", tmp_path / "plain", **few)
    assert numbers(tmp_path / "plain")["vlb nats/test"]["note"] == "upper bound, 3 steps, variance auto"
    guided = {"guidance__name": "classifier", "guidance__classifier": "exact", "guidance__scale": 3.0}
    run(mixture, "eval", tmp_path / "guided", **few, **guided)
    assert "; of the model without guidance" in numbers(tmp_path / "guided")["vlb nats/test"]["note"]


def test_what_follows_the_settings_in_a_docstring_stays() -> None:
    """The section ``Args:`` goes, for the list of settings repeats it."""
    sections = "Raises:\n    ValueError: c.\n\nAttributes:\n    d: e."
    assert without_settings(f"What.\n\nArgs:\n    a: b.\n\n{sections}") == f"What.\n\n{sections}"
    assert without_settings("What.\n\nArgs:\n    a: b.") == "What."


def test_a_preview_is_drawn_without_dropout() -> None:
    """It is a function of the weights and the seed alone, whatever torch's own generator says."""
    plan = training(training__snapshot_sampling=True, model__dropout=0.5)
    state = fresh(plan)
    for p in state.ema.shadow.values():
        p.normal_(std=0.2, generator=torch.Generator().manual_seed(int(p.numel())))
    assert plan.preview is not None
    pictures = []
    for seed in (1, 2):
        state.network.train()
        torch.manual_seed(seed)
        pictures.append(_preview(plan.preview, state))
    assert torch.equal(*pictures)
