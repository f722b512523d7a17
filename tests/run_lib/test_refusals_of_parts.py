"""What a part of the program refuses on its own, whoever else refuses it too; and the edges of what it takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ml_collections import ConfigDict

from configs.base import get_config as base
from losses.importance import LossSecondMoment
from losses.named_times import register_times
from models.base import Network, register_model
from run_lib import ends
from run_lib.config import plans
from run_lib.config.parsing import set_field
from run_lib.config.roles import FIXED
from run_lib.data.rows import Checked
from run_lib.run import Run
from run_lib.training.curves import Curves
from run_lib.training.optimisers import LossScaling
from run_lib.training.tasks import Classification, classifier
from run_lib.tuning import jobs
from run_lib.tuning.scorers import AgainstData
from sde_lib.base import register_sde
from tests.run_lib.planned import planned, subject
from tests.run_lib.program import GAUSSIAN, TINY, program, run
from tests.run_lib.test_guidance import FREE
from tests.run_lib.test_tasks import CHAIN, CLASSIFIER
from tests.run_lib.tiny import get_config as tiny
from tests.test_new_sde import Ornstein


def test_a_classifier_of_one_class() -> None:
    assert classifier(2) == Classification(2)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier(1)


def test_samples_of_a_classifier() -> None:
    """Refused when a plan is made, and by the task itself, which a preview of training asks."""
    with pytest.raises(ValueError, match="a classifier has no samples"):
        Classification(10).sampling_conditions([0], torch.device("cpu"))
    with pytest.raises(ValueError, match="a classifier has no samples"):
        planned(tiny(), plans.sampling, CLASSIFIER)


def test_averages_of_other_rates(tmp_path: Path) -> None:
    few = {"training__n_iters": 1, "model__ema_rates": "(0.5,)"}
    run(TINY, "train", tmp_path, **few)
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path, training__n_iters=1).error
    assert "averages of the rates [0.5] beside the first, the configuration []" in error


def test_too_few_samples_for_a_covariance() -> None:
    """Of 3 features: 4 samples have one, 3 have not."""
    real = np.random.default_rng(0).normal(size=(50, 3))
    AgainstData(real, 4)
    with pytest.raises(ValueError, match=r"tune\.num_samples=3 cannot give a covariance of 3 features"):
        AgainstData(real, 3)


@pytest.mark.parametrize(
    ("planner", "field", "wrong", "edge", "more"),
    [
        ("training", "training__loss_scale_growth", 0.0, 1.0, {"training__precision": "float16"}),
        ("training", "training__loss_scale_growth", 1.5, 1e-3, {"training__precision": "float16"}),
        ("training", "optim__warmup", -1, 0, {"optim__schedule": "cosine"}),
        ("training", "optim__warmup", -1, 0, {"optim__schedule": "constant"}),
        ("training", "optim__warmup", -1, 0, {"optim__schedule": "linear"}),
        ("training", "optim__eps", -1e-8, 0.0, {}),
        ("training", "optim__weight_decay", -0.1, 0.0, {}),
        ("training", "optim__beta1", 1.0, 0.0, {}),
        ("training", "optim__beta2", 1.0, 0.0, {}),
        ("training", "model__num_scales", 0, 1, {}),
        ("training", "training__batch_size", 0, 1, {}),
        ("training", "training__label_dropout", -0.1, 0.0, {"model__num_classes": 10}),
        ("training", "training__label_dropout", 1.0, 0.5, {"model__num_classes": 10}),
        ("evaluation", "eval__bpd_probes", 0, 1, {}),
        ("evaluation", "eval__bpd_max_steps", 0, 1, {}),
        ("evaluation", "eval__bpd_rtol", 0.0, 1e-9, {}),
        ("evaluation", "eval__bpd_repeats", 0, 1, {}),
        ("evaluation", "eval__bpd_num_images", -1, 0, {}),
        ("sampling", "guidance__labels", (0, 10), (0, 9), FREE),
        ("sampling", "guidance__labels", (-1, 9), (9, 0), FREE),
    ],
)
def test_edges_of_ranges(planner: str, field: str, wrong: Any, edge: Any, more: dict[str, Any]) -> None:
    """The edge is taken, what lies beyond it is refused by the field's name."""
    make = getattr(plans, planner)
    planned(tiny(), make, {**more, field: edge})
    with pytest.raises(ValueError, match=field.split("__")[1]):
        planned(tiny(), make, {**more, field: wrong})


