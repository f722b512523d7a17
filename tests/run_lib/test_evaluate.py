"""Evaluation: numbers against closed forms, each made once, of the checkpoints that were asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from run_lib.data.sources import digits
from run_lib.evaluation import ode as evaluate_likelihood
from run_lib.evaluation import sample_sets as evaluate_samples
from run_lib.evaluation.base import register_evaluation
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, numbers, program, run

FIELDS = {"name", "value", "stderr", "count", "unit", "nfe", "seconds", "seed", "config_hash", "step", "note",
          "stderr_images", "stderr_draws", "stderr_probes", "fingerprint", "arithmetic", "protocol", "low", "high",
          "sets"}  # fmt: skip
ONLY = {
    "loss": {"eval__enable_bpd": False, "eval__enable_sampling": False, "eval__enable_loss": True},
    "bpd": {"eval__enable_bpd": True, "eval__enable_sampling": False, "eval__enable_loss": False},
    "sampling": {"eval__enable_bpd": False, "eval__enable_sampling": True, "eval__enable_loss": False},
}

SAMPLED = {
    "frechet/pixels": ("squared levels", 70),
    "frechet/training images to test images": ("squared levels", 360),
    "frechet/fitted Gaussian": ("squared levels", 70),
    "precision": ("", 70),
    "precision/test images": ("", 360),
    "recall": ("", 70),
    "copies": ("", 70),
}
"""Unit and count of the numbers of 70 samples and 360 test images."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of steps 3 and 6; evaluations go to folders of their own."""
    workdir = tmp_path_factory.mktemp("trained")
    run(TINY, "train", workdir, training__snapshot_freq=3)
    return workdir


def test_loss_of_an_exact_score(tmp_path: Path) -> None:
    """What is left of the noise when the score is exact: Var[eps | x_t] = (alpha s)^2 / ((alpha s)^2 +
    sigma^2).

    Averaged over t by quadrature, and over the two coordinates, of standard deviations 0.5 and 0.2.
    """
    run(GAUSSIAN, "eval", tmp_path, **ONLY["loss"])
    found = numbers(tmp_path)["loss/test"]
    t = 1e-5 + (1 - 1e-5) * (np.arange(100_000) + 0.5) / 100_000
    alpha2 = np.exp(-(0.1 * t + 9.95 * t**2))
    left = np.mean([np.mean(alpha2 * s**2 / (alpha2 * s**2 + 1 - alpha2)) for s in (0.5, 0.2)])
    assert found["value"] == pytest.approx(left, abs=4 * found["stderr"])
    assert found["stderr"] < 0.06 * left
    assert (found["count"], found["nfe"]) == (2000, 1)


@pytest.mark.parametrize("config", ["gaussian_2d", "mixture_2d", "gaussian_image", "mixture_image"])
def test_likelihood_of_an_exact_score(config: str, tmp_path: Path) -> None:
    """The ODE's nats are those of the closed form on the same points; densities are continuous: no bits/dim.

    To 1e-3 bits/dim, for the prior is not quite p_T; and with one probe an image, to its error.
    """
    exact_trace = {"eval__bpd_divergence": "exact"} if "2d" in config else {"eval__bpd_repeats": 4}
    run(
        ROOT / f"configs/toy/{config}.py",
        "eval",
        tmp_path,
        eval__bpd_num_images=40,
        **ONLY["bpd"],
        **exact_trace,
    )
    found = numbers(tmp_path)
    assert not any("bpd" in name for name in found)
    ours, exact = found["nats/test"], found["nats/test, exact"]
    tolerance = 1e-3 * math.log(2) * (2 if "2d" in config else 64) + 4 * ours["stderr_draws"]
    assert tolerance < 0.02 * abs(exact["value"])
    assert ours["value"] == pytest.approx(exact["value"], abs=tolerance)
    assert ours["count"] == exact["count"] == 40


def test_entropy_of_the_gaussian(tmp_path: Path) -> None:
    """-E log p = log(2 pi e) + log(0.5) + log(0.2) in the plane."""
    run(GAUSSIAN, "eval", tmp_path, eval__bpd_num_images=2000, **ONLY["bpd"], eval__batch_size=2000)
    found = numbers(tmp_path)["nats/test"]
    entropy = math.log(2 * math.pi * math.e * 0.5 * 0.2)
    assert found["value"] == pytest.approx(entropy, abs=4 * found["stderr"])
    # The variance of -log p is that of half a chi-squared of two degrees of freedom: 1.
    assert found["stderr"] == pytest.approx(1 / math.sqrt(2000), rel=0.1)


