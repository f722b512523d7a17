"""Work on given images by a model of latents: reconstruction, restoration, editing, and scores of samples.

The codec is orthogonal (see ``test_latents``) and the model an exact Gaussian, so that everything has a closed form in
pixels.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.config import plans
from run_lib.config.tuning import scorer_of
from run_lib.data.codecs import Codec
from run_lib.showing.studio import _png
from run_lib.tuning.scorers import AgainstData
from samplers.editing import intermediate_time
from sde_lib import Noise
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT, TINY, numbers, program, run
from tests.run_lib.test_latents import COUNT, MEAN, STD, haar, images, of_images

CONFIG = ROOT / "configs/toy/gaussian_image.py"
HELD = 50
"""Images of the test split."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With images, in ``packed`` their latents, and in ``test.npz`` the test images."""
    made = tmp_path_factory.mktemp("latents")
    images(made / "images")
    run(TINY, "pack", made / "run", pack__path=made / "packed", **of_images(made / "images"))
    np.savez(made / "test.npz", arr_0=np.load(made / "images/test.npy"))
    return made


def levels(folder: Path, split: str = "test") -> np.ndarray:
    return np.load(folder / f"images/{split}.npy").astype(np.float64)  # type: ignore[no-any-return]


def pixels(folder: Path, split: str = "test") -> np.ndarray:
    """In [-1, 1]."""
    return 2 * levels(folder, split) / 65535 - 1


def exact(folder: Path, std: float = 1.0, **more: Any) -> dict[str, Any]:
    """A model of the latents, which the network sees with mean 0 and deviation 1: N(0, std^2)."""
    return {
        **of_images(folder / "packed"), "model__name": "gaussian", "model__mean": 0.0, "model__std": std,
        "data__latent_mean": (6 * MEAN, 0.0, 0.0, 0.0), "data__latent_std": 3 * STD, **more,
    }  # fmt: skip


def plan_of(folder: Path, planner: Any, **more: Any) -> Any:
    from configs.toy.gaussian_image import get_config

    fields = {name: str(v) if isinstance(v, Path) else v for name, v in exact(folder, **more).items()}
    return planned(get_config(), planner, fields)


def results(folder: Path) -> np.ndarray:
    """In [-1, 1], (N, 1, 4, 4)."""
    with np.load(folder / "results.npz") as held:
        return 2 * held["arr_0"].transpose(0, 3, 1, 2).astype(np.float64) / 65535 - 1


