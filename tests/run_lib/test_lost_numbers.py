"""Numbers and results of which some are not finite: those are named, the others stand, and the status is 3."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import run_lib.evaluation.restoration as restoration
from run_lib.config.sampling import SamplingPlan
from run_lib.editing.lost_results import where_finite
from run_lib.sample import Batch, LostSamplesError
from samplers.pc import SampleResult
from sde_lib.finite import NotFiniteError
from tests.run_lib.pictures import save
from tests.run_lib.program import TINY, Outcome, numbers, program, run, written
from tests.run_lib.test_evaluation_errors import SIGNS
from tests.run_lib.test_tasks import SUPERRES

DATA = "the image holds NaN or infinite values"
NETWORK = "a value became NaN or infinite"
DARK = """
import torch
from configs.base import get_config as default
from models import Network, register_model


@register_model
class Dark(Network):
    has_weights = False

    def forward(self, x, labels, **cond):
        bright = x.flatten(1).mean(1) > 0.5
        return torch.where(bright[:, None, None, None], torch.nan, 0 * x)


def get_config():
    config = default()
    config.device = "cpu"
    config.model.name = "dark"
    config.data.dataset, config.data.image_size, config.data.num_channels = "digits", 8, 1
    config.data.random_flip = False
    config.sampling.num_steps = 4
    config.control.task = "interpolate"
    config.control.frames = 2
    return config
"""
"""Of noise that it is told nothing of, and NaN where a state is bright."""
SMOOTH = """
import torch
from run_lib.data.levels import Arrays
from run_lib.data.sources import register_dataset


@register_dataset
def smooth(split):
    x = torch.linspace(-0.5, 0.5, 64).reshape(1, 1, 8, 8) * torch.linspace(0.1, 1, 12)[:, None, None, None]
    if split == "test":
        x[list(ROWS)] = float("nan")
    return Arrays(x, torch.zeros(12, dtype=torch.int64))
"""
ONLY = {"eval__enable_bpd": False, "eval__enable_sampling": False, "eval__enable_loss": False}
RESTORING = {**SUPERRES, **ONLY, "eval__enable_restoration": True, "training__n_iters": 1}
CONTINUOUS = {"data__dataset": "smooth", "data__levels": 0}


def ends(status: int, outcome: Outcome) -> Outcome:
    assert outcome.status == status, outcome.err
    assert any(line.startswith("incomplete: ") for line in outcome.err.splitlines()[-1:]) == (status == 3)
    return outcome


def lost(workdir: Path) -> list[tuple[str, int, str, str]]:
    """Name of the number, index, what it is and the beginning of the reason, as the report has them."""
    held = json.loads((workdir / "eval/report.json").read_text())["lost"]
    return [(one["name"], one["index"], one["what"], one["reason"].partition("; ")[0]) for one in held]


@pytest.mark.parametrize("batch", [1024, 3])
def test_accuracy(batch: int, tmp_path: Path) -> None:
    """At t=1e-3 a sign is right with certainty, alpha / sigma = 95: of 20 images one is NaN, and of one the logits."""
    file = tmp_path / "signs.py"
    spoilt = SIGNS.replace("torch.cat([-x, x], 1)", "torch.cat([-x, torch.where(x > 5, torch.nan, x)], 1)")
    odd = "x[::2] = -1; x[7] = torch.nan; x[5] = 9"
    file.write_text(spoilt.replace("2000", "20").replace("x[::2] = -1", odd))
    fields = {"eval__accuracy_levels": 1, "eval__batch_size": batch}
    for _ in range(2):
        said = ends(3, program("--config", file, "--mode", "eval", "--workdir", tmp_path, **fields)).err
        assert "2 images have no number" in said
        ((name, number),) = numbers(tmp_path).items()
        assert (name, number["value"], number["count"]) == ("accuracy/test, t=0.001", 1.0, 18)
        assert lost(tmp_path) == [(name, 5, "image", NETWORK), (name, 7, "image", DATA)]


def test_accuracy_of_a_network_that_gives_no_number(tmp_path: Path) -> None:
    file = tmp_path / "signs.py"
    spoilt = SIGNS.replace("torch.cat([-x, x], 1)", "torch.cat([-x, x * torch.nan], 1)")
    file.write_text(spoilt.replace("2000", "6"))
    ends(3, program("--config", file, "--mode", "eval", "--workdir", tmp_path, eval__accuracy_levels=2))
    assert numbers(tmp_path) == {}
    first, last = (f"accuracy/test, t={t}" for t in ("0.001", "1"))
    assert lost(tmp_path) == [(name, k, "image", NETWORK) for name in (first, last) for k in range(6)]


@pytest.fixture(scope="module")
def enlarging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of enlarged digits."""
    workdir = tmp_path_factory.mktemp("enlarging")
    run(TINY, "train", workdir, **SUPERRES, training__n_iters=1)
    return workdir