def test_samples_of_an_exact_score(tmp_path: Path) -> None:
    """Samples are as near to the data as the data's two splits are to one another."""
    run(GAUSSIAN, "eval", tmp_path, **ONLY["sampling"])
    found = numbers(tmp_path)
    assert (
        found["frechet/coordinates"]["value"] < 2 * found["frechet/training points to test points"]["value"]
    )
    assert found["frechet/coordinates"]["unit"] == "squared units of the data"
    assert found["precision"]["value"] == pytest.approx(found["precision/test points"]["value"], abs=0.03)
    assert found["recall"]["value"] > 0.95
    assert found["frechet/coordinates"]["nfe"] == 200, (
        "ancestral sampling's 199 steps and the closing estimate"
    )


def test_report_is_complete(trained: Path) -> None:
    run(TINY, "eval", trained, "--eval_folder", "complete", seed=5)
    found = numbers(trained, "complete")
    assert {
        "loss/test",
        "bpd/test",
        "nats/test",
        "frechet/pixels",
        "precision",
        "recall",
        "copies",
    } < found.keys()
    assert all(set(number) == FIELDS for number in found.values())
    hashes = {n["config_hash"] for n in found.values()}
    assert {n["seed"] for n in found.values()} == {5}
    assert {n["step"] for n in found.values()} == {6}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 12
    bpd, nats = found["bpd/test"], found["nats/test"]
    assert (bpd["count"], bpd["unit"], nats["unit"]) == (6, "bits/dim", "nats")
    assert bpd["stderr"] > 0
    assert bpd["seconds"] > 0
    assert bpd["nfe"] >= 7, "a step of an order-5 pair has six or seven stages"
    assert found["loss/test"]["count"] == 360
    assert found["frechet/pixels"]["count"] == 70
    assert found["frechet/pixels"]["nfe"] == 3
    # 17 levels on [-1, 1] in 64 dimensions
    assert bpd["value"] == pytest.approx(nats["value"] / (64 * math.log(2)) + math.log2(17 / 2))
    assert found["bpd/uniform density"]["value"] == pytest.approx(math.log2(17))
    assert found["bpd/pixel histograms, test"]["value"] == pytest.approx(2.4, abs=0.05)
    assert {name: (found[name]["unit"], found[name]["count"]) for name in SAMPLED} == SAMPLED


def test_hash_is_of_what_was_configured(trained: Path) -> None:
    for size in (60, 45, 60):
        run(
            TINY,
            "eval",
            trained,
            "--eval_folder",
            "hash",
            **ONLY["loss"],
            eval__batch_size=size,
            training__times="uniform",
        )
    report = json.loads((trained / "hash/report.json").read_text())["numbers"]
    assert len(report) == 2
    assert len({n["config_hash"] for n in report}) == 2
    assert report[0]["value"] == pytest.approx(report[1]["value"], rel=1e-5), "batches do not matter"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "module", "work", "batches"),
    [("sampling", evaluate_samples, "draw", 18), ("bpd", evaluate_likelihood, "log_likelihood", 2)],
)
def test_interrupted_evaluation_goes_on(
    task: str,
    module: ModuleType,
    work: str,
    batches: int,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """70 samples in batches of 4, 6 images in batches of 4: stopped in the second batch, the first is not
    made again.
    """
    whole, calls = getattr(module, work), [0]

    def stopped(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return whole(*args, **kwargs)

    fields = {**ONLY[task], "eval__batch_size": 4}
    at_once, in_parts = ("--eval_folder", f"{task} at once"), ("--eval_folder", f"{task} in parts")
    monkeypatch.setattr(module, work, stopped)
    outcome = program("--config", TINY, "--mode", "eval", "--workdir", trained, *in_parts, **fields)
    assert outcome.status == 130
    assert "the same command goes on" in outcome.err
    monkeypatch.setattr(module, work, counted)
    calls[0] = 0
    run(TINY, "eval", trained, *in_parts, **fields)
    assert calls[0] == batches - 1
    run(TINY, "eval", trained, *in_parts, **fields)
    assert calls[0] == batches - 1, "what is in the report is not made again"
    run(TINY, "eval", trained, *at_once, **fields)
    assert calls[0] == 2 * batches - 1
    a, b = (numbers(trained, folder[1]) for folder in (at_once, in_parts))
    assert {name: n["value"] for name, n in a.items()} == {name: n["value"] for name, n in b.items()}


def test_damaged_part_is_made_again(trained: Path) -> None:
    where = ("--eval_folder", "damaged")
    run(TINY, "eval", trained, *where, **ONLY["loss"])
    before = numbers(trained, "damaged")["loss/test"]["value"]
    (part,) = (trained / "damaged/parts").rglob("loss_00000.npz")
    part.write_bytes(part.read_bytes()[:100])
    (trained / "damaged/report.json").unlink()
    again = run(TINY, "eval", trained, *where, **ONLY["loss"])
    assert numbers(trained, "damaged")["loss/test"]["value"] == before
    assert again.err.count(f"note: {part} ") == 1
    assert "it is computed again" in again.err


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ({}, [6]),
        ({"eval__checkpoints": "(3,)"}, [3]),
        ({"eval__checkpoints": "(3,6)"}, [3, 6]),
        (
            {"eval__begin_ckpt": 1, "eval__end_ckpt": 2},
            [3, 6],
        ),  # in units of snapshot_freq, as score_sde counts
    ],
)
def test_which_checkpoints(asked: dict[str, Any], steps: list[int], trained: Path) -> None:
    folder = f"which {sorted(asked)} {steps}"
    run(TINY, "eval", trained, "--eval_folder", folder, training__snapshot_freq=3, **asked, **ONLY["loss"])
    report = json.loads((trained / folder / "report.json").read_text())["numbers"]
    assert [n["step"] for n in report] == steps
    assert len({n["value"] for n in report}) == len(steps), "other weights, other numbers"
    assert (trained / folder / "checkpoints.csv").is_file() == (len(steps) > 1)


