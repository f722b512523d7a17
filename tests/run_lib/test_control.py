"""--mode control: what it writes is what it says, whatever the batch; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.run_lib.pictures import pixels_of, random_pixels, save, truncated
from tests.run_lib.program import ROOT, Outcome, program

CONFIG = ROOT / "configs/toy/gaussian_image.py"
DISC = np.array([[0.8 if (i - 3.5) ** 2 + (j - 3.5) ** 2 < 9 else -0.8 for j in range(8)] for i in range(8)])
STD = 0.2
"""Of the configuration's density: N(DISC, STD^2 I) in the network's range, [-1, 1]."""

EIGHT_BITS = {"data__dataset": "digits", "data__levels": 256, "sampling__num_steps": 6}
COLOUR = (
    "from configs.toy.gaussian_image import get_config as grey\n\n\ndef get_config():\n"
    "    config = grey()\n    config.data.num_channels = 3\n    config.model.unlock()\n"
    "    with config.model.ignore_type():\n        config.model.mean = 0.0\n    return config\n"
)


def control(workdir: Path, task: str, *, config: Path = CONFIG, **overrides: object) -> Outcome:
    """A task, with fields of config.control written plainly and others with their section."""
    named = {
        (name if "__" in name else f"control__{name}"): value
        for name, value in {"task": task, **overrides}.items()
    }
    return program("--config", config, "--mode", "control", "--workdir", workdir, **named)


def done(workdir: Path, task: str, *, config: Path = CONFIG, **overrides: object) -> Path:
    """A run that must succeed; the folder of its results."""
    outcome = control(workdir, task, config=config, **overrides)
    assert outcome.status == 0, outcome.err
    method = overrides.get("method")
    return workdir / "control" / task / str(method) if method else workdir / "control" / task


def results(folder: Path) -> np.ndarray:
    """(N, C, H, W); the file has the channels last."""
    with np.load(folder / "results.npz") as held:
        array: np.ndarray = held["arr_0"].transpose(0, 3, 1, 2)
        return array


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def blocks(x: np.ndarray) -> np.ndarray:
    """Means of blocks of 2x2."""
    return x.reshape(*x.shape[:-2], 4, 2, 4, 2).mean((-3, -1))


def spread(y: np.ndarray) -> np.ndarray:
    return y.repeat(2, -1).repeat(2, -2)


# What it computes


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"method": "pseudo_inverse", "data_std": STD}, id="pseudo_inverse"),
        pytest.param(
            {"method": "moment_matching", "iterations": 2}, id="moment_matching", marks=pytest.mark.slow
        ),
        pytest.param(
            {"method": "pseudo_inverse", "data_std": STD, "sampling__method": "ode"},
            id="probability flow",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_super_resolution_of_gaussian_data(how: dict[str, object], tmp_path: Path) -> None:
    """For data N(m, c^2 I) and block means y of 4 pixels without noise, the posterior is m + spread(y - A m) with
    covariance c^2 (I - A^+ A): every pixel's standard deviation is c sqrt(3/4). Both methods are exact here, and
    the flow of the wrapped model carries the prior to the same law. 150 samples: five standard errors, and the
    width of the last time's noise."""
    rng = np.random.default_rng(0)
    image = (DISC + STD * rng.standard_normal((8, 8))).astype(np.float32)
    np.savez(tmp_path / "in.npz", arr_0=image[None, None])
    flow = {"sampling__rtol": 1e-4, "sampling__atol": 1e-4}
    options = flow if "sampling__method" in how else {"sampling__num_steps": 40}
    folder = done(tmp_path, "superres", input=tmp_path / "in.npz", samples=150, **how, **options)
    found = results(folder)[:, 0].astype(float)
    mean, std = DISC + spread(blocks(image) - blocks(DISC)), STD * 0.75**0.5
    assert np.abs(blocks(found) - blocks(image)).max() < 2e-3
    assert np.abs(found.mean(0) - mean).max() < 5 * std / 150**0.5
    assert np.abs(found.std(0) / std - 1).max() < 5 / (2 * 150) ** 0.5
    held = report(folder)
    assert held["mean"]["residual"] < 2e-3
    assert (held["mean"]["pullbacks"] > 0, held["count"]) == (True, 150)


