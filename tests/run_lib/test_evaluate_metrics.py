"""``eval.metrics``: samples measured in the spaces of extractors, repeated sets, floors, and what is not made twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from run_lib.evaluation import sample_sets
from run_lib.metrics.gaussians import frechet_distance
from run_lib.metrics.moments import Moments
from tests.run_lib.program import TINY, numbers, program, run

SAMPLING: dict[str, Any] = {
    "eval__enable_bpd": False,
    "eval__enable_loss": False,
    "eval__enable_sampling": True,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("trained")
    run(TINY, "train", workdir)
    return workdir


def evaluated(trained: Path, folder: str, **fields: Any) -> dict[str, dict[str, Any]]:
    run(TINY, "eval", trained, "--eval_folder", folder, **{**SAMPLING, **fields})
    return numbers(trained, folder)


def drawn(trained: Path, folder: str) -> np.ndarray:
    """The samples of an evaluation, in their order, one row each."""
    (place,) = {path.parent for path in (trained / folder).glob("parts/*/samples_*.npz")}
    parts = [np.load(path)["levels"] for path in sorted(place.glob("samples_*.npz"))]
    return np.concatenate(parts).reshape(-1, 64).astype(float)


def real(split: str) -> np.ndarray:
    from run_lib.data.sources import digits

    return digits(split).images.flatten(1).double().numpy()


def test_samples_are_measured_against_the_split_that_is_named(trained: Path) -> None:
    found = evaluated(trained, "plain", eval__metrics="frechet@pixels", eval__reference="test")
    fake = drawn(trained, "plain")
    wanted = frechet_distance(Moments.of(real("test")), Moments.of(fake))
    number = found["Fréchet distance, pixels"]
    assert number["value"] == pytest.approx(wanted, rel=1e-6)
    assert (number["count"], number["nfe"]) == (70, 3)
    protocol = number["protocol"]
    assert protocol["reference"].startswith("360 of the test split of digits")
    assert protocol["images"] == "70 of samples of step 6"
    assert "predictor=" in protocol["sampler"] and "num_steps=3" in protocol["sampler"]
    assert protocol["checkpoint"].startswith("step 6, weights ")
    assert protocol["levels"] == "17 (quantised)"


def test_the_floor_is_what_real_images_score(trained: Path) -> None:
    """As many of the other split as there are samples: far nearer than what six steps of training make."""
    found = evaluated(trained, "floor", eval__metrics="frechet@pixels")
    number, floor = found["Fréchet distance, pixels"], found["Fréchet distance, pixels/test images"]
    assert floor["note"].startswith("reference: 70 real test images")
    assert floor["count"] == 70
    assert floor["value"] < 0.5 * number["value"]


def test_classes_are_scored_where_samples_have_them(trained: Path) -> None:
    """These have none; and the floor, of few images a class, is of all together."""
    fields = {"eval__metrics": "precision_recall@pca", "eval__by_class": True, "eval__num_samples": 21}
    found = evaluated(trained, "classes", **fields)
    assert {"precision, PCA", "precision, PCA/test images"} <= found.keys()
    assert not [name for name in found if "class" in name]


@pytest.mark.slow
def test_repeated_sets_have_seeds_of_their_own(trained: Path) -> None:
    """Their mean, its interval, and the least of three; each set's number is that of its own samples."""
    found = evaluated(
        trained, "repeated", eval__metrics="frechet@pixels,precision_recall@pca", eval__repeats=3
    )
    fake = drawn(trained, "repeated")
    assert len(fake) == 3 * 70
    target = Moments.of(real("train"))
    sets = [frechet_distance(target, Moments.of(fake[k : k + 70])) for k in (0, 70, 140)]
    assert len({round(one, 3) for one in sets}) == 3
    number = found["Fréchet distance, pixels"]
    assert number["sets"] == pytest.approx(sets, rel=1e-6)
    assert number["value"] == pytest.approx(np.mean(sets), rel=1e-6)
    assert number["low"] < number["value"] < number["high"]
    assert found["Fréchet distance, pixels, minimum of 3"]["value"] == pytest.approx(min(sets), rel=1e-6)
    assert "precision, PCA, minimum of 3" not in found  # the least is not the best


def test_a_metric_that_is_added_finds_the_samples(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the features of an extractor that it shares; what is there is not measured again."""
    first = evaluated(trained, "added", eval__metrics="frechet@pixels")
    monkeypatch.setattr(sample_sets, "draw", None)
    again = evaluated(trained, "added", eval__metrics="frechet@pixels")
    assert again == first
    more = {"sampling__num_samples": 9, "sampling__grid_size": 9}  # of other modes, and of the picture
    found = evaluated(trained, "added", eval__metrics="frechet@pixels,precision_recall@pixels", **more)
    assert found["Fréchet distance, pixels"]["value"] == first["Fréchet distance, pixels"]["value"]
    assert 0 <= found["precision, pixels"]["value"] <= 1


@pytest.mark.slow
def test_other_settings_of_a_metric_or_an_extractor_are_other_numbers(trained: Path) -> None:
    keys = set()
    for fields in (
        {},
        {"metrics__precision_recall.neighbours": 5},
        {"extractors__pca.components": 5},
        {"eval__reference": "test"},
    ):
        found = evaluated(trained, "settings", eval__metrics="precision_recall@pca", **fields)
        keys.add(found["precision, PCA"]["protocol"]["key"])
    assert len(keys) == 4


def test_samples_and_nearest_images_are_shown(trained: Path) -> None:
    evaluated(trained, "shown", eval__metrics="neighbours@pixels")
    for name in ("samples_6.png", "nearest_6.png"):
        assert (trained / "shown" / name).read_bytes().startswith(b"\x89PNG")


def test_missing_weights_are_told_before_training(tmp_path: Path) -> None:
    error = program("--config", TINY, "--mode", "all", "--workdir", tmp_path, eval__metrics="frechet@classifier",
                    eval__extractor_weights=tmp_path / "none.safetensors").error  # fmt: skip
    assert "none.safetensors" in error
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"eval__metrics": "fidd"}, "unknown metric 'fidd'"),
        (
            {"eval__metrics": "inception_score@pixels"},
            "reads logits, and the extractor 'pixels' gives features",
        ),
        ({"eval__metrics": "kernel@pixels"}, "kernel@pixels needs at least 1000 images, and there are 70"),
        ({"eval__metrics": "frechet@pixels", "eval__reference": "nowhere"}, "nowhere"),
        (
            {"eval__metrics": "frechet@pixels", "eval__extractor_weights": "inception=x.pth"},
            "names 'inception', and eval.metrics asks for pixels",
        ),
        (
            {"eval__metrics": "frechet@pixels", "eval__features": "../elsewhere"},
            "--config.eval.features=../elsewhere must be",
        ),
        ({"metrics__kernel.subsets": 5}, "config.metrics.kernel.subsets is set, but"),
        ({"eval__metrics": "classifier", "metrics__kernel.subset": 5}, "config.metrics.kernel.subset"),
    ],
)
def test_refusals(trained: Path, fields: dict[str, Any], says: str) -> None:
    outcome = program("--config", TINY, "--mode", "eval", "--workdir", trained, "--eval_folder", "no",
                      **{**SAMPLING, **fields})  # fmt: skip
    assert says in outcome.error
    assert not list((trained / "no").rglob("*.npz"))


def test_the_report_is_json_that_others_read(trained: Path) -> None:
    evaluated(trained, "json", eval__metrics="frechet@pixels")
    held = json.loads((trained / "json/report.json").read_text())
    assert {"protocol", "low", "high", "sets"} <= held["numbers"][0].keys()
