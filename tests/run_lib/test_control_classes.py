"""--mode control of a model that is told classes: every method passes them on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.toy.mixture_image import get_config
from tests.run_lib.program import ROOT, run

GLYPHS = np.array(get_config().model.means).reshape(3, 8, 8)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"control__task": "inpaint"}, id="projected"),
        pytest.param({"control__task": "inpaint", "control__method": "pseudo_inverse"}, id="wrapped"),
        pytest.param({"control__task": "sdedit", "control__strength": 1.0}, id="noised"),
    ],
)
def test_results_are_of_the_class_that_is_asked_for(how: dict[str, object], tmp_path: Path) -> None:
    """The upper half of the cross, or its noised copy: the lower half is the square's where that class is told."""
    np.savez(tmp_path / "in.npz", arr_0=GLYPHS[:1, None].astype(np.float32))
    fields = {"model__num_classes": 3, "control__label": 1, "control__input": tmp_path / "in.npz"}
    config = ROOT / "configs/toy/mixture_image.py"
    run(config, "control", tmp_path / "run", **fields, **how, sampling__num_steps=20)
    (found,) = (tmp_path / "run/control").rglob("results.npz")
    with np.load(found) as held:
        lower = held["arr_0"][0, 4:, :, 0]
    distances = np.square(lower - GLYPHS[:, 4:]).mean((1, 2))
    assert distances.argmin() == 1
    assert distances[1] < 0.1  # the modes' own variance is 0.01, and the glyphs are 0.6 apart
