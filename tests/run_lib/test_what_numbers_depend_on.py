"""Old numbers never come back: each belongs to the weights, the code, the data and the files that it was made from."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from run_lib.config import plans
from run_lib.config.bare_names import load_module
from run_lib.config.files import load_config_file
from run_lib.editing import control
from run_lib.evaluation import loss as evaluate_loss
from run_lib.evaluation.report import Report
from run_lib.fingerprint import Basis, basis_of_samples
from run_lib.tuning import stored_grids
from samplers.pilot import OptimisedGrid
from sde_lib.grids import Density
from tests.run_lib.pictures import random_pixels, save
from tests.run_lib.planned import planned
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, numbers, program, run
from tests.run_lib.test_report import NUMBER
from tests.run_lib.tiny import get_config as tiny

LOSS = {
    "eval__enable_bpd": False,
    "eval__enable_sampling": False,
    "eval__enable_loss": True,
    "eval__batch_size": 180,
}
LAST = "checkpoints/step_00000002.pt"
IMAGE = ROOT / "configs/toy/gaussian_image.py"
CONSTANT = '''
from dataclasses import dataclass

from run_lib.evaluation.base import Evaluation, register_evaluation


@register_evaluation
@dataclass(frozen=True)
class Constant(Evaluation):
    """A number of the source."""

    def check(self, plan):
        pass

    def evaluate(self, task):
        if not task.has("constant"):
            task.report.add(task.number("constant", VALUE, None, count=1, unit=""))
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings of other seeds, in the folders 42 and 43."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (42, 43):
        run(TINY, "train", folder / str(seed), seed=seed, training__n_iters=2)
    return folder


def loss(workdir: Path) -> float:
    value: float = numbers(workdir)["loss/test"]["value"]
    return value


# Evaluations -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_other_weights_under_the_same_name(runs: Path, tmp_path: Path) -> None:
    """The number is that of an evaluation of the new weights alone, and what was different is said."""
    shutil.copytree(runs / "42", tmp_path / "run")
    shutil.copytree(runs / "43", tmp_path / "fresh")
    run(TINY, "eval", tmp_path / "fresh", **LOSS)
    run(TINY, "eval", tmp_path / "run", **LOSS)
    old = loss(tmp_path / "run")
    assert "made anew" not in run(TINY, "eval", tmp_path / "run", **LOSS).err
    shutil.copy(runs / "43" / LAST, tmp_path / "run" / LAST)
    outcome = run(TINY, "eval", tmp_path / "run", **LOSS)
    assert "1 numbers of step 2 are of other weights; they are made anew" in outcome.err
    assert loss(tmp_path / "run") == loss(tmp_path / "fresh") != old
    report = json.loads((tmp_path / "run/eval/report.json").read_text())
    assert [n["value"] for n in report["numbers"]] == [loss(tmp_path / "fresh")]
    assert list(report["made_from"]) == [n["fingerprint"] for n in report["numbers"]]


def test_other_averages_beside_the_same_weights(runs: Path, tmp_path: Path) -> None:
    """It is the averaged weights that are evaluated: those of twice the size give another loss."""
    shutil.copytree(runs / "42", tmp_path / "run")
    run(TINY, "eval", tmp_path / "run", **LOSS)
    old, payload = loss(tmp_path / "run"), torch.load(tmp_path / "run" / LAST, weights_only=True)
    for value in payload["ema"]["shadow"].values():
        value *= 2
    torch.save(payload, tmp_path / "run" / LAST)
    assert "are of other weights" in run(TINY, "eval", tmp_path / "run", **LOSS).err
    assert loss(tmp_path / "run") != old


def test_an_interrupted_evaluation_goes_on_with_its_own_weights_only(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the batches of the one and half of the other would be an average of neither."""
    whole, calls = evaluate_loss.mean, [0]

    def killed(values: Any) -> Any:
        calls[0] += 1
        raise KeyboardInterrupt

    shutil.copytree(runs / "42", tmp_path / "run")
    shutil.copytree(runs / "43", tmp_path / "fresh")
    run(TINY, "eval", tmp_path / "fresh", **LOSS)
    monkeypatch.setattr(evaluate_loss, "mean", killed)
    assert program("--config", TINY, "--mode", "eval", "--workdir", tmp_path / "run", **LOSS).status == 130
    monkeypatch.setattr(evaluate_loss, "mean", whole)
    (last,) = (tmp_path / "run/eval/parts").rglob("loss_00180.npz")
    last.unlink()
    shutil.copy(runs / "43" / LAST, tmp_path / "run" / LAST)
    run(TINY, "eval", tmp_path / "run", **LOSS)
    assert calls[0] == 1
    assert loss(tmp_path / "run") == loss(tmp_path / "fresh")


