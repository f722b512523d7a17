"""Configurations that fit together nowhere, each refused with its reason when its plan is made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ml_collections import ConfigDict

from configs.toy.gaussian_2d import get_config as plane
from models.checkpoints.damage import DamagedCheckpointError
from models.exact.mixtures import GaussianScore
from models.prediction.conventions import _noise_level
from models.prediction.denoised import Clip, Denoised, DynamicThreshold
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from models.prediction.variances import check_variance_output, split_output
from run_lib import files
from run_lib.config import plans
from run_lib.config.configuration import check_fields
from run_lib.config.files import load_config_file
from run_lib.config.parsing import parse_value
from run_lib.config.sweep import parse_sweep
from run_lib.data.archives import read_archive
from run_lib.evaluation.evaluate import check
from run_lib.faults import explained, machines_fault
from run_lib.training.checkpoints import is_checkpoint, read_checkpoint
from run_lib.tuning.stored_grids import make_grid
from sde_lib import VPSDE
from tests.run_lib.planned import planned
from tests.run_lib.test_tasks import BOUND, CHAIN, CLASSIFIER, SUPERRES
from tests.run_lib.tiny import get_config as tiny

SUPERRES_LABELS = {**SUPERRES, "model__num_classes": 10, "guidance__labels": (0, 1)}
UNLEVELLED = {name: value for name, value in CLASSIFIER.items() if name != "eval__accuracy_levels"}
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("training", "tiny", {"model__used_ema_rate": 0.5, "model__ema_rates": (0.25,)}, "is none of model.ema_rates"),
    ("training", "tiny", {"model__ema_rates": (0.5, 0.5)}, "each of another rate"),
    ("sampling", "plane", {"model__variance": "learned_range"}, "takes no out_channels"),
    ("training", "tiny", {"data__levels": 1}, "the number of values of a pixel, 2 or more"),
    ("training", "tiny", {"data__levels": 0, "data__uniform_dequantization": True},
     r"uniform_dequantization=True has no meaning for data of shape \(1, 8, 8\)"),
    ("sampling", "plane", {"data__random_flip": True}, r"random_flip=True has no meaning for data of shape \(2,\)"),
    ("sampling", "plane", {"data__uniform_dequantization": True}, "uniform_dequantization=True has no meaning"),
    ("sampling", "plane", {"data__levels": 17}, "draws from a density are continuous"),
    ("training", "tiny", {**CLASSIFIER, "training__objective": "simple"}, "a classifier has one objective"),
    ("sampling", "tiny", SUPERRES_LABELS, "guidance.labels are for training.task='diffusion'; 'superres'"),
    ("sampling", "tiny", {**CHAIN, "sampling__grid": "karras"}, "takes the place of num_steps and grid"),
    ("reconstruction", "tiny", {**CHAIN, "sampling__predictor": "ddim", "reconstruct__num_steps": 3,
                                "reconstruct__method": "ddim", "reconstruct__input": "test"},
     "both say how many steps"),
    ("sampling", "tiny", {"sampling__dynamic_threshold": 0.9, "sampling__clip_denoised": True}, "set one"),
    ("control", "tiny", {"control__task": "inpaint", "control__input": "test", "control__samples": 2**20 + 1},
     "control.samples is at most 1048576, got 1048577"),
    ("training", "tiny", {"model__name": "edm2", "model__head_channels": 4, "model__preconditioning": "edm",
                          "model__output": None, "training__sde": "edm", "optim__weight_decay": 0.01},
     r"optim\.weight_decay=0\.01 shrinks weights that this network brings back"),
    ("training", "tiny", {**SUPERRES, "data__low_res_size": 9}, "must be a height and width of at most"),
    ("training", "tiny", {**SUPERRES, "data__low_res_size": (4, 9)}, "must be a height and width of at most"),
    ("training", "tiny", {**SUPERRES, "data__low_res_size": (4,)}, "must be a height and width of at most"),
]  # fmt: skip
"""Planner, configuration, fields, and what is said."""


@pytest.mark.parametrize(("planner", "config", "fields", "message"), REFUSED)
def test_refused(planner: str, config: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned({"tiny": tiny, "plane": plane}[config](), getattr(plans, planner), fields)


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        ("tiny", {**CLASSIFIER, "eval__enable_bpd": True}, "a classifier has no likelihood"),
        ("tiny", {**CLASSIFIER, "eval__enable_sampling": True}, "a classifier has no samples"),
        ("tiny", {**UNLEVELLED, "eval__enable_accuracy": False}, "goes with it: set it to True"),
        ("tiny", {"eval__enable_accuracy": True}, "goes with it: set it to False"),
        ("tiny", {"eval__enable_restoration": True}, "enlarges test images made small"),
        ("tiny", {"eval__num_samples": 64}, "cannot give a covariance of 64 coordinates"),
        ("tiny", {"eval__bpd_num_images": 361}, "but the test split has 360"),
        ("tiny", {**CHAIN}, "solves an ODE and needs an SDE; DiscreteDiffusion is none"),
        ("tiny", {"eval__t_min": 1.0}, "t_min must lie between 0 and 1, got 1.0"),
        ("tiny", {"eval__t_min": 0.0}, "t_min must lie between 0 and 1, got 0.0"),
        ("tiny", {"eval__bpd_divergence": "hutch++", "eval__bpd_rank": 64}, "spans all of 64 dimensions"),
        ("plane", {"eval__bpd_dequantisation": "variational"}, "is of levels, and these data are continuous"),
        (
            "tiny",
            {**BOUND, "eval__bpd_dequantisation": "variational", "eval__bpd_bound_of": "density"},
            "needs a GaussianSDE",
        ),
    ],
)
def test_refused_evaluations(config: str, fields: dict[str, Any], message: str) -> None:
    """Before any work; what lies on the other side of the edge is taken."""
    with pytest.raises(ValueError, match=message):
        check(planned({"tiny": tiny, "plane": plane}[config](), plans.evaluation, fields))


def test_evaluations_at_the_edge() -> None:
    fields = {"eval__num_samples": 65, "eval__bpd_num_images": 360, "eval__t_min": 1e-6}
    check(planned(tiny(), plans.evaluation, fields))
    check(planned(tiny(), plans.evaluation, {"eval__bpd_divergence": "hutch++", "eval__bpd_rank": 63}))


def test_thresholds_are_of_the_datas_range() -> None:
    plan = planned(tiny(), plans.sampling, {"sampling__dynamic_threshold": 0.9})
    assert isinstance(plan.sampler.model, Denoised)
    assert plan.sampler.model.transform == DynamicThreshold(0.9, low=-1.0, high=1.0)
    plan = planned(tiny(), plans.sampling, {"sampling__clip_denoised": True, "data__centered": False})
    assert plan.sampler.model.transform == Clip(0.0, 1.0)


def test_grids_are_of_a_predictors_steps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tune\.grid places the steps of a predictor"):
        make_grid(planned(tiny(), plans.sampling, {"sampling__method": "ode"}), 2, tmp_path / "grids.json")


# Networks and processes -------------------------------------------------------------------------------


def test_what_needs_a_gaussian_process() -> None:
    strange: Any = SimpleNamespace()
    with pytest.raises(ValueError, match="fed sigma, and SimpleNamespace has no Gaussian marginal"):
        _noise_level(strange)


def test_channels_of_outputs() -> None:
    """As many as the data, or twice as many where variances are learned."""
    state = torch.zeros(1, 3, 2)
    assert split_output(torch.ones(1, 3, 2), state, None)[1] is None
    prediction, variance = split_output(torch.arange(12.0).reshape(1, 6, 2), state, "learned")
    assert prediction.tolist() == [[[0, 1], [2, 3], [4, 5]]]
    assert variance is not None
    with pytest.raises(ValueError, match=r"outputs 6 channels but .* needs 3\. Twice as many hold learned"):
        split_output(torch.zeros(1, 6, 2), state, None)
    with pytest.raises(ValueError, match=r"outputs 5 channels but .* needs 3\.$"):
        split_output(torch.zeros(1, 5, 2), state, None)
    with pytest.raises(ValueError, match="needs a network with 6 output channels, 3 for the prediction"):
        split_output(torch.zeros(1, 3, 2), state, "learned")
    for kind in (None, "learned", "learned_range"):
        check_variance_output(kind)
    with pytest.raises(
        ValueError, match="one of learned, learned_range, or None for fixed ones; got 'fixed'"
    ):
        check_variance_output("fixed")


def test_the_previous_state_is_of_a_chain() -> None:
    process = VPSDE()
    network = GaussianScore(process=process, mean=0.0, std=1.0)
    with pytest.raises(ValueError, match="outputs the previous state needs a chain"):
        NoiseModel(network, process, Time(process), "previous")
    with pytest.raises(ValueError, match="labels are none"):
        Time(process).rescaled()


# Values, files and errors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("data.random_flip", "perhaps", "perhaps: true or false is expected"),
        ("model.ema_rates", "0.5", r"a tuple such as \(1,2\) is expected"),
        ("model.ema_rates", "a b", r"a tuple such as \(1,2\) is expected"),
    ],
)
def test_values_that_are_none(path: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_value(path, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("YES", True), ("1", True), ("False", False), ("no", False), ("0", False)],
)
def test_switches_in_words(text: str, value: bool) -> None:
    assert parse_value("data.random_flip", text) is value


def test_blocks_of_settings() -> None:
    """Of a component that there is, with its settings alone."""
    check_fields(ConfigDict({"sampling": {"ddim": {"eta": 0.5}}}))
    with pytest.raises(
        ValueError, match=r"config\.sampling\.ddmi is a block of settings, .*Did you mean 'ddim'"
    ):
        check_fields(ConfigDict({"sampling": {"ddmi": {"eta": 0.5}}}))
    with pytest.raises(ValueError, match=r"config\.sampling\.ddim\.etta\. Did you mean .*eta"):
        check_fields(ConfigDict({"sampling": {"ddim": {"etta": 0.5}}}))


def test_a_configuration_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def get_config(): return {}\n")
    with pytest.raises(ValueError, match="returns a dict, and not a ConfigDict"):
        load_config_file(str(tmp_path / "own.py"))


def test_sizes_of_sweeps() -> None:
    """Ten thousand values and combinations, and no more."""
    assert len(parse_sweep("snr=0.1:0.9:10000").candidates) == 10_000
    with pytest.raises(ValueError, match="has more than 10000 values"):
        parse_sweep("snr=0.1:0.9:10001")
    assert len(parse_sweep("snr=0.1:0.9:100 eta=0:1:100").candidates) == 10_000
    with pytest.raises(ValueError, match="has 10100 combinations, and at most 10000"):
        parse_sweep("snr=0.1:0.9:100 eta=0:1:101")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("num_steps=2:6:3", [2, 4, 6]),
        ("num_steps=1:100:3:log", [1, 10, 100]),
        ("num_steps=1:10:3:log", [1, 3, 10]),
        ("snr=0.1:0.4:4", [0.1, 0.2, 0.3, 0.4]),
        ("snr=0.4:0.1:2", [0.4, 0.1]),
        ("noise_removal=true,FALSE", [True, False]),
        ("predictor=ddim,none", ["ddim", "none"]),
    ],
)
def test_values_of_sweeps(text: str, values: list[Any]) -> None:
    found = parse_sweep(text)
    assert [candidate.changes[0].value for candidate in found.candidates] == values
    assert {type(candidate.changes[0].value) for candidate in found.candidates} == {type(values[0])}
    assert found.numeric == (not isinstance(values[0], bool | str))


@pytest.mark.parametrize(
    "text",
    ["snr=0.1:0.1:3", "snr=0.1:0.2:1", "snr=0:1:3:log", "snr=1:0:3:log", "num_steps=2:5:3", "predictor=1:2:3",
     "snr=0.1:0.2:2:lg", "snr=0.1:0.2", "noise_removal=maybe", "snr=inf", "num_steps=2.5", "snr=0.1,0.1",
     "predictor=", "snr=0.1 snr=0.2", "batch_size=1", "attributes=1", "snr", ""],
)  # fmt: skip
def test_sweeps_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"tune\.sweep"):
        parse_sweep(text)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 1)), r"arr_1 is float64 of shape \(2, 1\); labels are integers \(N,\)"),
        (np.array(["a", "b"]), "arr_1 is <U1 of shape"),
        (np.zeros(3, int), "has 2 images and 3 labels"),
    ],
)
def test_labels_of_archives(labels: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((2, 1, 4, 4), np.uint8), labels)
    with pytest.raises(ValueError, match=message):
        read_archive(tmp_path / "a.npz", "here", (1, 4, 4), 256)


def test_files_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No larger than a limit, and not nested without end."""
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    assert files.read_json(path) == [1, 2]
    monkeypatch.setattr(files, "LARGEST_JSON", 6)
    assert files.read_json(path) == [1, 2]
    monkeypatch.setattr(files, "LARGEST_JSON", 5)
    with pytest.raises(ValueError, match="is of 6 bytes, more than 5"):
        files.read_json(path)
    monkeypatch.undo()
    assert files.LARGEST_JSON == 268_435_456
    path.write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match="is nested too deeply"):
        files.read_json(path)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no checkpoint .*step\.pt"):
        read_checkpoint(tmp_path / "step.pt")
    assert is_checkpoint(tmp_path / "step.pt") is False
    (tmp_path / "step.pt").write_bytes(b"no archive")
    assert is_checkpoint(tmp_path / "step.pt") is False
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(tmp_path / "step.pt")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), "the device failed"),
        (RuntimeError("can't start new thread"), "no thread can be started"),
        (RuntimeError("some other"), None),
        (ValueError("can't start new thread"), None),
    ],
)
def test_faults_of_the_machine(error: Exception, line: str | None) -> None:
    said = machines_fault(error)
    assert said is None if line is None else said is not None and said.startswith(line)


def test_errors_without_a_number_are_the_users() -> None:
    """A library's own, such as of an image."""
    assert str(explained(OSError("broken data stream"), Path("a.png"))) == "a.png: broken data stream."
    assert type(explained(OSError("broken data stream"))) is ValueError
