"""Samples of digits by a network in bfloat16, beside those of the same seeds in float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run_lib.program import ROOT, run

DIGITS = ROOT / "configs/ddpm/digits.py"
METRICS = ("frechet", "precision", "recall")


@pytest.mark.slow
def test_samples_in_bfloat16_are_within_the_intervals_of_float32s(tmp_path: Path) -> None:
    """Means over three sets, against the intervals of float32's; the sets themselves are others, by rounding."""
    run(DIGITS, "train", tmp_path, training__n_iters=93, optim__warmup=5, training__eval_freq=93)
    run(
        DIGITS,
        "tune",
        tmp_path,
        tune__sweep="precision=float32,bfloat16",
        tune__repeats=3,
        tune__num_samples=300,
        tune__rows=0,
        sampling__num_steps=10,
    )
    exact, rounded = json.loads((tmp_path / "tune/table.json").read_text())["rows"]
    assert exact["by_seed"]["frechet"] != rounded["by_seed"]["frechet"]
    for metric in METRICS:
        assert abs(rounded[metric] - exact[metric]) <= exact[f"{metric} +-"], metric