def test_another_source_of_a_plugin(tmp_path: Path) -> None:
    """1385 is not printed for 0.0013."""
    plugin = tmp_path / "constant.py"
    given: dict[str, Any] = {
        "plugins": plugin, "eval__enable_constant": True, "eval__enable_loss": False, "eval__enable_bpd": False,
        "eval__enable_sampling": False,
    }  # fmt: skip
    for value in ("1385.0", "0.0013"):
        plugin.write_text(CONSTANT.replace("VALUE", value))
        outcome = run(GAUSSIAN, "eval", tmp_path / "run", **given)
        assert numbers(tmp_path / "run")["constant"]["value"] == float(value)
        assert outcome.out.split("constant ")[1].split()[0] == value.removesuffix(".0")
    assert "of other components; they are made anew" in outcome.err


def test_code_of_the_user_is_that_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python knows its bytecode by the source's size and second, which are the same here; and none lies beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "mine.py"
    for value in (1, 2):
        file.write_text(f"VALUE = {value}\n")
        os.utime(file, (10**9, 10**9))
        assert value == load_module(file, "plugin_mine").VALUE
    assert list(tmp_path.iterdir()) == [file]


def test_other_data_under_the_same_name(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "42", tmp_path / "run")
    (tmp_path / "ffhq").mkdir()
    given = {**LOSS, "data__dataset": "FFHQ", "data__root": tmp_path}
    levels, found = np.random.default_rng(0).integers(0, 17, (9, 1, 8, 8), dtype=np.uint8), []
    for images in (levels, 16 - levels):
        np.save(tmp_path / "ffhq/test.npy", images)
        outcome = run(TINY, "eval", tmp_path / "run", **given)
        found.append(loss(tmp_path / "run"))
    assert "of other data, test; they are made anew" in outcome.err
    shutil.rmtree(tmp_path / "run/eval")
    run(TINY, "eval", tmp_path / "run", **given)
    assert found[1] == loss(tmp_path / "run") != found[0]


def test_a_report_of_the_program_before(runs: Path, tmp_path: Path) -> None:
    """It is read; its numbers, which do not say what they are of, are made anew."""
    shutil.copytree(runs / "42", tmp_path / "run")
    run(TINY, "eval", tmp_path / "run", **LOSS)
    path = tmp_path / "run/eval/report.json"
    content, value = json.loads(path.read_text()), loss(tmp_path / "run")
    del content["made_from"], content["numbers"][0]["fingerprint"]
    content["numbers"][0]["value"] = 99.0
    path.write_text(json.dumps(content))
    outcome = run(TINY, "eval", tmp_path / "run", **LOSS)
    assert "of a program that did not record what they depend on; they are made anew" in outcome.err
    assert loss(tmp_path / "run") == value


