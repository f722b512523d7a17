"""EDM2's snapshots, one average a file, reconstructed to other widths as its own program does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ml_collections import ConfigDict
from safetensors.torch import load_file

from configs.base import get_config as default
from models.checkpoints.loader import load_weights
from run_lib.config import plans
from run_lib.post_hoc import make_averages
from run_lib.run import Run
from run_lib.training.published_profiles import PublishedSnapshots
from tests.fixtures import nvlabs_files
from tests.fixtures.weights import Fixture
from tests.run_lib.planned import planned

SMALL = Fixture("edm2/small.npz")
THOUSANDS = (8, 16, 24)
WIDTHS = (0.05, 0.1)


def configuration(folder: Path, **ema: Any) -> ConfigDict:
    config = default()
    config.device = "cpu"
    config.data.update({"image_size": 16, "num_channels": 3, "levels": 256})
    config.model.update({
        "name": "edm2", "preconditioning": "edm", "nf": 16, "ch_mult": (1, 2), "num_res_blocks": 1,
        "attn_resolutions": (8,), "head_channels": 8, "num_classes": 4,
    })  # fmt: skip
    config.training.sde = "edm"
    with config.ignore_type():
        config.ema.update({"snapshots": str(folder), **ema})
    return config


def average(images: float, width: float) -> float:
    """The average of w(t) = t by the power function of a relative width: t (gamma + 1) / (gamma + 2)."""
    gamma = float(np.roots([1, 7, 16 - width**-2, 12 - width**-2]).real.max())
    return images * (gamma + 1) / (gamma + 2)


def snapshots(folder: Path) -> Path:
    """Those of a training whose weights all are the images seen over 24576; frequencies are as they were drawn."""
    folder.mkdir()
    for thousands in THOUSANDS:
        for width in WIDTHS:
            fixed = {n: w for n, w in SMALL.weights.items() if n.endswith(("freqs", "phases"))}
            held = {
                n: torch.full_like(w, average(1024 * thousands, width) / 24576)
                for n, w in SMALL.weights.items()
            } | fixed
            path = folder / f"network-snapshot-{thousands:07d}-{width:.3f}.pkl"
            nvlabs_files.snapshot(nvlabs_files.network("Precond", SMALL.meta["kwargs"], held), path, new=True)
    return folder


ERRORS = {0.05: 1e-6, 0.08: 5e-4, 0.13: 2e-3}


def test_any_width_is_the_average_of_the_training(tmp_path: Path) -> None:
    """The kept widths come back; others are as near as six averages can tell of a straight line."""
    config = configuration(snapshots(tmp_path / "raw"), std=tuple(ERRORS))
    plan = planned(config, plans.post_hoc)
    make_averages(plan, Run(tmp_path / "run"))
    for width, error in ERRORS.items():
        path = tmp_path / "run" / "ema" / f"std_{width:g}_step_00000024.safetensors"
        held = load_file(path)
        found = held["network.conv_in.weight"]
        expected = torch.full_like(found, average(24576, width) / 24576)
        torch.testing.assert_close(found, expected, rtol=error, atol=0)
        torch.testing.assert_close(held["network.fourier.freqs"], SMALL.weights["unet.emb_fourier.freqs"])
    assert load_weights(plan.subject.network, path).family == "ours"
    kept = PublishedSnapshots(tmp_path / "raw", plan.subject.network, "{}").read(24)
    assert kept.updates == 24576  # the name has thousands, rounded down


def test_what_is_no_snapshot_of_the_network_is_refused(tmp_path: Path) -> None:
    folder = snapshots(tmp_path / "raw")
    with pytest.raises(ValueError, match=r"no snapshot of step 9.*one of 8, 16, 24"):
        make_averages(planned(configuration(folder, step=9), plans.post_hoc), Run(tmp_path / "run"))
    with pytest.raises(ValueError, match="there are no snapshots of averages"):
        make_averages(planned(configuration(tmp_path / "none"), plans.post_hoc), Run(tmp_path / "run"))
    other = configuration(folder)
    other.model.nf = 24
    with pytest.raises(ValueError, match="is of another network than the configuration's"):
        make_averages(planned(other, plans.post_hoc), Run(tmp_path / "run"))
    (folder / "network-snapshot-0000008-0.050.pkl").rename(folder / "second-0000008-0.050.pkl")
    with pytest.raises(ValueError, match="several trainings, network-snapshot, second"):
        make_averages(planned(configuration(folder), plans.post_hoc), Run(tmp_path / "run"))
