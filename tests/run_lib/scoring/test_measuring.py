"""Sets of images scored: what is measured, what each number is called, and of what it is never taken for another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from run_lib.metrics.moments import Moments
from run_lib.processes import Processes
from run_lib.references.statistics import Statistics
from run_lib.scoring.features import FeatureStore, Images
from run_lib.scoring.measuring import Scored, Scoring
from run_lib.scoring.references import Known, Reference
from tests.run_lib.scoring.toys import Largest, MeanDistance, Newer, OfRows, Pixels, images, measure

SAMPLES, REAL = images(30, 0), images(50, 1, top=200)


def scoring(**changed: object) -> Scoring:
    plain = Scoring((measure(MeanDistance()),), {"toy": Pixels()}, by_class=False, seed=0)
    return dataclasses.replace(plain, **changed)  # type: ignore[arg-type]


def scored(of: Scoring, folder: Path, reference: Reference | None, samples: Images = SAMPLES) -> list[Scored]:
    store = FeatureStore(folder / "features", Processes(), 8)
    return list(of.score(samples, reference, store, folder / "parts"))


def mean(of: Images, label: int | None = None) -> np.ndarray:
    rows = of.rows.read(range(of.count)).flatten(1).double().numpy()
    assert of.labels is not None
    found: np.ndarray = (rows if label is None else rows[of.labels == label]).mean(0)
    return found


def statistics(of: Images, extractor: str = "toy", **protocol: str) -> Reference:
    rows = of.rows.read(range(of.count)).flatten(1).double().numpy()
    made = {"network": "none", "weights": "none", **protocol}
    held = Statistics(Path("theirs.npz"), "ours", extractor, {"features": Moments.of(rows)}, protocol=made)
    return Reference("theirs.npz", None, {extractor: Known(held)})


def test_the_number_is_the_metrics_own_and_says_what_it_is_of(tmp_path: Path) -> None:
    (found,) = scored(scoring(), tmp_path, Reference("real", REAL))
    assert found.number.value == pytest.approx(float(np.linalg.norm(mean(SAMPLES) - mean(REAL))), rel=1e-6)
    assert (found.title, found.count) == ("distance of means, Pixels", 30)
    assert found.protocol["images"] == "30 of noise 0"
    assert found.protocol["reference"] == "50 of real"
    assert found.protocol["weights"] == "none"
    assert found.protocol["metric"] == "distance_of_means, version 1, factor=1.0"


def test_each_class_is_held_against_the_same_class(tmp_path: Path) -> None:
    found = scored(scoring(by_class=True), tmp_path, Reference("real", REAL))
    assert [one.title.rpartition(", ")[2] for one in found] == ["Pixels", "class 0", "class 1", "class 2"]
    for label, one in enumerate(found[1:]):
        wanted = np.linalg.norm(mean(SAMPLES, label) - mean(REAL, label))
        assert one.number.value == pytest.approx(float(wanted), rel=1e-6)
        assert one.count == 10


@pytest.mark.parametrize(
    ("published", "named", "title"),
    [
        (True, "fid", "FID"),
        (False, "fid", "distance of means, Pixels, not as published"),
        (True, "", "distance of means, Pixels"),
    ],
)
def test_papers_names_are_for_published_extractors(
    published: bool, named: str, title: str, tmp_path: Path
) -> None:
    of = scoring(measures=(measure(MeanDistance(), named),), extractors={"toy": Pixels(published=published)})
    assert scored(of, tmp_path, Reference("real", REAL))[0].title == title


def test_statistics_are_enough_for_what_reads_moments(tmp_path: Path) -> None:
    by_images = scored(scoring(), tmp_path, Reference("real", REAL))[0]
    by_statistics = scored(scoring(), tmp_path, statistics(REAL))[0]
    assert by_statistics.number.value == pytest.approx(by_images.number.value, rel=1e-6)
    assert by_statistics.protocol["reference's form"] == "statistics (ours)"


def test_a_file_of_both_gives_statistics_to_moments_and_images_to_rows(tmp_path: Path) -> None:
    """As guided-diffusion's batches, whose statistics are of more images than they have."""
    both = Reference("batch", REAL, statistics(images(90, 5)).known)
    of = scoring(measures=(measure(MeanDistance()), measure(OfRows())))
    moments, rows = scored(of, tmp_path, both)
    assert moments.protocol["reference"] == "90 of batch"
    assert rows.protocol["reference"] == "50 of batch"


CHANGES: dict[str, Callable[[Scoring], Scoring]] = {
    "weights": lambda s: dataclasses.replace(s, extractors={"toy": Pixels(weights="other")}),
    "version": lambda s: dataclasses.replace(s, measures=(measure(Newer()),)),
    "setting": lambda s: dataclasses.replace(s, measures=(measure(MeanDistance(factor=2.0)),)),
    "seed": lambda s: dataclasses.replace(s, seed=1),
    "classes": lambda s: dataclasses.replace(s, by_class=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_else_has_the_key_of_a_number(change: str) -> None:
    reference = Reference("real", REAL)
    assert CHANGES[change](scoring()).key(["a"], reference) != scoring().key(["a"], reference)


def test_other_sets_have_other_keys() -> None:
    real = Reference("real", REAL)
    keys = {
        scoring().key(["a"], real),
        scoring().key(["b"], real),
        scoring().key(["a", "b"], real),
        scoring().key(["a"], Reference("real", images(50, 2))),
        scoring().key(["a"], statistics(REAL)),
        scoring().key(["a"], statistics(images(50, 2))),
        scoring().key(["a"], None),
    }
    assert len(keys) == 7


def test_a_number_is_not_measured_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scored(scoring(), tmp_path, Reference("real", REAL))
    monkeypatch.setattr(MeanDistance, "measure", None)
    assert scored(scoring(), tmp_path, Reference("real", REAL)) == first


@pytest.mark.parametrize(
    ("changed", "count", "reference", "says"),
    [
        (
            {"measures": (measure(Largest()),)},
            30,
            None,
            "reads logits, and the extractor 'toy' gives features",
        ),
        (
            {"measures": (measure(OfRows()),)},
            12,
            Reference("r", REAL),
            "needs at least 13 images, and there are 12",
        ),
        ({}, 30, None, "compares with a reference, and none is given"),
        ({"measures": (measure(OfRows()),)}, 30, statistics(REAL), "of every image of the reference"),
        (
            {},
            30,
            statistics(REAL, "other"),
            "in the space of 'toy', and theirs.npz has statistics of 'other'",
        ),
        ({}, 30, statistics(REAL, weights="newer"), "made in another way .*'newer' there, 'none' here"),
    ],
)
def test_what_cannot_be_measured_is_told_before_any_work(
    changed: dict[str, object], count: int, reference: Reference | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        scoring(**changed).check(count, reference)


def test_a_metric_without_a_reference_needs_none(tmp_path: Path) -> None:
    of = scoring(measures=(measure(Largest()),), extractors={"toy": Pixels(logits=True)})
    of.check(30, None)
    (found,) = scored(of, tmp_path, None)
    largest = SAMPLES.rows.read(range(30)).flatten(1)[:, :3].max()
    assert (found.title, found.number.value) == ("largest, Pixels", float(largest))
