"""Files of images and one file of weights through ``--mode score`` and through torch-fidelity: the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from run_lib.extractors.inception import InceptionNetwork
from tests.run_lib.program import program

fidelity = pytest.importorskip("torch_fidelity")

COUNTS = {"fake": 24, "real": 24}


@pytest.mark.slow
def test_the_numbers_of_papers_are_theirs(tmp_path: Path) -> None:
    """With Inception's weights drawn at random, which compute by the same code. Their FID of so few images takes the
    root of a singular matrix, to 1e-4."""
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        (tmp_path / name).mkdir()
        for k, image in enumerate(
            rng.integers(0, 200 if name == "real" else 256, (count, 32, 32, 3), dtype=np.uint8)
        ):
            Image.fromarray(image).save(tmp_path / name / f"{k:03d}.png")
    torch.manual_seed(0)
    weights = tmp_path / "inception.pth"
    torch.save(InceptionNetwork().state_dict(), weights)
    theirs = fidelity.calculate_metrics(
        input1=str(tmp_path / "fake"), input2=str(tmp_path / "real"), cuda=False, isc=True, fid=True, kid=True,
        kid_subsets=1, kid_subset_size=24, isc_splits=2, rng_seed=0, samples_shuffle=True, verbose=False, cache=False,
        save_cpu_ram=True,
        feature_extractor_weights_path=str(weights),
    )  # fmt: skip
    outcome = program(
        "--mode", "score", "--workdir", tmp_path / "run",
        score__samples=tmp_path / "fake", score__reference=tmp_path / "real", seed=0,
        eval__metrics="fid,kid,is", eval__extractor_weights=weights,
        **{"metrics__kernel.subsets": 1, "metrics__kernel.subset_size": 24, "metrics__inception_score.splits": 2},
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    held = json.loads((tmp_path / "run/score/report.json").read_text())["numbers"]
    ours = {number["name"]: number["value"] for number in held}
    space = "Inception, not as published"
    assert ours[f"Fréchet distance, {space}"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert ours[f"Inception Score, {space}"] == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert ours[f"kernel distance, {space}"] == pytest.approx(
        theirs["kernel_inception_distance_mean"], rel=1e-4
    )