# Reconstruction --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["test", "test.npz"])
def test_a_reconstruction_is_that_of_the_latents_decoded(source: str, folder: Path, tmp_path: Path) -> None:
    """DDIM of a Gaussian multiplies what is left of the mean by a number at each step; in pixels by the same."""
    given = source if source == "test" else folder / source
    fields = {"std": 0.5, "reconstruct__num_steps": 5, "reconstruct__input": given}
    run(CONFIG, "reconstruct", tmp_path, **exact(folder, **fields))
    plan = plan_of(folder, plans.reconstruction, **fields)
    level = plan.sampling.model.process.marginal(plan.inversion.times)
    alpha, sigma = level.alpha.double().numpy(), level.sigma.double().numpy()
    factor = 1.0
    for a, b in [*zip(range(4, 0, -1), range(3, -1, -1)), *zip(range(4), range(1, 5))]:
        factor *= (alpha[b] * alpha[a] / 4 + sigma[b] * sigma[a]) / (alpha[a] ** 2 / 4 + sigma[a] ** 2)
    x = pixels(folder)
    expected = np.abs((factor - 1) * (x - MEAN)).reshape(HELD, -1).mean(1) / 2
    assert expected.min() > 1e-3
    with (tmp_path / "reconstruct/table.csv").open() as file:
        found = [float(row["error"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    with Image.open(tmp_path / "reconstruct/reconstruction/00000.png") as back:
        shown = MEAN + factor * (x[0, 0] - MEAN)
        assert np.abs(np.asarray(back) - (shown + 1) / 2 * 255).max() <= 0.51


# Restoration -----------------------------------------------------------------------------------------------------


def test_inpainting_keeps_known_pixels_and_draws_the_others(folder: Path, tmp_path: Path) -> None:
    fields = {"control__task": "inpaint", "control__num_images": 20, "control__samples": 4,
              "control__method": "replacement", "sampling__num_steps": 100}  # fmt: skip
    run(CONFIG, "control", tmp_path, **exact(folder, **fields))
    found, x = results(tmp_path / "control/inpaint/replacement"), pixels(folder)[:20].repeat(4, 0)
    np.testing.assert_allclose(found[:, :, :2], x[:, :, :2], atol=1e-9)
    unknown = found[:, :, 2:]
    assert abs(unknown.mean() - MEAN) < 5 * STD / unknown.size**0.5
    assert abs(unknown.std() / STD - 1) < 5 / (2 * unknown.size) ** 0.5
    held = json.loads((tmp_path / "control/inpaint/replacement/report.json").read_text())
    assert held["mean"]["residual"] < 1e-6
    with Image.open(tmp_path / "control/inpaint/replacement/results/00000_0.png") as png:
        assert png.size == (4, 4)


def test_the_latents_of_known_blocks_are_projected(folder: Path) -> None:
    """Before the known pixels are put into the result, the decoded latents have them."""
    fields = {"control__task": "inpaint", "control__method": "replacement", "sampling__num_steps": 5}
    plan = plan_of(folder, plans.control, **fields)
    x = torch.from_numpy(pixels(folder)[:5]).float()
    y = plan.work.measure(x, Noise(0, range(5)))
    z = plan.work.method.sample((5, 4, 2, 2), y, Noise(1, range(5))).x
    decoded = plan.sampling.data.decoded(z)
    torch.testing.assert_close(decoded[:, :, :2], x[:, :, :2], rtol=0, atol=1e-4)
    assert (decoded[:, :, 2:] - x[:, :, 2:]).abs().max() > 0.1
    assert torch.equal(plan.work.shown(y)[:, :, 2:], torch.zeros(5, 1, 2, 4))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pseudo_inverse", "moment_matching"])
def test_super_resolution_goes_through_the_decoder(method: str, folder: Path, tmp_path: Path) -> None:
    """Independent pixels given means of blocks: these are kept, and what is left of a pixel has 3/4 of the variance."""
    more = {"control__iterations": 2} if method == "moment_matching" else {}
    fields = {"control__task": "superres", "control__num_images": 20, "control__samples": 4,
              "control__method": method, "sampling__num_steps": 40, **more}  # fmt: skip
    run(CONFIG, "control", tmp_path, **exact(folder, **fields))
    found, x = results(tmp_path / f"control/superres/{method}"), pixels(folder)[:20].repeat(4, 0)

    def means(of: np.ndarray) -> np.ndarray:
        return of.reshape(-1, 2, 2, 2, 2).mean((2, 4))

    assert np.abs(means(found) - means(x)).max() < 1e-2 * STD
    rest = found - means(found).repeat(2, 1).repeat(2, 2)[:, None]
    assert abs(rest.std() / (STD * 0.75**0.5) - 1) < 5 / (2 * rest.size * 0.75) ** 0.5
    held = json.loads((tmp_path / f"control/superres/{method}/report.json").read_text())
    assert held["mean"]["pullbacks"] > 0
    assert held["mean"]["residual"] < 1e-2 * STD


def test_an_edit_keeps_a_share_of_the_image(folder: Path, tmp_path: Path) -> None:
    """Of data N(0, 1) the regression of a result on its image is alpha^2 at the time that it is noised to."""
    fields = {"control__task": "sdedit", "control__strength": 0.2, "control__num_images": 0,
              "sampling__num_steps": 60}  # fmt: skip
    run(CONFIG, "control", tmp_path, **exact(folder, **fields))
    found, x = results(tmp_path / "control/sdedit") - MEAN, pixels(folder) - MEAN
    process = plan_of(folder, plans.control, **fields).sampling.model.process
    share = float(process.marginal(intermediate_time(process, 0.2)).alpha) ** 2
    assert 0.5 < share < 0.8
    slope = (found * x).sum() / (x * x).sum()
    assert abs(slope - share) < 5 * (1 - share**2) ** 0.5 / x.size**0.5


def test_interpolation_is_along_the_circle_between_latents(folder: Path, tmp_path: Path) -> None:
    """The flow of N(0, 1) data moves nothing: in the middle is the latents' own, decoded."""
    fields = {"control__task": "interpolate", "control__num_images": 4, "control__frames": 3, "control__method": "ode",
              "sampling__rtol": 1e-6, "sampling__atol": 1e-6}  # fmt: skip
    run(CONFIG, "control", tmp_path, **exact(folder, **fields))
    found, x = results(tmp_path / "control/interpolate").reshape(2, 3, 1, 4, 4), pixels(folder)[:4]
    np.testing.assert_allclose(found[:, 0], x[::2], atol=1e-4)
    np.testing.assert_allclose(found[:, 2], x[1::2], atol=1e-4)
    z = haar(x - MEAN).reshape(4, -1)
    a, b = z[::2], z[1::2]
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    half = np.arccos(cosine) / 2
    weight = np.sin(half) / np.sin(2 * half)
    middle = haar(found[:, 1] - MEAN).reshape(2, -1)
    np.testing.assert_allclose(middle, weight[:, None] * (a + b), atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"control__task": "inpaint", "control__noise_std": 0.1}, "set config.control.noise_std=0, or take dps"),
        ({"control__task": "superres", "control__method": "replacement"}, "or the task 'inpaint'"),
        ({"control__task": "inpaint", "control__mask": "random"}, "hides a pixel of every block of 2 x 2"),
    ],
)  # fmt: skip
def test_what_latents_do_not_hold_is_refused(
    fields: dict[str, Any], said: str, folder: Path, tmp_path: Path
) -> None:
    more = {"control__method": "replacement", **fields}
    error = program(
        "--config", CONFIG, "--mode", "control", "--workdir", tmp_path, **exact(folder, **more)
    ).error
    assert said in error
    assert "\n" not in error