def test_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    """PSNR, SSIM and residual from the written images, by their definitions. SSIM: 7x7 windows that lie inside
    the image, sample covariances, constants 0.01^2 and 0.03^2 (Wang et al. 2004)."""
    for seed in range(2):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
    folder = done(tmp_path, "superres", input=tmp_path / "in", method="dps", samples=2, **EIGHT_BITS)
    held = report(folder)
    assert held["count"] == 4
    psnr = []
    for seed, image in enumerate(held["images"]):
        truth = random_pixels(seed) / 255
        assert image["image"] == f"{seed}.png"
        for k, one in enumerate(image["results"]):
            assert one["file"] == f"results/{seed}_{k}.png"
            found = pixels_of(folder / one["file"]) / 255
            assert np.array_equal(found * 255, results(folder)[2 * seed + k, 0])
            assert one["psnr"] == pytest.approx(-10 * np.log10(((found - truth) ** 2).mean()), abs=1e-6)
            assert one["ssim"] == pytest.approx(ssim(found, truth), abs=1e-6)
            # The residual is of the result before it is rounded, by at most half a level of 2/255.
            residual = np.sqrt(((blocks(found) - blocks(truth)) ** 2).mean()) * 2
            assert one["residual"] == pytest.approx(residual, abs=1 / 255)
            assert (one["nfe"], one["pullbacks"]) == (6, 6)
            psnr.append(one["psnr"])
    assert held["mean"]["psnr"] == pytest.approx(np.mean(psnr))
    blurred = [spread(blocks(random_pixels(seed) / 255)) for seed in range(2)]
    expected = [-10 * np.log10(((b - random_pixels(s) / 255) ** 2).mean()) for s, b in enumerate(blurred)]
    assert held["measurement"]["psnr"] == pytest.approx(np.mean(expected), abs=1e-4)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    values = []
    for i in range(2):
        for j in range(2):
            x, y = a[i : i + 7, j : j + 7].ravel(), b[i : i + 7, j : j + 7].ravel()
            (vx, c), (_, vy) = np.cov(x, y)
            numerator = (2 * x.mean() * y.mean() + 1e-4) * (2 * c + 9e-4)
            values.append(numerator / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (vx + vy + 9e-4)))
    return float(np.mean(values))


def test_picture_and_known_pixels(tmp_path: Path) -> None:
    """Input, measurement with grey where nothing is known, results, each pixel 6 times as large, margins of 2. The
    known half is the input's, bit for bit."""
    pixels = random_pixels(0)
    save(tmp_path / "in/a.png", pixels)
    folder = done(tmp_path, "inpaint", input=tmp_path / "in", samples=2, **EIGHT_BITS)
    grid = pixels_of(folder / "grid.png")
    assert grid.shape == (52, 202, 3)
    seen = [grid[2:50:6, 2 + 50 * k : 50 * (k + 1) : 6, 0] for k in range(4)]
    masked = np.vstack([pixels[:4], np.full((4, 8), 128)])
    assert np.array_equal(seen[0], pixels)
    assert np.abs(seen[1].astype(int) - masked).max() <= 1
    for k in range(2):
        found = pixels_of(folder / f"results/a_{k}.png")
        assert np.array_equal(seen[2 + k], found)
        assert np.array_equal(found[:4], pixels[:4])
    assert not np.array_equal(seen[2], seen[3]), "another sample each"
    assert report(folder)["mean"]["residual"] == 0


def test_result_is_a_function_of_seed_image_and_number(tmp_path: Path) -> None:
    """Whatever the batch, the number of images and of samples, and with an unreadable image among them."""
    noisy = {"method": "moment_matching", "noise_std": 0.1, **EIGHT_BITS}
    for seed in range(3):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
        save(tmp_path / f"damaged/{seed}.png", random_pixels(seed))
    (tmp_path / "damaged/1.png").write_bytes(b"no image")

    def run(name: str, **how: object) -> np.ndarray:
        outcome = control(tmp_path / name, "deblur", **{"input": tmp_path / "in", **noisy, **how})
        assert outcome.status == ("broken" in name), outcome.err
        return results(tmp_path / name / "control/deblur/moment_matching").astype(int)

    everything = run("all", samples=3)
    assert np.abs(run("batches", samples=3, sampling__batch_size=2) - everything).max() <= 1
    assert np.abs(run("one sample") - everything[::3]).max() <= 1
    assert np.abs(run("two images", samples=3, num_images=2) - everything[:6]).max() <= 1
    broken = run("broken", samples=3, input=tmp_path / "damaged")
    assert np.abs(broken - everything[[0, 1, 2, 6, 7, 8]]).max() <= 1
    assert np.abs(run("other seed", samples=3, sampling__seed=7) - everything).max() > 10