def test_a_number_of_another_fingerprint_is_not_there(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.json")
    was, now = Basis({"weights": "a", "program": "p"}), Basis({"weights": "b", "program": "p", "times": "t"})
    assert report.begin(6, NUMBER.config_hash, was) == ""
    report.add(replace(NUMBER, fingerprint=was.hash))
    report.lose("bpd/test", 6, NUMBER.config_hash, {3: "it diverged"}, was.hash)
    again = Report(report.path)
    assert again.has("bpd/test", 6, NUMBER.config_hash, was.hash)
    assert "1 numbers of step 6 are of other times and weights" in again.begin(6, NUMBER.config_hash, now)
    assert not again.has("bpd/test", 6, NUMBER.config_hash, now.hash)
    assert again.of(6, NUMBER.config_hash, now.hash) == again.lost(6, NUMBER.config_hash, now.hash) == []
    assert len(again.lost(6, NUMBER.config_hash, was.hash)) == 1
    again.add(replace(NUMBER, fingerprint=now.hash))
    assert "lost" not in json.loads(report.path.read_text()), "of the number that there is, none is"


# Parts -------------------------------------------------------------------------------------------------


def test_base_samples_and_a_guide_are_parts(tmp_path: Path) -> None:
    """Replacing the file, or one weight of the classifier, changes that part and no other."""
    base = tmp_path / "base.npz"
    fields = {
        "training__sde": "ddpm", "sampling__predictor": "ancestral_sampling", "sampling__grid": "uniform",
        "training__task": "superres", "model__name": "adm_superres", "data__low_res_size": 4,
        "sampling__base_samples": str(base), "model__num_scales": 20,
    }  # fmt: skip
    found = []
    for value in (3, 4):
        np.savez(base, arr_0=np.full((2, 1, 4, 4), value, dtype=np.uint8))
        found.append(basis_of_samples(planned(tiny(), plans.sampling, fields)))
    assert found[1].changed(found[0].parts) == ["base samples"]
    plan = planned(tiny(), plans.sampling)
    guides = [torch.nn.Linear(2, 2) for _ in range(2)]
    one, other = (basis_of_samples(replace(plan, guidance=replace(plan.guidance, guide=g))) for g in guides)
    assert one.changed(other.parts) == ["classifier"]
    exact = {"guidance__name": "classifier", "guidance__classifier": "exact"}
    config = ROOT / "configs/toy/mixture_2d.py"
    assert planned(load_config_file(str(config)), plans.sampling, exact).guidance.guide is not None


def test_times_that_are_stored_are_a_part() -> None:
    plan = planned(tiny(), plans.sampling, {"sampling__grid": "optimised"})
    other = replace(plan, sampler=replace(plan.sampler, times=plan.sampler.times * 0.5))
    assert basis_of_samples(plan).changed(basis_of_samples(other).parts) == ["times"]


# Tables, results and grids -----------------------------------------------------------------------------


SCORER = '''
from run_lib.tuning.scores import Metric, Score, Scorer, register_scorer


@register_scorer
class Fixed(Scorer):
    """A number of the source."""

    metrics = (Metric("fixed", "least", "fixed"),)

    def scores(self, samples):
        return (Score("fixed", VALUE + float(samples.std())),)
'''


def test_scores_of_another_source_are_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "scorer.py"
    plugin.write_text(SCORER.replace("VALUE", "1"))
    given: dict[str, Any] = {
        "plugins": plugin, "tune__scorer": "fixed", "tune__sweep": "num_steps=2,3", "tune__num_samples": 4,
        "tune__repeats": 2,
    }  # fmt: skip
    run(GAUSSIAN, "tune", tmp_path / "run", **given)
    run(GAUSSIAN, "tune", tmp_path / "run", **given)
    plugin.write_text(SCORER.replace("VALUE", "2"))
    command = ("--config", GAUSSIAN, "--mode", "tune", "--workdir", tmp_path / "run")
    assert "holds scores of other settings (components was" in program(*command, **given).error
    (tmp_path / "run/tune/settings.json").unlink()
    assert "holds files that are not of this mode" in program(*command, **given).error


def test_scores_against_other_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ffhq").mkdir()
    given = {
        "data__dataset": "FFHQ", "data__root": tmp_path, "data__levels": 256, "tune__scorer": "data",
        "tune__sweep": "num_steps=2,3", "tune__num_samples": 70, "tune__repeats": 2, "tune__rows": 0,
    }  # fmt: skip
    generator = np.random.default_rng(0)
    for split in ("train", "test", "test"):
        np.save(tmp_path / f"ffhq/{split}.npy", generator.integers(0, 256, (70, 1, 8, 8), dtype=np.uint8))
        if split == "test":
            outcome = program("--config", IMAGE, "--mode", "tune", "--workdir", tmp_path / "run", **given)
    assert "holds scores of other settings (data, test was" in outcome.error


def reconstructed(workdir: Path, source: Path) -> Any:
    return program(
        "--config", IMAGE, "--mode", "reconstruct", "--workdir", workdir, data__dataset="digits", data__levels=256,
        reconstruct__num_steps=5, reconstruct__input=source,
    )  # fmt: skip


def test_another_image_under_the_same_name_is_reconstructed(tmp_path: Path) -> None:
    """Its error is that of a folder with this image alone; the other image is left as it is."""

    def errors(workdir: Path) -> dict[str, str]:
        with (workdir / "reconstruct/table.csv").open(newline="") as file:
            return {row["image"]: row["error"] for row in csv.DictReader(file)}

    for name, seed in (("a", 0), ("b", 1)):
        save(tmp_path / f"in/{name}.png", random_pixels(seed))
    assert reconstructed(tmp_path / "run", tmp_path / "in").status == 0
    before = errors(tmp_path / "run")
    kept = tmp_path / "run/reconstruct/reconstruction/b.png"
    stamp = kept.stat().st_mtime_ns
    save(tmp_path / "in/a.png", random_pixels(2))
    save(tmp_path / "alone/a.png", random_pixels(2))
    outcome = reconstructed(tmp_path / "run", tmp_path / "in")
    assert "1 images are not those of" in outcome.err
    assert reconstructed(tmp_path / "fresh", tmp_path / "alone").status == 0
    now, wanted = errors(tmp_path / "run"), errors(tmp_path / "fresh")
    assert float(now["a.png"]) == pytest.approx(float(wanted["a.png"]), rel=1e-5)
    assert now["a.png"] != before["a.png"]
    assert now["b.png"] == before["b.png"]
    assert kept.stat().st_mtime_ns == stamp
    assert "images are not those" not in reconstructed(tmp_path / "run", tmp_path / "in").err


def test_no_old_report_beside_the_results_of_an_interrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("--config", IMAGE, "--mode", "control", "--workdir", tmp_path)
    given = {"control__num_images": 1, "sampling__num_steps": 2}
    assert program(*command, **given).status == 0
    (report,) = tmp_path.rglob("report.json")

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(control, "_restore", killed)
    assert program(*command, **given).status == 130
    assert [path.name for path in report.parent.iterdir() if path.is_file()] == ["settings.json"]


def found_at_once(*args: Any) -> OptimisedGrid:
    """A pilot that searches nothing."""
    return OptimisedGrid(Density((0.0, 1.0)), 0.1, 0.2, 5)


@pytest.mark.slow
def test_times_found_for_other_weights_are_refused(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_grids, "optimise_grid", found_at_once)
    shutil.copytree(runs / "42", tmp_path / "run")
    run(TINY, "tune", tmp_path / "run", tune__grid=True, tune__pilot_samples=2)
    optimised = {"sampling__grid": "optimised", "sampling__num_samples": 1}
    run(TINY, "sample", tmp_path / "run", **optimised)
    shutil.copy(runs / "43" / LAST, tmp_path / "run" / LAST)
    command = ("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run")
    error = program(*command, **optimised).error
    assert "were found for other weights: make it anew" in error
    (path,) = (tmp_path / "run").rglob("*.grids.json")
    content = json.loads(path.read_text())
    tuned = {
        "tune__sweep": "num_steps=3",
        "tune__num_samples": 2,
        "tune__repeats": 2,
        "tune__scorer": "fixed",
    }
    (tmp_path / "scorer.py").write_text(SCORER.replace("VALUE", "1"))
    del content["grids"][0]["made_from"]
    path.write_text(json.dumps(content))
    tuned |= {"plugins": str(tmp_path / "scorer.py"), "sampling__grid": "optimised"}
    run(TINY, "tune", tmp_path / "run", **tuned)
    content["grids"][0]["times"][1] *= 0.9
    path.write_text(json.dumps(content))
    command = ("--config", TINY, "--mode", "tune", "--workdir", tmp_path / "run")
    assert "holds scores of other settings (times was" in program(*command, **tuned).error
    outcome = run(TINY, "sample", tmp_path / "run", **optimised)
    assert "does not say for which weights its times were found" in outcome.err
