"""Latents: packed once, measured, scaled, decoded, and what a likelihood of them is.

The codec is a closed form: the example's orthogonal map of 2x2 blocks. Images are of Gaussian pixels rounded to 16
bits, so the latents' moments and their density are known.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from run_lib.config import plans
from run_lib.config.configuration import read
from run_lib.data.facts import scaled_deviation
from run_lib.data.latents import Coding, Latents
from run_lib.data.levels import DataSpec
from run_lib.data.packed_split import open_packed
from tests.run_lib.planned import planned, with_fields
from tests.run_lib.program import ROOT, TINY, numbers, program, run, written
from tests.run_lib.tiny import get_config as tiny

PLUGIN = ROOT / "examples/plugins/codec.py"
COUNT, SIDE = 600, 4
CODEC: dict[str, Any] = {
    "plugins": PLUGIN, "data__codec": "haar", "data__gain": 3.0, "data__levels": 0, "data__num_channels": 4,
    "data__image_size": 2, "data__centered": True, "data__uniform_dequantization": False,
    "data__random_flip": False, "data__codec_batch": 7, "data__codec_levels": 65536,
}  # fmt: skip
"""4 x 2 x 2 latents of grey images of 4 x 4."""
MEAN, STD = 0.25, 0.1
"""Of every pixel, in [-1, 1]."""


def images(root: Path) -> np.ndarray:
    """Levels (N, 1, 4, 4) of 16 bits, in files of the data set ``npy``; and classes 0, 1, 2 in turn."""
    root.mkdir()
    x = MEAN + STD * np.random.default_rng(0).standard_normal((COUNT, 1, SIDE, SIDE))
    levels = np.round((x + 1) / 2 * 65535).astype(np.uint16)
    for name, rows in (("train", slice(None)), ("test", slice(0, 50))):
        np.save(root / f"{name}.npy", levels[rows])
        np.save(root / f"{name}.labels.npy", np.arange(len(levels[rows])) % 3)
    (root / "train.json").write_text('{"classes": ["a", "b", "c"]}')
    return 2 * (levels / 65535.0) - 1


def of_images(root: Path) -> dict[str, Any]:
    return {**CODEC, "data__dataset": "npy", "data__root": root}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder with images, and below it ``packed``, their latents; and the images in [-1, 1]."""
    folder = tmp_path_factory.mktemp("latents")
    x = images(folder / "images")
    run(TINY, "pack", folder / "run", pack__path=folder / "packed", **of_images(folder / "images"))
    return folder, x


def haar(x: np.ndarray) -> np.ndarray:
    """The example's latents, written out: of a block a, b / c, d its sums and differences, halved, times 3."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    parts = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
    return 3.0 * np.concatenate(parts, axis=1) / 2


def spec(folder: Path, **fields: Any) -> DataSpec:
    packed = {**of_images(folder / "packed"), **fields}
    found: DataSpec = planned(tiny(), plans.preparation, {k: _plain(v) for k, v in packed.items()}).data
    return found


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def test_packed_latents_are_the_codecs_with_labels_and_moments(made: tuple[Path, np.ndarray]) -> None:
    folder, x = made
    z = haar(x)
    packed = np.load(folder / "packed/train.npy")
    assert packed.dtype == np.float32
    np.testing.assert_allclose(packed, z, atol=1e-6)
    assert np.load(folder / "packed/train.labels.npy").tolist() == [k % 3 for k in range(COUNT)]
    facts = json.loads((folder / "packed/train.json").read_text())
    assert facts["classes"] == ["a", "b", "c"]
    said = facts["latents"]
    assert (said["codec"], said["fingerprint"], said["image_shape"]) == ("haar", "haar, gain 3.0", [1, 4, 4])
    np.testing.assert_allclose(said["mean"], z.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(said["std"], z.std((0, 2, 3)), rtol=1e-5)
    # The population's: the sum of four pixels, halved and times 3; each latent has the pixels' deviation times 3.
    error = 5 * 3 * STD / math.sqrt(4 * COUNT)
    np.testing.assert_allclose(said["mean"], [6 * MEAN, 0, 0, 0], atol=error)
    np.testing.assert_allclose(said["std"], [3 * STD] * 4, atol=error)


def test_packing_again_does_nothing_and_of_another_codec_is_refused(made: tuple[Path, np.ndarray]) -> None:
    folder, _ = made
    again = {**of_images(folder / "images"), "pack__path": folder / "packed"}
    assert "is there already" in run(TINY, "pack", folder / "run", **again).out
    other = program(
        "--config", TINY, "--mode", "pack", "--workdir", folder / "run", **{**again, "data__gain": 2.0}
    )
    assert "holds something else and is not overwritten" in other.error


def test_decoding_is_the_inverse(made: tuple[Path, np.ndarray]) -> None:
    """Scaled or not; more than a batch of the codec's. Levels of 16 bits come back exactly."""
    folder, x = made
    data = spec(folder, data__latent_mean=(1.5, 0.0, 0.1, 0.0), data__latent_std=0.3)
    found = data.load("train").read(range(COUNT)).images
    np.testing.assert_allclose(
        found, (haar(x) - np.array([1.5, 0, 0.1, 0]).reshape(4, 1, 1)) / 0.3, atol=1e-5
    )
    assert data.latents is not None
    np.testing.assert_allclose(data.latents.decoded(found), x, atol=1e-6)
    assert data.shown.shape == (1, 4, 4)
    assert torch.equal(data.to_levels(found), torch.from_numpy(np.round((x + 1) / 2 * 65535)).int())


