"""Samples and evaluations that are not finite: status 3, named by index, scored by nothing, shown by nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from run_lib.training import loop
from tests.run_lib.program import GAUSSIAN, TINY, Outcome, program, run, written

PLUGIN = """
import torch
from torch import nn
from models.base import Network, register_model
from samplers import EulerMaruyama, Predictor, register_predictor
from sde_lib import SDE, Range
from dataclasses import dataclass, replace
from typing import Annotated

@register_model
class Spoilt(Network):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.full((), float("nan")))
    def forward(self, x, labels, **cond):
        return x * self.w

@register_predictor
@dataclass(frozen=True)
class Diverging(Predictor[SDE]):
    '''As Euler and Maruyama's; samples whose first value is large are lost.

    Args:
        tau: the largest.
    '''
    tau: float = 0.0
    def update_fn(self, model, x, t, s, noise):
        step = EulerMaruyama().update_fn(model, x, t, s, noise)
        bad = x.flatten(1)[:, 0] > self.tau
        lost = torch.where(bad.reshape(-1, *[1] * (x.ndim - 1)), torch.nan, step.x)
        return replace(step, x=lost, mean=lost)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "spoilt.py"
    path.write_text(PLUGIN)
    return path


def fails(config: Path, mode: str, workdir: Path, **fields: Any) -> Outcome:
    outcome = program("--config", config, "--mode", mode, "--workdir", workdir, **fields)
    assert outcome.status == 3, outcome.err
    assert outcome.err.splitlines()[-1].startswith("incomplete: ")
    return outcome


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose averaged weights hold one NaN."""
    workdir = tmp_path_factory.mktemp("trained")
    run(TINY, "train", workdir, training__n_iters=2)
    path = workdir / "checkpoints/step_00000002.pt"
    held = torch.load(path, weights_only=True)
    next(iter(held["ema"]["shadow"].values())).view(-1)[0] = torch.nan
    torch.save(held, path)
    return workdir


def test_sample(trained: Path) -> None:
    """Six in batches of four: the first batch is lost whole, so the second is not drawn. No file, no picture."""
    said = fails(TINY, "sample", trained).err
    assert "4 samples are lost, of index 0, 1, 2, 3: " in said
    assert not (trained / "samples").exists()


def test_the_samples_before_stay_where_new_ones_fail(tmp_path: Path, plugin: Path) -> None:
    run(GAUSSIAN, "sample", tmp_path, sampling__num_samples=6, sampling__num_steps=3)
    before = {p.name: p.read_bytes() for p in (tmp_path / "samples").iterdir()}
    fails(
        GAUSSIAN, "sample", tmp_path, plugins=plugin, sampling__predictor="diverging", sampling__num_samples=6
    )
    assert {p.name: p.read_bytes() for p in (tmp_path / "samples").iterdir()} == before


def test_sample_names_every_index(tmp_path: Path, plugin: Path) -> None:
    """Which of 12 are lost does not depend on the batch; those before and after are drawn."""
    few = {
        "plugins": plugin,
        "sampling__predictor": "diverging",
        "sampling__tau": 4.0,
        "sampling__num_steps": 3,
    }
    few |= {"sampling__num_samples": 12}
    said = [
        fails(GAUSSIAN, "sample", tmp_path, **few, sampling__batch_size=size).err.splitlines()[-1]
        for size in (12, 5)
    ]
    assert said[0] == said[1]
    assert 0 < int(said[0].split()[1]) < 12
    assert not (tmp_path / "samples").exists()


def test_evaluation(trained: Path) -> None:
    """Neither loss nor samples have a number, and a second run says the same without drawing again."""
    fields = {"eval__enable_loss": True, "eval__enable_bpd": False, "eval__batch_size": 1024}
    for _ in range(2):
        said = fails(TINY, "eval", trained, **fields)
        report = json.loads((trained / "eval/report.json").read_text())
        assert not [n for n in report["numbers"] if n["name"].startswith(("frechet", "precision", "loss"))]
        lost = [one["index"] for one in report["lost"] if one["name"] == "frechet/pixels"]
        assert lost == list(range(70))
        assert "frechet/pixels: sample 0 has no number: a value became NaN" in said.out or len(lost) > 20
    assert not list((trained / "eval").glob("**/*.png"))


def test_evaluated_loss_leaves_out_and_names_what_is_not_finite(tmp_path: Path) -> None:
    from tests.run_lib.test_train import BROKEN, CONTINUOUS

    (tmp_path / "broken.py").write_text(BROKEN.format(rows="7"))
    fields = {**CONTINUOUS, "plugins": tmp_path / "broken.py"}
    only = {"eval__enable_loss": True, "eval__enable_bpd": False, "eval__enable_sampling": False}
    trains = run(TINY, "train", tmp_path, **fields, training__n_iters=3)
    assert "the validation loss leaves out samples whose loss is not finite: test sample 7" in trains.err
    said = fails(TINY, "eval", tmp_path, **fields, **only)
    report = json.loads((tmp_path / "eval/report.json").read_text())
    (number,) = report["numbers"]
    assert (number["name"], number["count"]) == ("loss/test", 39)
    assert [(one["index"], one["reason"][:29]) for one in report["lost"]] == [
        (7, "the image holds NaN or infini")
    ]
    assert "1 image has no number" in said.err
    assert number["value"] == number["value"]


def test_a_setting_of_a_sweep_that_fails_is_marked_and_never_chosen(tmp_path: Path, plugin: Path) -> None:
    """tau=0 loses half of the samples, tau=50 none."""
    fields = {"plugins": plugin, "sampling__predictor": "diverging", "sampling__num_steps": 3}
    fields |= {"tune__repeats": 2, "tune__num_samples": 8, "sampling__grid": "uniform"}
    said = fails(GAUSSIAN, "tune", tmp_path, **fields, tune__sweep="tau=0.0,50.0").err
    assert "tau=0: " in said
    assert "samples are lost, of index" in said
    folder = tmp_path / "tune"
    assert json.loads((folder / "best.json").read_text()) == {"tau": 50.0}
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["tau"], row["failed"], row["best"]) for row in rows] == [
        ("0.0", "True", "False"), ("50.0", "False", "True"),
    ]  # fmt: skip
    assert rows[0]["variance"] == ""
    assert "NaN" not in (folder / "table.json").read_text()
    fails(GAUSSIAN, "tune", tmp_path, **fields, tune__sweep="tau=-1.0,-2.0", tune__folder="none")
    assert not (tmp_path / "none/best.json").exists()


@pytest.mark.parametrize("mode", ["control", "reconstruct"])
def test_images(mode: str, trained: Path) -> None:
    """Every result is lost and named; no picture is written."""
    fields: dict[str, Any] = {f"{mode}__input": "test", f"{mode}__num_images": 3}
    said = fails(TINY, mode, trained, **fields).err
    assert "3 results are not finite and not written: those of " in said
    assert not [name for name in written(trained / mode) if name.endswith(".png")]


def test_all_goes_on_to_the_evaluation(tmp_path: Path, plugin: Path) -> None:
    fields = {"plugins": plugin, "sampling__predictor": "diverging", "sampling__num_steps": 3}
    said = fails(GAUSSIAN, "all", tmp_path, **fields, eval__num_samples=16, eval__bpd_num_images=2)
    assert (tmp_path / "eval/report.json").is_file()
    assert not (tmp_path / "samples").exists()
    assert "have no number" in said.err


def test_a_preview_that_is_not_finite_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: Any) -> None:
        raise loop.LostSamplesError([2, 3])

    monkeypatch.setattr(loop, "draw", lost)
    said = run(TINY, "train", tmp_path, training__snapshot_sampling=True).err
    assert "no picture of samples after step 6: 2 samples are lost, of index 2, 3" in said


@pytest.mark.slow
def test_a_chain_whose_last_beta_is_one(tmp_path: Path) -> None:
    """At its last level alpha is 0, and data predicted from eps are divided by it: a run starts a level below, and says
    so; with a network of x0 it starts there."""
    chain = {
        "training__sde": "ddpm", "model__num_scales": 4, "model__betas": "(0.1,0.2,0.5,1.0)",
        "data__uniform_dequantization": False, "sampling__grid": "uniform", "sampling__num_steps": 4,
        "sampling__predictor": "ancestral_sampling", "model__output": "eps",
    }  # fmt: skip
    run(TINY, "train", tmp_path, **chain, training__n_iters=1)
    below = "starts at t=2, below 3"
    assert below in run(TINY, "sample", tmp_path, **chain).out
    of_data = {**chain, "model__output": "x0"}
    run(TINY, "train", tmp_path / "x0", **of_data, training__n_iters=1)
    assert below not in run(TINY, "sample", tmp_path / "x0", **of_data).out


def test_faults_are_looked_for_at_each_log_line_each_checkpoint_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is asked then, and at no other step."""
    steps: list[int] = []
    monkeypatch.setattr(
        loop, "look_for_faults", lambda watch, plan, run, batches, done, writer: steps.append(done)
    )
    run(TINY, "train", tmp_path, training__n_iters=11, training__log_freq=4, training__snapshot_freq=5,
        training__snapshot_freq_for_preemption=7)  # fmt: skip
    assert steps == [4, 5, 7, 8, 10, 11]