def test_a_range_of_checkpoints_beside_published_weights(trained: Path, tmp_path: Path) -> None:
    """score_sde's files name a range of a training's snapshots: where there is none, and weights are given, it is
    those. Where there are snapshots, they go before the weights, which is said."""
    weights = trained / "checkpoints/step_00000006.pt"
    asked = {"eval__begin_ckpt": 9, "eval__end_ckpt": 26, "init_from": weights, **ONLY["loss"]}
    outcome = run(TINY, "eval", tmp_path, **asked)
    assert (
        f"note: the work directory has no checkpoints, of which eval.begin_ckpt=9 counts some: the weights of {weights}"
        in outcome.err
    )
    run(TINY, "eval", trained, "--eval_folder", "of the run", **ONLY["loss"])
    assert numbers(tmp_path)["loss/test"]["value"] == numbers(trained, "of the run")["loss/test"]["value"]
    beside = program("--config", TINY, "--mode", "eval", "--workdir", trained, **asked)
    assert "there is no checkpoint of step" in beside.error
    noted = run(TINY, "eval", trained, "--eval_folder", "noted", init_from=weights, **ONLY["loss"])
    assert f"note: the weights are those of {weights}, which the work directory holds" in noted.err


def test_checkpoint_that_is_not_there(trained: Path) -> None:
    error = program(
        "--config", TINY, "--mode", "eval", "--workdir", trained, eval__checkpoints="(3,5)", **ONLY["loss"]
    ).error
    assert "there is no checkpoint of step 5" in error


def test_both_spellings_of_the_split(trained: Path) -> None:
    run(TINY, "eval", trained, "--eval_folder", "a", eval__bpd_dataset="train", **ONLY["bpd"])
    run(TINY, "eval", trained, "--eval_folder", "b", eval__dataset="train", **ONLY["bpd"])
    a, b = numbers(trained, "a"), numbers(trained, "b")
    assert a["bpd/train"]["value"] == b["bpd/train"]["value"]
    assert "bpd/test" not in a


OWN = """
from dataclasses import dataclass

from run_lib.evaluation.base import Evaluation, register_evaluation


@register_evaluation
@dataclass(frozen=True)
class Spread(Evaluation):
    \"\"\"Mean distance of a split's images from a value.

    Args:
        centre: the value.
    \"\"\"

    centre: float = 0.0

    def check(self, plan):
        if self.centre < 0:
            raise ValueError("the centre of levels is not negative")

    def evaluate(self, task):
        images = task.plan.data.load(task.plan.settings.split).images.double()
        value = float((images - self.centre).abs().mean())
        task.report.add(task.number("spread", value, None, count=len(images), unit="levels"))
"""


def test_own_evaluation_with_a_setting_of_its_own(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin's class is switched on, set and checked from the command line as ours are; the mean is numpy's."""
    monkeypatch.setattr(register_evaluation, "_entries", dict(register_evaluation._entries))
    (tmp_path / "own.py").write_text(OWN)
    common: dict[str, Any] = {"plugins": str(tmp_path / "own.py"), **dict.fromkeys(ONLY["loss"], False)}
    flags = ("--mode", "eval", "--workdir", trained, "--eval_folder", "own", "--config.eval.enable_spread")
    assert program("--config", TINY, *flags, eval__centre=3.0, **common).status == 0
    test = digits("test").images.double().numpy()
    assert numbers(trained, "own")["spread"]["value"] == pytest.approx(np.abs(test - 3).mean())
    assert set(numbers(trained, "own")) == {"spread"}
    refused = program("--config", TINY, *flags, eval__centre=-1.0, **common)
    assert "the centre of levels is not negative" in refused.error
    idle = program("--config", TINY, "--mode", "eval", "--workdir", trained, eval__centre=3.0, **common)
    assert "config.eval.centre is set, but" in idle.error
    assert "set eval.enable_spread=True" in idle.error
    listed = program("--mode", "list", "spread", plugins=common["plugins"])
    assert "--config.eval.centre=0.0" in listed.out
