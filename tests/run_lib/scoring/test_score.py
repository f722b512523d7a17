"""``--mode score``: images of whatever program against images or statistics."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from run_lib.metrics.kernel import KernelDistance
from run_lib.processes import Processes
from tests.run_lib.program import TINY, Outcome, numbers, program, run
from tests.run_lib.together import Job, together


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples and real images of 5x4 in colour, in several forms."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    fake, real = (
        rng.integers(0, top, (count, 5, 4, 3), dtype=np.uint8) for count, top in ((90, 256), (80, 200))
    )
    np.savez(folder / "fake.npz", arr_0=fake, arr_1=np.arange(90) % 3)
    np.save(folder / "real.npy", real)
    np.savez(folder / "real.npz", arr_0=real, arr_1=np.arange(80) % 3)
    (folder / "pngs").mkdir()
    for k, image in enumerate(fake):
        Image.fromarray(image).save(folder / f"pngs/{k:05d}.png")
    return folder


def score(workdir: Path, samples: Path, reference: Path | None = None, **fields: Any) -> Outcome:
    asked = {"eval__metrics": "frechet@pixels", "score__samples": samples, **fields}
    if reference is not None:
        asked["score__reference"] = reference
    return program("--mode", "score", "--workdir", workdir, **asked)


def scored(workdir: Path, *paths: Path, **fields: Any) -> dict[str, dict[str, Any]]:
    outcome = score(workdir, *paths, **fields)
    assert outcome.status == 0, outcome.err
    return numbers(workdir, "score")


def rows(path: Path) -> np.ndarray:
    held = np.load(path)
    images = held if isinstance(held, np.ndarray) else held["arr_0"]
    found: np.ndarray = images.transpose(0, 3, 1, 2).reshape(len(images), -1).astype(np.float64)
    return found


def test_the_number_is_that_of_another_program(given: Path, tmp_path: Path) -> None:
    """torch-fidelity's distance of the same pixels."""
    import torch

    wanted = fid_statistics_to_metric(
        *(
            fid_features_to_statistics(torch.from_numpy(rows(given / name)))
            for name in ("fake.npz", "real.npz")
        ),
        verbose=False,
    )["frechet_inception_distance"]
    found = scored(tmp_path, given / "fake.npz", given / "real.npz")
    assert found["Fréchet distance, pixels"]["value"] == pytest.approx(wanted, rel=1e-6)
    assert (tmp_path / "report.html").read_text().count("Fréchet distance")


@pytest.mark.parametrize(("samples", "reference"), [("pngs", "real.npy"), ("fake.npz", "real.npy")])
def test_forms_of_the_same_images_score_alike(
    given: Path, tmp_path: Path, samples: str, reference: str
) -> None:
    one = scored(tmp_path / "a", given / "fake.npz", given / "real.npz")["Fréchet distance, pixels"]
    other = scored(tmp_path / "b", given / samples, given / reference)["Fréchet distance, pixels"]
    assert other["value"] == one["value"]


def test_classes_are_scored_by_themselves(given: Path, tmp_path: Path) -> None:
    fields = {"eval__metrics": "kernel@pixels", "metrics__kernel.subset_size": 0, "eval__by_class": True}
    found = scored(tmp_path, given / "fake.npz", given / "real.npz", **fields)
    from run_lib.metrics.base import InMemory

    fake, real = rows(given / "fake.npz"), rows(given / "real.npz")
    for k in range(3):
        views = [InMemory({"features": x[np.arange(len(x)) % 3 == k]}) for x in (fake, real)]
        (wanted,) = KernelDistance(subset_size=0).measure(views[0], views[1], 0)
        assert found[f"kernel distance, pixels, class {k}"]["value"] == pytest.approx(wanted.value, rel=1e-9)


def test_statistics_of_stats_are_a_reference(tmp_path: Path) -> None:
    """Written beside the data, ours and score_sde's: the distance is that to the images."""
    from run_lib.data.sources import digits

    root = tmp_path / "data"
    root.mkdir()
    run(TINY, "stats", tmp_path / "run", data__root=root, stats__extractors="pixels")
    ours, theirs = (root / f"statistics/digits_train_pixels{end}.npz" for end in ("", "_stats"))
    with np.load(theirs) as held:
        assert held["pool_3"].shape == (1437, 64)
    real = digits("train").images.numpy()
    np.save(tmp_path / "real.npy", real)
    np.save(tmp_path / "fake.npy", digits("test").images.numpy())
    by_images = scored(tmp_path / "a", tmp_path / "fake.npy", tmp_path / "real.npy")
    error = score(tmp_path / "b", tmp_path / "fake.npy", ours).error
    assert "made in another way" in error and "17" in error and "256" in error
    name = "Fréchet distance, pixels"
    with np.load(ours) as held:
        mean, count = held["features_mean"], int(held["count"])
    np.testing.assert_allclose(mean, real.reshape(1437, -1).mean(0), rtol=1e-6)
    assert (count, by_images[name]["count"]) == (1437, 360)


