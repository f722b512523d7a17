"""``tune.scorer=metrics``: metrics of sets of images in the spaces of extractors, as scores of a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from run_lib.config import plans
from run_lib.tuning import tune
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT, program, run
from tests.run_lib.tiny import get_config as tiny

IMAGE = ROOT / "configs/toy/gaussian_image.py"
PLUGIN = '''
"""Means over pixels, the distance of the means of two sets, and how many samples are above the reference's mean."""

from collections.abc import Collection

import numpy as np
import torch

from dataclasses import dataclass

from run_lib.extractors.base import Extractor, register_extractor
from run_lib.metrics.base import Measured, SetMetric, register_metric


@register_extractor
class MeanPixel(Extractor):
    """The mean over pixels, and the first pixel as logits."""

    title = "mean pixel"
    dimensions = {"features": 1, "logits": 1}
    protocol = {"weights": "HASH"}

    def __call__(self, images, outputs):
        assert len(images) <= 64 and not images.is_floating_point()
        flat = images.flatten(1).double().numpy()
        found = {"features": flat.mean(1, keepdims=True), "logits": flat[:, :1]}
        return {output: found[output].astype(np.float32) for output in outputs}


@register_metric
@dataclass(frozen=True)
class Offset(SetMetric):
    title = "offset of means"
    goals = {"": "least"}
    version = 3

    def least(self, dimensions):
        return 3 * dimensions

    def measure(self, samples, reference, seed):
        difference = samples.moments("features").mean - reference.moments("features").mean
        return (Measured("", float(abs(difference).sum()) + seed * 1e6, None), Measured("aside", 1.0, None))


@register_metric
@dataclass(frozen=True)
class Spread(SetMetric):
    title = "spreads"
    outputs = ("features", "logits")
    goals = {"of all": "greatest", "ratio": "one"}
    needs_reference = False

    def measure(self, samples, reference, seed):
        assert reference is None
        spread = [float(samples.rows(output).std()) for output in self.outputs]
        return (Measured("ratio", spread[0] / spread[1], None), Measured("of all", spread[0], None))


@register_metric
@dataclass(frozen=True)
class Picture(SetMetric):
    title = "no number to rank by"

    def measure(self, samples, reference, seed):
        return ()
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "metrics_plugin.py"
    path.write_text(PLUGIN)
    return path


def fields(plugin: Path, **more: Any) -> dict[str, Any]:
    return {
        "plugins": plugin, "data__dataset": "digits", "data__levels": 17, "tune__scorer": "metrics",
        "tune__metrics": "offset@mean_pixel, spread@mean_pixel", "tune__sweep": "num_steps=2,3", "tune__repeats": 2,
        "tune__num_samples": 70, "tune__rows": 0, "seed": 0, **more,
    }  # fmt: skip


@pytest.mark.slow
def test_a_sweep_is_ranked_by_metrics_of_sets(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are those of the samples that are written, against the training images; the first of the list
    ranks, and others by their names. Extractors see 64 images at a time at most."""
    monkeypatch.setattr(tune, "draw_picture", lambda *_: None)  # of 70 rows
    run(IMAGE, "tune", tmp_path / "run", **fields(plugin, tune__rows=70))
    found = json.loads((tmp_path / "run/tune/table.json").read_text())
    offset, of_all, ratio = "offset@mean_pixel", "spread@mean_pixel/of all", "spread@mean_pixel/ratio"
    assert found["ranked_by"] == {"name": offset, "goal": "least", "what": "offset of means, mean pixel"}
    truth = training_mean()
    recorded = json.loads((tmp_path / "run/tune/settings.json").read_text())
    for row in found["rows"]:
        assert list(row["by_seed"]) == [offset, of_all, ratio]
        samples = np.load(tmp_path / f"run/tune/parts/num_steps={row['num_steps']}_000.npy")
        assert len(samples) == 70
        flat = samples.reshape(70, -1).astype(float)
        assert row["by_seed"][of_all][0] == pytest.approx(flat.mean(1).std(), rel=1e-5)
        assert row["by_seed"][ratio][0] == pytest.approx(flat.mean(1).std() / flat[:, 0].std(), rel=1e-5)
        assert row["by_seed"][offset][0] == pytest.approx(abs(flat.mean() - truth), rel=1e-5)
    assert recorded["offset@mean_pixel: version"] == "3"
    assert recorded["mean_pixel: weights"] == "HASH"
    outcome = run(IMAGE, "tune", tmp_path / "run", **fields(plugin, tune__metric=ratio, tune__rows=70))
    assert f"best by {ratio}" in outcome.out


def training_mean() -> float:
    return float(planned(tiny(), plans.sampling).data.load("train").images.double().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("HASH", "OTHER", "mean_pixel: weights was 'HASH', is 'OTHER'"),
        ("version = 3", "version = 4", "version"),
    ],
)
def test_scores_of_other_weights_or_versions_are_refused(
    old: str, new: str, named: str, tmp_path: Path
) -> None:
    """Also where the code of extractor and metric, which plugins' files have, is not what changes."""
    source = tmp_path / "changing.txt"
    source.write_text(PLUGIN)
    plugin = tmp_path / "metrics_plugin.py"
    plugin.write_text(f"from pathlib import Path\n\nexec(Path({str(source)!r}).read_text())")
    run(IMAGE, "tune", tmp_path / "run", **fields(plugin))
    source.write_text(PLUGIN.replace(old, new))
    command = ("--config", IMAGE, "--mode", "tune", "--workdir", tmp_path / "run")
    error = program(*command, **fields(plugin)).error
    assert "holds scores of other settings" in error and named in error


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tune__metrics": "offset@mean_pixl"}, "unknown extractor 'mean_pixl'"),
        ({"tune__metrics": "ofset@mean_pixel"}, "unknown metric 'ofset'"),
        ({"tune__metrics": "offset"}, "write offset@EXTRACTOR"),
        ({"tune__metrics": " , "}, "config.tune.metrics is empty"),
        (
            {"tune__metrics": "picture@mean_pixel"},
            "no set of samples is better than another by picture@mean_pixel",
        ),
        (
            {"tune__num_samples": 2},
            "config.tune.num_samples=2 are too few for offset@mean_pixel, which needs 3",
        ),
        (
            {"tune__metric": "spread@mean_pixel"},
            "unknown config.tune.metric for these data 'spread@mean_pixel'",
        ),
    ],
)
def test_refusals(changed: dict[str, Any], message: str, plugin: Path, tmp_path: Path) -> None:
    """Before any sample is drawn."""
    outcome = program(
        "--config", IMAGE, "--mode", "tune", "--workdir", tmp_path / "run", **fields(plugin, **changed)
    )
    assert outcome.status == 2
    assert message in outcome.error
    assert not (tmp_path / "run/tune/parts").exists()