def test_a_decoder_without_gradients_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(folder, plans.control, control__task="superres", control__method="dps")
    kind: type[Codec] = type(plan.sampling.data.latents.codec)
    monkeypatch.setattr(kind, "decode", torch.no_grad()(kind.decode))
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="takes a decoder that passes gradients on"):
        plan.work.restore(x, Noise(0, range(1)))


# Scores and pictures ---------------------------------------------------------------------------------------------


def test_a_sweep_scores_decoded_samples_against_decoded_data(folder: Path, tmp_path: Path) -> None:
    """By levels of the images themselves, which this codec gives back."""
    fields = {"tune__num_samples": 100, "tune__sweep": "num_steps=2,10", "tune__repeats": 2, "tune__rows": 1}
    plan = plan_of(folder, plans.tuning, **fields)
    real = np.concatenate([levels(folder, "train"), levels(folder)])
    samples = np.random.default_rng(1).normal(40000, 3000, (100, 1, 4, 4)).round()
    ours = scorer_of(plan.values, plan.sampling.data, 100, torch.device("cpu")).scores(samples)
    assert ours == AgainstData(real, 100).scores(samples)
    run(CONFIG, "tune", tmp_path, **exact(folder, **fields, tune__metric="frechet"))
    table = (tmp_path / "tune/table.csv").read_text()
    by_steps = {row["num_steps"]: float(row["frechet"]) for row in csv.DictReader(io.StringIO(table))}
    deviation = STD * 65535 / 2
    assert by_steps["10"] < 16 * deviation**2 * 0.2
    assert (tmp_path / "tune/picture.png").is_file()


def test_metrics_of_a_sweep_are_of_decoded_data(folder: Path) -> None:
    fields = {"tune__scorer": "metrics", "tune__metrics": "frechet@pixels", "tune__num_samples": COUNT,
              "tune__sweep": "num_steps=2"}  # fmt: skip
    plan = plan_of(folder, plans.tuning, **fields)
    scorer = scorer_of(plan.values, plan.sampling.data, COUNT, torch.device("cpu"))
    same = np.load(folder / "images/train.npy").astype(np.int32)
    (none,), (some,) = scorer.scores(same), scorer.scores(same + 1000)
    assert abs(none.value) < 1e-6 * some.value


def test_samples_are_evaluated_against_decoded_data(folder: Path, tmp_path: Path) -> None:
    fields = {
        "eval__enable_sampling": True, "eval__enable_bpd": False, "eval__enable_loss": False,
        "eval__metrics": "pixels,frechet@pixels", "eval__num_samples": 200, "sampling__num_steps": 20,
    }  # fmt: skip
    run(CONFIG, "eval", tmp_path, **exact(folder, **fields))
    found, variance = numbers(tmp_path), (STD * 65535 / 2) ** 2
    ours = found["frechet/pixels"]
    assert 0 < ours["value"] < 16 * variance * 0.2
    assert ours["note"] == "to all real decoded images"
    assert found["precision"]["value"] > 0.5


def test_the_page_shows_decoded_samples(folder: Path) -> None:
    """Latents at their mean are a grey image."""
    plan = plan_of(folder, plans.sampling)
    with Image.open(io.BytesIO(_png(plan, torch.zeros(1, 4, 2, 2)))) as shown:
        centre = np.asarray(shown)[shown.height // 2, shown.width // 2]
    assert np.abs(centre - (MEAN + 1) / 2 * 255).max() <= 1