def test_defaults_are_those_of_the_papers() -> None:
    """Ten losses of each level and a share of 0.001 (Nichol & Dhariwal 2021, section 3.3); no probes of the exact
    trace; scaling of the loss that does nothing unless it is asked for."""
    times = planned(tiny(), plans.training, {**CHAIN, "training__times": "importance"}).times
    assert isinstance(times, LossSecondMoment)
    assert times.state_dict()["losses"].shape == (20, 10)
    assert times.uniform == 0.001
    bpd = planned(
        tiny(), plans.evaluation, {"eval__bpd_divergence": "exact", "data__image_size": 8}
    ).evaluations[1]
    assert (bpd.flow.trace.probes, bpd.flow.trace.rank) == (0, 0)
    assert LossScaling(False, 20.0, 1e-3).make_scaler(torch.device("cpu")).get_scale() == 1


def test_distributions_of_times_and_who_takes_a_filter() -> None:
    assert {"uniform", "stratified", "importance", "log_normal"} <= set(register_times)
    assert "model.fir" in FIXED["network"].fields("ncsnpp")
    assert "model.fir" not in FIXED["network"].fields("adm")


# A classifier's weights with a configuration beside them ---------------------------------------------------------


@pytest.mark.slow
def test_the_configuration_given_for_a_classifier_is_the_recorded_one(tmp_path: Path) -> None:
    """Heads of 8 channels for 4 are another function of the same weights: refused by the field, unless it is asked
    for. Of weights that record nothing, the configuration given is all there is."""
    run(TINY, "train", tmp_path / "classifier", **CLASSIFIER, training__n_iters=1)
    lines = "\n".join(
        f"    config.{field.replace('__', '.')} = {value!r}"
        for field, value in {**CLASSIFIER, "model__num_head_channels": 8}.items()
    )
    given = "from tests.run_lib.tiny import get_config as tiny\ndef get_config():\n    config = tiny()\n"
    (tmp_path / "theirs.py").write_text(f"{given}{lines}\n    return config\n")
    weights = tmp_path / "classifier/checkpoints/step_00000001.pt"
    fields = {
        **CHAIN, "guidance__name": "classifier", "guidance__classifier": weights,
        "guidance__classifier_config": tmp_path / "theirs.py",
    }  # fmt: skip
    run(TINY, "train", tmp_path / "run", **CHAIN, training__n_iters=1)
    command = ("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run")
    error = program(*command, **fields).error
    assert str(weights) in error
    assert "num_head_channels" in error
    run(TINY, "sample", tmp_path / "run", **fields, resume_anyway=True)


# Components that do not fit --------------------------------------------------------------------------------------


def test_a_network_of_whole_levels_is_asked_for_no_others() -> None:
    """NCSN looks a level up in a table: half a level has no row."""
    fields = {
        "training__sde": "smld", "model__name": "ncsn", "model__nf": 8, "model__num_scales": 5, "device": "cpu",
        "data__image_size": 16,
    }  # fmt: skip
    subject(base(), fields, weights=False)
    with pytest.raises(ValueError, match=r"set sampling\.chain='levels'"):
        subject(base(), {**fields, "sampling__chain": "interpolated"}, weights=False)