@pytest.mark.parametrize(
    ("task", "how"),
    [
        ("inpaint", {"mask": "box", "method": "repaint", "jump_length": 2, "resamplings": 2}),
        ("inpaint", {"mask": "random", "fraction": 0.3, "method": "pseudo_inverse", "data_std": STD}),
        ("inpaint", {"unknown": "left", "noise_std": 0.05}),
        ("superres", {"factor": 4, "method": "replacement"}),
        ("deblur", {"std": 0.7, "boundary": "reflect", "data_std": STD}),
        ("compressed_sensing", {"measurements": 20, "method": "moment_matching"}),
        ("mri", {"lines": 4, "centre": 2, "data_std": STD}),
        ("fourier", {"lines": 3, "data_std": STD}),
    ],
)
def test_task(task: str, how: dict[str, Any], tmp_path: Path) -> None:
    """Every task leaves a residual of the measurement's noise, on the data's own draws."""
    folder = done(tmp_path, task, sampling__num_steps=60, num_images=4, **how)
    assert report(folder)["mean"]["residual"] == pytest.approx(how.get("noise_std", 0), abs=0.02)


def test_colorize(tmp_path: Path) -> None:
    """The mean over the channels, which is all that is known, is the input's."""
    config = tmp_path / "colour.py"
    config.write_text(COLOUR)
    pixels = random_pixels(0, channels=3)
    save(tmp_path / "in/a.png", pixels)
    folder = done(tmp_path, "colorize", config=config, input=tmp_path / "in", **{**EIGHT_BITS, "data__levels": 0,
                  "data__dataset": "exact"})  # fmt: skip
    found = results(folder)[0]
    assert found.mean(0) == pytest.approx(pixels.transpose(2, 0, 1).mean(0) / 127.5 - 1, abs=1e-5)
    grid = pixels_of(folder / "grid.png")
    measured = grid[2:50:6, 52:100:6]
    assert np.abs(measured.astype(int) - pixels.mean(2, keepdims=True)).max() <= 1, "grey in the picture"


def test_mask_file(tmp_path: Path) -> None:
    """White is known; another size or a grey pixel is refused with the file's name."""
    save(tmp_path / "in/a.png", random_pixels(0))
    known = random_pixels(1) > 127
    mask = save(tmp_path / "mask.png", known.astype(np.uint8) * 255)
    folder = done(tmp_path, "inpaint", input=tmp_path / "in", mask=mask, **EIGHT_BITS)
    same = pixels_of(folder / "results/a.png") == random_pixels(0)
    assert same[known].all()
    assert not same[~known].all()
    grey = save(tmp_path / "grey.png", random_pixels(1))
    error = control(tmp_path / "x", "inpaint", mask=grey, **EIGHT_BITS).error
    assert f"config.control.mask={grey}: a mask holds 1 (known) and 0 (unknown) only" in error
    large = save(tmp_path / "large.png", np.full((16, 16), 255, dtype=np.uint8))
    error = control(tmp_path / "x", "inpaint", mask=large, **EIGHT_BITS).error
    assert "large.png: the mask has shape (16, 16), which does not broadcast to samples" in error


def test_sdedit(tmp_path: Path) -> None:
    """The result departs from the image with the strength, and the evaluations are those of the grid below it."""
    distance, nfe = [], []
    for strength in (0.05, 0.3, 1.0):
        folder = done(
            tmp_path / str(strength), "sdedit", strength=strength, num_images=2, sampling__num_steps=40
        )
        held = report(folder)
        distance.append(-held["mean"]["psnr"])
        nfe.append(held["mean"]["nfe"])
        assert held["mean"]["residual"] is None
    assert distance == sorted(distance)
    assert nfe == sorted(nfe)
    assert nfe[2] == 40
    assert pixels_of(folder / "grid.png").shape[1] == 2 * 50 + 2, "input and result: nothing is measured"


