"""Points that people learn with, from training to pictures; and a model guided by a worse one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from run_lib.data.toys import two_moons
from tests.run_lib.program import GAUSSIAN, ROOT, numbers, program, run

MOONS = ROOT / "configs/toy/moons_mlp.py"
SMALL: dict[str, Any] = {
    "device": "cpu", "data__num_draws": 64, "model__nf": 8, "model__num_res_blocks": 1, "training__n_iters": 2,
    "training__batch_size": 8, "training__snapshot_freq": 2, "sampling__num_samples": 6, "sampling__num_steps": 4,
    "sampling__trajectory": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moons")
    for name, width in (("good", 8), ("worse", 4)):
        run(MOONS, "train", folder / name, **{**SMALL, "model__nf": width})
    return folder


def samples(folder: Path, **fields: Any) -> np.ndarray:
    run(MOONS, "sample", folder / "good", **{**SMALL, **fields})
    with np.load(folder / "good/samples/samples.npz") as file:
        return np.array(file["arr_0"])


@pytest.mark.slow
def test_the_worse_model_of_another_run_guides(trained: Path) -> None:
    """At scale 1 it is without effect; at another one the samples are those of both networks' mixture."""
    plain = samples(trained)
    guide = {"guidance__name": "autoguidance", "guidance__guide": trained / "worse"}
    same = samples(trained, **guide, guidance__scale=1.0)
    assert np.array_equal(plain, same)
    assert not np.allclose(plain, samples(trained, **guide, guidance__scale=3.0), atol=1e-6)
    # A model as its own guide is not guided: D + (w - 1)(D - D).
    itself = {**guide, "guidance__guide": trained / "good/checkpoints/checkpoint_2.pth"}
    if not itself["guidance__guide"].is_file():
        itself["guidance__guide"] = trained / "good"
    assert np.allclose(plain, samples(trained, **itself, guidance__scale=3.0), atol=1e-4)
    written = json.loads((trained / "good/samples/samples.json").read_text())
    assert written["nfe"] == 8


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"guidance__name": "autoguidance"}, "needs a worse model of the same data: set guidance.guide"),
        (
            {"guidance__name": "autoguidance", "guidance__guide": "nowhere"},
            "guidance.guide='nowhere' is no checkpoint",
        ),
        ({"guidance__name": "cfg_plus_plus"}, "guidance.name='cfg_plus_plus' needs a network with classes"),
        ({"guidance__name": "projected"}, "guidance.name='projected' needs a network with classes"),
        (
            {"guidance__name": "cfg_plus_plus", "model__num_classes": 2, "training__label_dropout": 0.1},
            "puts back noise of its own in a step of ddim",
        ),
    ],
)
def test_what_guidance_needs_is_said(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = program("--config", MOONS, "--mode", "sample", "--workdir", tmp_path, **{**SMALL, **fields})
    assert said in found.error


def test_a_guide_of_another_process_is_refused(trained: Path) -> None:
    fields = {**SMALL, "guidance__name": "autoguidance", "guidance__guide": trained / "worse"}
    found = program(
        "--config", MOONS, "--mode", "sample", "--workdir", trained / "new", **fields, model__path="cosine"
    )
    assert "was trained with another process" in found.error


def test_the_likelihood_is_beside_the_datas_own(trained: Path) -> None:
    """The mean of -log p of the very points, by their density."""
    fields = {"eval__bpd_num_images": 16, "eval__enable_sampling": False, "eval__enable_density": False}
    run(MOONS, "eval", trained / "good", **SMALL, **fields)
    found = numbers(trained / "good")
    made = two_moons("test", num_draws=64)
    assert made.density is not None
    exact = -made.density.log_density(made.images[:16]).mean().item()
    assert found["nats/test, exact"]["value"] == pytest.approx(exact, rel=1e-9)
    assert found["nats/test"]["count"] == 16


def test_a_run_says_that_it_starts_below_pure_noise(trained: Path) -> None:
    fields = {**SMALL, "sampling__predictor": "heun", "sampling__grid": "uniform"}
    heun = run(MOONS, "sample", trained / "good", **fields)
    assert "starts at t=0.9995, below 1, where alpha is 0" in heun.out
    ddim = run(MOONS, "sample", trained / "good", **{**fields, "sampling__predictor": "ddim"})
    assert "starts at" not in ddim.out


def test_the_density_is_drawn_and_has_its_mass(tmp_path: Path) -> None:
    """A Gaussian of 0.5 and 0.2 in a box 1.2 times as wide as 2000 draws of it: next to all of it is inside."""
    fields = {"eval__enable_bpd": False, "eval__enable_sampling": False, "eval__enable_density": True}
    run(GAUSSIAN, "eval", tmp_path, device="cpu", eval__density_points=24, sampling__num_steps=5, **fields)
    found = numbers(tmp_path)["mass in the picture"]
    assert found["value"] == pytest.approx(1, abs=2e-3)
    own = float(found["note"].removeprefix("the data's own: "))
    assert own == pytest.approx(found["value"], abs=2e-3)
    (path,) = (tmp_path / "eval").glob("density_*.png")
    with Image.open(path) as picture:
        assert picture.size == (1500, 500)


def test_densities_of_images_are_not_drawn(tmp_path: Path) -> None:
    found = program(
        "--config", ROOT / "configs/toy/gaussian_image.py", "--mode", "eval", "--workdir", tmp_path,
        eval__enable_density=True,
    )  # fmt: skip
    assert "eval.enable_density draws the density of a model of points in the plane" in found.error