@dataclass(frozen=True)
class Score(Job):
    """A start of the program."""

    fields: Mapping[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        outcome = program("--mode", "score", "--workdir", self.folder, **self.fields)
        if Processes.from_environment().is_main:
            (self.folder / "said").write_text(f"{outcome.status}\n{outcome.err}")


@pytest.mark.slow
def test_three_processes_give_the_numbers_of_one(given: Path, tmp_path: Path) -> None:
    """Bit for bit, and one that was interrupted goes on to them."""
    fields = {
        "eval__metrics": "frechet@pixels,kernel@pixels,precision_recall@pca", "metrics__kernel.subset_size": 0,
        "score__samples": given / "fake.npz", "score__reference": given / "real.npz", "eval__extractor_batch": 7,
    }  # fmt: skip
    for folder in ("1", "3"):
        (tmp_path / folder).mkdir()
    Score(tmp_path / "1", fields).run()
    together(3, [Score(tmp_path / "3", fields)])
    held = [json.loads((tmp_path / k / "score/report.json").read_text())["numbers"] for k in ("1", "3")]
    assert held[0] == held[1]
    assert len(held[0]) >= 4
    files = [sorted(p.read_bytes() for p in tmp_path.glob(f"{k}/features/*/*.npy")) for k in ("1", "3")]
    assert files[0] == files[1]


def test_nothing_is_made_twice(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scored(tmp_path, given / "fake.npz", given / "real.npz")
    monkeypatch.setattr("run_lib.scoring.features.FeatureStore.view", None)
    assert scored(tmp_path, given / "fake.npz", given / "real.npz") == first


@pytest.mark.parametrize("change", ["image", "reference"])
def test_other_images_under_the_same_name_are_scored_anew(given: Path, tmp_path: Path, change: str) -> None:
    for name in ("fake.npz", "real.npz"):
        shutil.copy(given / name, tmp_path / name)
    first = scored(tmp_path / "run", tmp_path / "fake.npz", tmp_path / "real.npz")
    name = "fake.npz" if change == "image" else "real.npz"
    with np.load(tmp_path / name) as held:
        images = held["arr_0"].copy()
    images[3] = 0
    np.savez(tmp_path / name, arr_0=images)
    again = scored(tmp_path / "run", tmp_path / "fake.npz", tmp_path / "real.npz")
    title = "Fréchet distance, pixels"
    assert again[title]["value"] != first[title]["value"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"score__samples": ""}, "which images? --config.score.samples=PATH"),
        ({"score__samples": "{folder}/nowhere.npz"}, "there is no"),
        ({"score__reference": ""}, "compares with a reference, and none is given"),
        ({"eval__metrics": "pixels"}, "are against a model's own data: take frechet@pixels"),
        (
            {"eval__metrics": "frechet@pixels", "score__reference": "{folder}/small.npy"},
            "bring both to one size",
        ),
        ({"score__samples": "{folder}/floats.npy"}, "images are scored as levels 0 to 255"),
        ({"score__samples": "{folder}/empty"}, "there are no images in"),
        ({"eval__metrics": "kernel@pixels"}, "needs at least 1000 images, and there are 90"),
    ],
)
def test_wrong_inputs(given: Path, tmp_path: Path, fields: dict[str, str], says: str) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "small.npy", np.zeros((5, 4, 4, 3), dtype=np.uint8))
    np.save(tmp_path / "floats.npy", np.linspace(-1, 1, 5 * 5 * 4 * 3, dtype=np.float32).reshape(5, 5, 4, 3))
    asked = {"eval__metrics": "frechet@pixels", "score__samples": given / "fake.npz",
             "score__reference": given / "real.npz"}  # fmt: skip
    asked |= {key: value.format(folder=tmp_path) for key, value in fields.items()}
    asked = {key: value for key, value in asked.items() if str(value)}
    error = program("--mode", "score", "--workdir", tmp_path / "run", **asked).error
    assert says in error
    assert not list(tmp_path.glob("run/**/*.json"))


def test_missing_weights_without_a_network(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line: which file, from where, and the setting that names it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    error = score(tmp_path / "run", given / "fake.npz", given / "real.npz", eval__metrics="fid").error
    assert "eval.extractor_weights" in error and "6726825d" in error