def test_a_network_that_a_function_makes_predicts_as_many_channels_as_the_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a classifier's outputs are its classes."""
    asked: list[int] = []
    whole: Callable[..., Network] = register_model["ddpm"]

    def made(*, in_channels: int, out_channels: int, image_size: tuple[int, ...]) -> Network:
        asked.append(out_channels)
        return whole(in_channels=in_channels, out_channels=out_channels, image_size=image_size)

    monkeypatch.setattr(register_model, "_entries", {**register_model._entries, "made": made})
    fields = {"model__name": "made", "model__num_classes": 0}
    subject(base(), {**fields, "device": "cpu", "data__num_channels": 3}, weights=False)
    assert asked == [3]


@pytest.mark.parametrize(
    ("fields", "what", "kind"),
    [
        ({"training__times": "log_normal"}, "training.times='log_normal'", "GaussianProcess"),
        ({"training__weighting": "x0"}, "loss weighting 'x0'", "GaussianProcess"),
        ({"training__objective": "kl"}, "training.objective='kl'", "DiscreteDiffusion"),
    ],
)
def test_parts_of_a_loss_need_a_process_that_has_what_they_use(
    fields: dict[str, Any], what: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an SDE of which a drift and a diffusion are known and no marginal."""
    monkeypatch.setattr(register_sde, "_entries", {**register_sde._entries, "ornstein": Ornstein})
    own = {"training__sde": "ornstein", "model__output": "score"}
    own |= {"sampling__predictor": "euler_maruyama", "sampling__grid": "uniform"}
    planned(tiny(), plans.training, own)
    with pytest.raises(ValueError, match=f"{what} needs a process of the kind {kind}, which Ornstein is not"):
        planned(tiny(), plans.training, {**own, **fields})


@pytest.mark.parametrize("shape", [(2, 16), (2, 16, 16), (2, 16, 16, 16)])
def test_a_network_has_the_axes_of_the_data(shape: tuple[int, ...]) -> None:
    """ADM is told how many there are."""
    data = {"data__shape": shape, "data__levels": 0, "data__random_flip": False, "device": "cpu"}
    adm = {"model__name": "adm", "model__nf": 32, "model__ch_mult": (1,), "model__num_res_blocks": 1}
    found = subject(base(), {**data, **adm, "model__attn_resolutions": ()}).network
    x = torch.zeros(1, *shape)
    assert found(x, torch.zeros(1)).shape == x.shape


def test_a_field_takes_a_value_of_another_kind() -> None:
    """Whether it may have it is checked with all else: ``sigma_max=auto`` stands where a number stood."""
    config = ConfigDict({"model": {"sigma_max": 50.0}})
    set_field(config, "model.sigma_max", "auto")
    assert config.model.sigma_max == "auto"
    set_field(config, "model.sigma_max.of", (1, 2))
    set_field(config, "model.mine.at", 3)
    assert config.to_dict() == {"model": {"sigma_max": {"of": (1, 2)}, "mine": {"at": 3}}}
    with pytest.raises(TypeError):
        config.model.mine.at = "three"  # elsewhere a field keeps its type


def test_a_setting_without_effect_is_said_once() -> None:
    """That a corrector is lacking and that the ODE takes none are one fault of one field."""
    fields = {"sampling__method": "ode", "sampling__n_steps_each": 2}
    error = program("--config", GAUSSIAN, "--mode", "sample", **fields).error
    assert error.count("sampling.n_steps_each is set") == 1


@pytest.mark.parametrize(
    ("field", "value"), [("predictor", "ddim"), ("corrector", "ald"), ("grid", "karras")]
)
def test_what_the_ode_does_not_take_names_the_method_that_does(field: str, value: str) -> None:
    fields = {"sampling__method": "ode", f"sampling__{field}": value}
    error = program("--config", GAUSSIAN, "--mode", "sample", **fields).error
    assert f"config.sampling.{field} is set, but method 'ode' does not take it" in error
    assert "set sampling.method='pc'" in error


# Errors within ---------------------------------------------------------------------------------------------------


def test_an_error_in_a_process_of_a_sweep_is_the_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a set of samples raises elsewhere is raised here, and the sets that have not begun are given up."""
    ends: list[bool] = []

    class Pool:
        def __init__(self, *args: object) -> None: ...

        def submit(self, *args: object) -> Future[None]:
            future: Future[None] = Future()
            future.set_exception(ValueError("the scorer refuses"))
            return future

        def shutdown(self, *, cancel_futures: bool) -> None:
            ends.append(cancel_futures)

    monkeypatch.setattr(jobs, "ProcessPoolExecutor", Pool)
    work: Any = SimpleNamespace()
    sets: Any = [SimpleNamespace(candidate=None, repeat=repeat) for repeat in range(2)]
    with pytest.raises(ValueError, match="the scorer refuses"):
        jobs.do(work, sets, 2)
    assert ends == [True]


def test_a_file_of_curves_that_cannot_be_begun_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Curves] = []

    def full(curves: Curves, purge_step: int) -> None:
        begun.append(curves)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Curves, "_begin", full)
    with pytest.raises(OSError, match="No space"):
        Curves(tmp_path / "tensorboard", 1)
    assert begun[0]._file.closed