def test_codes_are_made_some_at_a_time(made: tuple[Path, np.ndarray]) -> None:
    """Seven as ``codec_batch`` says, and the last rest."""
    folder, _ = made
    data, sizes = spec(folder), list[int]()
    assert data.latents is not None
    codec = data.latents.codec
    kept = type(codec).decode

    def noted(self: Any, z: torch.Tensor) -> torch.Tensor:
        sizes.append(len(z))
        return kept(self, z)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(codec), "decode", noted)
        data.to_levels(torch.zeros(16, 4, 2, 2))
    assert sizes == [7, 7, 2]


def test_auto_is_what_stats_has_measured(made: tuple[Path, np.ndarray]) -> None:
    """Scaled by it, every channel has mean 0 and deviation 1, and sigma_data is 1; stats runs while they are auto."""
    folder, x = made
    z = haar(x)
    auto = {**of_images(folder / "packed"), "data__latent_mean": "auto", "data__latent_std": "auto"}
    missing = program("--config", TINY, "--mode", "describe", **auto)
    assert "config.data.latent_mean=auto takes it from" in missing.error
    assert "run --mode stats first" in missing.error
    said = run(TINY, "stats", folder / "stats", **auto).out
    assert f"sigma_data    {z.std():.4g}, the standard deviation of all values" in said, (
        "by the codec's own, 0 and 1"
    )
    fields = {k: _plain(v) for k, v in auto.items()}
    found = read(with_fields(tiny(), fields | {"model__preconditioning": "edm", "model__sigma_data": "auto"}))
    np.testing.assert_allclose(found.values.data.latent_mean, z.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(found.values.data.latent_std, z.std((0, 2, 3)), rtol=1e-5)
    assert found.values.model.sigma_data == pytest.approx(1.0, abs=1e-6)
    data = spec(folder, data__latent_mean="auto", data__latent_std="auto")
    seen = data.load("train").images.double()
    assert seen.mean((0, 2, 3)).abs().max() < 1e-5
    assert (seen.std((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-5


def test_the_deviation_of_scaled_latents() -> None:
    """Channels of mean 1 and 3, deviation 1 and 2, less 1 and halved: means 0 and 1, variances 1/4 and 1, and that of
    both together is 5/8 + 1/4."""
    codec: Any = None
    latents = Latents(codec, "", (2, 1, 1), latent_mean=1.0, latent_std=2.0)
    assert scaled_deviation(latents, (1.0, 3.0), (1.0, 2.0)) == pytest.approx(math.sqrt(7 / 8))


def test_it_trains_and_its_samples_are_images(made: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """Without a second encoding: the images are not there. Previews, pictures, PNGs and npz are decoded."""
    folder, _ = made
    fields = {**of_images(folder / "packed"), "data__gain": 3.0, "data__codec_levels": 256}
    short = {"training__n_iters": 2, "training__snapshot_freq": 2, "training__snapshot_sampling": True}
    run(TINY, "train", tmp_path, **fields, **short)
    run(TINY, "sample", tmp_path, **fields, sampling__png=True, sampling__trajectory=2)
    with np.load(tmp_path / "samples/samples.npz") as held:
        assert held["arr_0"].shape == (6, 4, 4, 1) and held["arr_0"].dtype == np.uint8
    files = written(tmp_path / "samples")
    assert "png/00005.png" in files and "trajectory.gif" in files and "samples.png" in files


class Known:
    """What the likelihoods of latents of Gaussian pixels are."""

    variance = (3 * STD) ** 2
    dims = 16

    @classmethod
    def nats(cls, z: np.ndarray) -> float:
        """The mean cost of latents (N, 4, 2, 2) under their own density."""
        centre = np.array([6 * MEAN, 0, 0, 0]).reshape(4, 1, 1)
        squares = ((z - centre) ** 2).reshape(len(z), -1).sum(1) / cls.variance
        return float((squares / 2).mean() + cls.dims / 2 * math.log(2 * math.pi * cls.variance))


def test_a_likelihood_is_of_the_latents(made: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """The model is the exact density of the scaled latents, a standard normal: what is reported is that of the codec's
    own, whatever they are scaled by."""
    folder, x = made
    exact = {
        "model__name": "gaussian", "model__mean": 0.0, "model__std": 1.0, "training__sde": "vpsde",
        "training__continuous": True, "eval__enable_bpd": True, "eval__enable_loss": False,
        "eval__enable_sampling": False, "eval__bpd_num_images": 0, "eval__bpd_divergence": "exact",
        "eval__bpd_rtol": 1e-6, "eval__bpd_atol": 1e-6, "data__latent_mean": (6 * MEAN, 0.0, 0.0, 0.0),
        "data__latent_std": 3 * STD, "eval__bpd_method": "both", "eval__bpd_levels": 100,
    }  # fmt: skip
    config = ROOT / "configs/toy/gaussian_image.py"
    run(config, "eval", tmp_path, **of_images(folder / "packed"), **exact)
    found = numbers(tmp_path)
    nats = Known.nats(haar(x)[:50])
    assert found["nats/latents of test"]["value"] == pytest.approx(nats, abs=2e-3)
    bits = found["bpd/latents of test"]
    assert bits["value"] == pytest.approx(nats / 16 / math.log(2), abs=2e-4)
    assert bits["unit"] == "bits per latent dimension"
    assert "density of the latents of haar" in bits["note"] and "not of images" in bits["note"]
    bound = found["vlb nats/latents of test"]
    (file,) = (tmp_path / "eval").glob("vlb_test_*.npz")
    with np.load(file) as held:
        scaled = float(held["total"].mean())
    assert bound["value"] == pytest.approx(scaled + 16 * math.log(3 * STD)), "of the codec's own latents"
    assert bound["value"] > nats, "it bounds the same number from above"
    assert found["vlb/latents of test"]["value"] == pytest.approx(bound["value"] / 16 / math.log(2))
    assert found["vlb/latents of test"]["unit"] == "bits per latent dimension"
    assert "density of the latents of haar" in bound["note"]
    assert not any(name.endswith("/test") for name in found), "no number is of the images"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data__gain": 2.0}, "latents of 'haar' (haar, gain 3.0), and config.data.codec is 'haar' (haar, gain 2.0)"),
        ({"data__codec": "", "data__gain": None}, "holds latents of the codec 'haar': set config.data.codec to it"),
        ({"data__random_flip": True}, "config.data.random_flip=True is of images"),
        ({"data__levels": 256}, "config.data.levels=256 is of images"),
        ({"data__latent_std": (1.0, 2.0)}, "config.data.latent_std has 2 numbers, and latents have 4 channels"),
        ({"data__latent_std": -1.0}, "latent_std must be positive, got -1.0"),
        ({"data__num_channels": 3}, "latents of 2x2 blocks have 4 channels for each of an image"),
    ],
)  # fmt: skip
def test_what_is_refused(
    fields: dict[str, Any], said: str, made: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    given = {**of_images(made[0] / "packed"), **fields}
    if not given["data__codec"]:
        given = {k: v for k, v in given.items() if "codec" not in k and "gain" not in k}
    out = program("--config", TINY, "--mode", "stats", "--workdir", tmp_path, **given)
    assert said in out.error


GOOD = {"codec": "haar", "fingerprint": "x", "image_shape": [1, 4, 4], "mean": [0.5], "std": [1]}


def test_what_a_file_says_of_latents_is_read_back() -> None:
    assert Coding.of_json(json.loads(json.dumps(Coding.of_json(GOOD).as_json()))) == Coding.of_json(GOOD)


@pytest.mark.parametrize("name", [*GOOD, "all"])
def test_a_file_that_says_something_else_of_latents_is_refused(name: str, tmp_path: Path) -> None:
    """By the file's name: whatever lies in the place of an entry, or of all."""
    np.save(tmp_path / "train.npy", np.zeros((3, 4, 2, 2), np.float32))
    for wrong in (
        None,
        3,
        "x" if name not in ("codec", "fingerprint") else 1.5,
        {},
        ["a"],
        [float("nan")],
        [[1]],
        True,
    ):
        if name == "all":
            said: Any = wrong
        else:
            said = {**GOOD, name: wrong}
        (tmp_path / "train.json").write_text(json.dumps({"classes": [], "latents": said}))
        with pytest.raises(
            ValueError, match=r'train.json has "latents" that --mode pack has not written'
        ) as found:
            open_packed(tmp_path / "train.npy")
        assert "\n" not in str(found.value)


def test_images_are_no_latents(made: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    fields = of_images(made[0] / "images")
    for mode in ("train", "stats"):
        out = program("--config", TINY, "--mode", mode, "--workdir", tmp_path, **fields)
        assert "images are encoded once, by --mode pack with the same configuration" in out.error