@pytest.mark.parametrize("method", ["ddim", pytest.param("ode", marks=pytest.mark.slow)])
def test_interpolation(method: str, tmp_path: Path) -> None:
    """Five frames from the first image to the second; the ends return to them, by the flow to its tolerance."""
    for seed in range(3):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
    settings = {**EIGHT_BITS, "sampling__num_steps": 100}
    assert (
        control(tmp_path, "interpolate", input=tmp_path / "in", method=method, frames=5, **settings).status
        == 0
    )
    folder = tmp_path / "control/interpolate"
    frames = results(folder)[:, 0].astype(int)
    assert len(frames) == 5, "the third image has no partner"
    tolerance = {"ddim": 12, "ode": 1}[method]
    assert np.abs(frames[0] - random_pixels(0)).max() <= tolerance
    assert np.abs(frames[4] - random_pixels(1)).max() <= tolerance
    assert pixels_of(folder / "grid.png").shape == (52, 7 * 50 + 2, 3)


def test_own_operator(tmp_path: Path) -> None:
    """A registered operator is a task by its name; one whose adjoint is wrong is refused by the dot-product test."""
    plugin = tmp_path / "columns.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from samplers.operators import LinearOperator, register_operator\n\n\n"
        "@dataclass(frozen=True, eq=False)\nclass Sums(LinearOperator):\n    wrong: bool\n\n"
        "    def apply(self, x):\n        return x.sum(-1)\n\n"
        "    def adjoint(self, y):\n        return y[..., None].expand(*y.shape, 8) * (2 if self.wrong else 1)\n\n\n"
        "@register_operator(name='row_sums')\ndef row_sums(shape):\n    return Sums(False)\n\n\n"
        "@register_operator(name='wrong_sums')\ndef wrong_sums(shape):\n    return Sums(True)\n"
    )
    outcome = program(
        "--config", CONFIG, "--mode", "control", "--workdir", tmp_path, f"--config.plugins={plugin}",
        control__task="row_sums", control__num_images=2, control__data_std=STD, sampling__num_steps=60,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert report(tmp_path / "control/row_sums")["mean"]["residual"] < 0.02
    error = program(
        "--config", CONFIG, "--mode", "control", "--workdir", tmp_path, f"--config.plugins={plugin}",
        control__task="wrong_sums",
    ).error  # fmt: skip
    assert "Sums.adjoint is not the adjoint of apply" in error


# What it leaves and refuses


def test_results_of_an_earlier_run_are_replaced_and_other_files_are_not(tmp_path: Path) -> None:
    for seed in range(2):
        save(tmp_path / f"in/{seed}.png", random_pixels(seed))
    settings = {"input": tmp_path / "in", **EIGHT_BITS}
    folder = done(tmp_path, "inpaint", **settings)
    assert {p.name for p in (folder / "results").iterdir()} == {"0.png", "1.png"}
    done(tmp_path, "inpaint", num_images=1, **settings)
    assert {p.name for p in (folder / "results").iterdir()} == {"0.png"}
    save(tmp_path / "other/a.png", random_pixels(2))
    error = control(tmp_path, "inpaint", output=tmp_path / "other", **settings).error
    assert "other holds files that are not of this mode, and nothing of them is overwritten" in error
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["a.png"]


def test_unreadable_files_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png", random_pixels(0))
    truncated(tmp_path / "in/b.png", random_pixels(1))
    outcome = control(tmp_path, "superres", input=tmp_path / "in", **EIGHT_BITS)
    assert outcome.status == 1
    assert "warning: 1 of 2 images could not be read and were skipped:\n  b.png: it is damaged" in outcome.err
    held = report(tmp_path / "control/superres")
    assert [image["image"] for image in held["images"]] == ["a.png"]
    assert [one["image"] for one in held["skipped"]] == ["b.png"]


@pytest.mark.parametrize(
    ("overrides", "messages"),
    [
        ({"task": "inpainting"}, ["unknown config.control.task 'inpainting'", "Did you mean 'inpaint'?"]),
        ({"task": "superes"}, ["Did you mean 'superres'?"]),
        ({"method": "replacment"}, ["unknown config.control.method 'replacment'", "Did you mean 'replacement'?"]),
        ({"mask": "boxx"}, ["unknown config.control.mask 'boxx'", "Did you mean 'box'?", "white where pixels"]),
        ({"unknown": "bottom"}, ["one of lower, upper, left, right; got 'bottom'"]),
        ({"mask": "box", "height": 9}, ["a box of 9 x 4", "does not lie in an image of 8 x 8"]),
        ({"factor": 4}, ["config.control.factor is set, but", "control.task='superres'"]),
        ({"task": "superres", "factor": 3}, ["down-sampling by 3 does not divide an image of 8 x 8"]),
        ({"task": "superres", "mask": "half"}, ["config.control.mask is set, but task 'superres'"]),
        ({"task": "colorize"}, ["a grey image is of 2 channels or more, got 1"]),
        ({"task": "deblur", "std": 0.0}, ["standard deviation, in pixels, must be positive; got 0.0"]),
        ({"task": "compressed_sensing", "measurements": 65}, ["a sample of 64 elements allows 1 to 64"]),
        ({"task": "mri", "lines": 9}, ["1 to 8 can be measured"]),
        ({"task": "deblur", "method": "replacement", "noise_std": 0.1},
         ["only where A A^T is a multiple of the identity, which Blur's is not", "take pseudo_inverse or"]),
        ({"noise_std": -0.1}, ["config.control.noise_std must be at least 0, got -0.1"]),
        ({"sampling__method": "ode"}, ["method='replacement' works between the steps of a predictor",
                                       "take a method that wraps the model"]),
        ({"method": "repaint", "jump_length": 300}, ["RePaint needs 1 <= jump_length < 200"]),
        ({"method": "dps", "zeta": -1.0}, ["dps needs a positive zeta"]),
        ({"task": "sdedit", "strength": 1.5}, ["strength lies in (0, 1]", "got 1.5"]),
        ({"task": "sdedit", "method": "dps"}, ["'sdedit' takes the sampler as it is and no config.control.method"]),
        ({"task": "sdedit", "noise_std": 0.1}, ["'sdedit' measures nothing"]),
        ({"task": "sdedit", "sampling__method": "ode"}, ["set sampling.method='pc'"]),
        ({"task": "interpolate", "method": "dps"}, ["unknown config.control.method 'dps'; registered: ddim, ode"]),
        ({"task": "interpolate", "num_images": 1}, ["config.control.input has 1: give"]),
        ({"task": "interpolate", "samples": 2}, ["'interpolate' draws nothing"]),
        ({"task": "interpolate", "frames": 1}, ["interpolate's frames lies in [2, 10000], got 1"]),
        ({"input": "/no/where"}, ["config.control.input='/no/where' is neither 'test' nor 'train'"]),
        ({"label": 1}, ["config.control.label is set, but the network is told no class"]),
        ({"samples": 0}, ["config.control.samples must be at least 1, got 0"]),
    ],
)  # fmt: skip
def test_wrong_settings(overrides: dict[str, object], messages: list[str], tmp_path: Path) -> None:
    """One error that says what to do, before any work: nothing is written but the configuration."""
    error = control(tmp_path, **{"task": "inpaint", **overrides}).error  # type: ignore[arg-type]
    for message in messages:
        assert message in error
    assert not (tmp_path / "control").exists()


def test_wrong_images(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png", random_pixels(0, channels=3))
    (tmp_path / "empty").mkdir()
    error = control(tmp_path, "inpaint", input=tmp_path / "in", **EIGHT_BITS).error
    assert "not of the data's shape (1, 8, 8): a.png is colour" in error
    assert "--config.control.convert takes the first frame" in error
    error = control(tmp_path, "inpaint", input=tmp_path / "empty", **EIGHT_BITS).error
    assert "there are no images in config.control.input=" in error


def test_points_are_no_images(tmp_path: Path) -> None:
    error = control(tmp_path, "inpaint", config=ROOT / "configs/toy/gaussian_2d.py").error
    assert "takes images with 1 or 3 channels, and this configuration's data have the shape (2,)" in error