def test_an_error_that_nobody_can_read_has_its_status_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard error goes to a full disk; what is left to be flushed at the end of the process is dropped."""
    left: list[bool] = []
    monkeypatch.setattr(ends, "_leave_outputs", lambda: left.append(True))

    def wrong() -> None:
        raise ValueError("a wrong value")

    with open("/dev/full", "w", buffering=1) as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        with pytest.raises(SystemExit) as found:
            ends.guarded(wrong, lambda: False)
        patch.undo()
        full.buffer.raw.close()
    assert found.value.code == 2
    assert left == [True]


def test_outputs_that_the_shell_has_closed_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None for them; nothing is left to be flushed, and that is no error."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", None)
        ends._leave_outputs()


# Going on with a training ----------------------------------------------------------------------------------------


def test_a_step_of_as_many_samples_in_other_batches_is_the_same_step() -> None:
    """Two batches of four are one of eight; one of four is not. What is refused is said once, whatever components
    share the field."""

    def go_on(was: dict[str, Any], now: dict[str, Any]) -> None:
        record = planned(tiny(), plans.training, was).subject.record
        made_with = json.dumps(dict(record.values))
        planned(tiny(), plans.training, now).subject.agreement.check_training(Path("before.pt"), made_with)

    two = {"training__batch_size": 4, "training__accumulate": 2}
    go_on(two, {"training__batch_size": 8})
    go_on({"training__batch_size": 8}, two)
    with pytest.raises(ValueError, match=r"training\.batch_size=4 \(was 8\)"):
        go_on(two, {"training__batch_size": 4})
    with pytest.raises(ValueError, match=r"model\.num_scales=30 \(was 20\)") as refused:
        go_on(CHAIN, {**CHAIN, "model__num_scales": 30})
    assert str(refused.value).count("num_scales") == 1


@pytest.mark.parametrize("costly", [True, False])
def test_checked_rows_cost_what_the_rows_cost(costly: bool) -> None:
    rows: Any = SimpleNamespace(costly=costly)
    assert Checked(rows, lambda images: None).costly is costly


def test_a_checkpoint_may_be_a_link_and_its_folder_may_not(tmp_path: Path) -> None:
    """A large file may lie elsewhere; what is written goes into the work directory."""
    elsewhere, work = tmp_path / "elsewhere", Run(tmp_path / "run")
    elsewhere.mkdir()
    (elsewhere / "step_00000001.pt").touch()
    work.checkpoints.folder.mkdir(parents=True)
    (work.checkpoints.folder / "step_00000001.pt").symlink_to(elsewhere / "step_00000001.pt")
    work.check_checkpoints()
    (work.checkpoints.folder / "step_00000001.pt").unlink()
    work.checkpoints.folder.rmdir()
    work.checkpoints.folder.symlink_to(elsewhere)
    with pytest.raises(ValueError, match="is a link to"):
        work.check_checkpoints()