def test_restoration_where_samples_are_lost(enlarging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 360 samples in batches of 128 those of index 2 and 130: nothing is measured, also by a second run."""
    drawn: list[int] = []

    def spoilt(plan: SamplingPlan, rows: Sequence[int]) -> Batch:
        drawn.extend(rows)
        if bad := [row for row in rows if row in (2, 130)]:
            raise LostSamplesError(bad)
        return Batch(torch.zeros(len(rows), 1, 8, 8, dtype=torch.int64), None, 7)

    monkeypatch.setattr(restoration, "draw", spoilt)
    command = ("--config", TINY, "--mode", "eval", "--workdir", enlarging, "--eval_folder", "lost")
    for _ in range(2):
        said = ends(3, program(*command, **RESTORING, sampling__batch_size=128)).err
        assert "2 samples have no number" in said
        held = json.loads((enlarging / "lost/report.json").read_text())
        assert held["numbers"] == []
        assert [(one["index"], one["what"]) for one in held["lost"]] == [(2, "sample"), (130, "sample")]
    assert drawn == list(range(360)), "the second run reads what the first has drawn"


def test_restoration_of_weights_that_are_not_finite(tmp_path: Path, enlarging: Path) -> None:
    held = torch.load(enlarging / "checkpoints/step_00000001.pt", weights_only=True)
    next(iter(held["ema"]["shadow"].values())).view(-1)[0] = torch.nan
    (tmp_path / "checkpoints").mkdir()
    torch.save(held, tmp_path / "checkpoints/step_00000001.pt")
    command = ("--config", TINY, "--mode", "eval", "--workdir", tmp_path)
    ends(3, program(*command, **RESTORING, sampling__batch_size=360))
    assert numbers(tmp_path) == {}
    assert [(index, what) for _, index, what, _ in lost(tmp_path)] == [(k, "sample") for k in range(360)]


def plus(added: float, seen: list[int]) -> Any:
    """Samples that are the test images of ``smooth`` and a constant."""

    def drawn(plan: SamplingPlan, rows: Sequence[int]) -> Batch:
        seen.extend(rows)
        return Batch(plan.data.load("test").images[list(rows)] + added, None, 7)

    return drawn


def test_restoration_of_test_images_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are a quarter too bright, in a range of 2: PSNR 20 log10(8), and small images a quarter too bright."""
    (tmp_path / "smooth.py").write_text(SMOOTH.replace("ROWS", "(0, 5, 6, 7, 8)"))
    fields = {**RESTORING, **CONTINUOUS, "plugins": tmp_path / "smooth.py"}
    run(TINY, "train", tmp_path, **{k: v for k, v in fields.items() if not k.startswith("eval")})
    seen: list[int] = []
    monkeypatch.setattr(restoration, "draw", plus(0.25, seen))
    command = ("--config", TINY, "--mode", "eval", "--workdir", tmp_path)
    ends(3, program(*command, **fields, sampling__batch_size=3))
    found = numbers(tmp_path)
    assert seen == [1, 2, 3, 4, 9, 10, 11], "of the third batch none"
    assert found["psnr/test images"]["value"] == pytest.approx(20 * math.log10(2 / 0.25))
    assert found["error of small images"]["value"] == pytest.approx(0.25)
    assert found["psnr/test images"]["nfe"] == 7
    assert {number["count"] for number in found.values()} == {7}
    assert lost(tmp_path) == [("psnr/test images", k, "image", DATA) for k in (0, 5, 6, 7, 8)]


def test_restoration_of_no_test_image_that_is_finite(tmp_path: Path) -> None:
    (tmp_path / "smooth.py").write_text(SMOOTH.replace("ROWS", "range(12)"))
    fields = {**RESTORING, **CONTINUOUS, "plugins": tmp_path / "smooth.py"}
    run(TINY, "train", tmp_path, **{k: v for k, v in fields.items() if not k.startswith("eval")})
    ends(3, program("--config", TINY, "--mode", "eval", "--workdir", tmp_path, **fields))
    assert numbers(tmp_path) == {}
    assert lost(tmp_path) == [("psnr/test images", k, "image", DATA) for k in range(12)]


def test_restoration_without_any_error_or_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PSNR of no error is infinite and no number."""
    (tmp_path / "smooth.py").write_text(SMOOTH.replace("ROWS", "()"))
    fields = {**RESTORING, **CONTINUOUS, "plugins": tmp_path / "smooth.py"}
    run(TINY, "train", tmp_path, **{k: v for k, v in fields.items() if not k.startswith("eval")})
    monkeypatch.setattr(restoration, "draw", plus(0.0, []))
    said = run(TINY, "eval", tmp_path, **fields).out
    assert "psnr/test images is left out: there is no error at all" in said
    assert list(numbers(tmp_path)) == ["psnr/bicubic enlargement", "error of small images"]
    assert "bicubic enlargement is left out" not in said
    assert numbers(tmp_path)["error of small images"]["value"] == 0


@pytest.mark.parametrize(("bad", "wanted"), [((), [0, 1, 2]), ((1,), [0, 2]), ((0, 1, 2), [])])
def test_rows_that_a_solver_refuses_are_left_out_and_the_others_solved(
    bad: tuple[int, ...], wanted: list[int]
) -> None:
    def work(rows: list[int]) -> SampleResult:
        if places := [place for place, row in enumerate(rows) if row in bad]:
            raise NotFiniteError("", places[:1])  # one at a time
        return SampleResult(torch.tensor(rows), 3)

    rows, found = where_finite(work, 3)
    assert rows == wanted
    assert (found is None) == (not wanted)
    assert found is None or found.x.tolist() == wanted


def test_a_solver_that_names_no_row_has_no_result() -> None:
    def work(rows: list[int]) -> SampleResult:
        raise NotFiniteError("")

    assert where_finite(work, 3) == ([], None)


def interpolated(folder: Path, method: str, names: dict[str, int]) -> Outcome:
    for name, value in names.items():
        save(folder / f"in/{name}.png", np.full((8, 8), value, np.uint8))
    (folder / "dark.py").write_text(DARK)
    return program(
        "--config", folder / "dark.py", "--mode", "control", "--workdir", folder, control__input=folder / "in",
        control__num_images=0, control__method=method,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["ddim", "ode"])
def test_interpolation(method: str, tmp_path: Path) -> None:
    """A pair with a bright image is lost, whether the solver says so or a frame shows it; the others are as alone."""
    whole = {"c": 10, "d": 90, "g": 60, "h": 20}
    ends(0, interpolated(tmp_path / "alone", method, whole))
    alone = tmp_path / "alone/control/interpolate"
    some = {"a": 30, "b": 255, **whole, "i": 255, "j": 255}
    outcome = ends(3, interpolated(tmp_path / "all", method, some))
    assert "2 results are not finite and not written: those of a.png, i.png. " in outcome.err
    found = tmp_path / "all/control/interpolate"
    results = [f"results/{name}_{k}.png" for name in ("c", "g") for k in range(2)]
    assert [name for name in written(found) if name.startswith("results/")] == results
    for name in results:
        assert (found / name).read_bytes() == (alone / name).read_bytes()
    reports = [json.loads((place / "report.json").read_text()) for place in (alone, found)]
    assert [one["image"] for one in reports[1]["images"]] == ["c.png", "g.png"]
    assert reports[0]["mean"]["nfe"] == pytest.approx(reports[1]["mean"]["nfe"])


@pytest.mark.parametrize("method", ["ddim", "ode"])
def test_interpolation_of_which_nothing_is_finite(method: str, tmp_path: Path) -> None:
    ends(3, interpolated(tmp_path, method, {"a": 255, "b": 255}))
    assert written(tmp_path / "control") == ["interpolate/settings.json"]


def test_a_dequantisation_that_cannot_be_fitted(tmp_path: Path) -> None:
    run(TINY, "train", tmp_path, training__n_iters=1)
    path = tmp_path / "checkpoints/step_00000001.pt"
    held = torch.load(path, weights_only=True)
    next(iter(held["ema"]["shadow"].values())).view(-1)[0] = torch.nan
    torch.save(held, path)
    fields = {**ONLY, "eval__enable_bpd": True, "eval__bpd_dequantisation": "variational"}
    fields |= {"eval__dequantisation_batch_size": 3}
    said = ends(3, program("--config", TINY, "--mode", "eval", "--workdir", tmp_path, **fields)).err
    assert "the bound is not finite at step 0 of fitting the dequantisation, with training images" in said
    assert not list(tmp_path.rglob("dequantisation.pt"))
