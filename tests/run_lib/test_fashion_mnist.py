"""The configurations of Fashion-MNIST, on small files of its real layout."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from models import count_parameters
from tests.run_lib.planned import subject
from tests.run_lib.program import ROOT, run
from tests.run_lib.test_data_forms import write_idx

FEW = {"training__batch_size": 4, "training__n_iters": 5}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ddpm", "adm"])
def test_trains_and_samples(family: str, tmp_path: Path) -> None:
    """As many parameters, to 5 %, as the time of a step was measured with; 20 evaluations; classes in turn."""
    config = importlib.import_module(f"configs.{family}.fashion_mnist").get_config()
    assert count_parameters(subject(config, weights=False).network) == pytest.approx(1.19e6, rel=0.05)
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28))
    write_idx(
        tmp_path / "FashionMNIST/raw",
        True,
        train_images_idx3_ubyte=images,
        train_labels_idx1_ubyte=np.arange(40) % 10,
        t10k_images_idx3_ubyte=images[:10],
        t10k_labels_idx1_ubyte=np.arange(10),
    )
    fields = {**FEW, "data__root": str(tmp_path), "sampling__num_samples": 11, "sampling__grid_size": 4}
    path = ROOT / f"configs/{family}/fashion_mnist.py"
    run(path, "train", tmp_path / "run", **fields)
    out = run(path, "sample", tmp_path / "run", **fields).out
    assert "11 samples, 20 network evaluations each" in out
    with np.load(tmp_path / "run/samples/samples.npz") as held:
        assert (held["arr_0"].shape, held["arr_0"].dtype) == ((11, 28, 28, 1), np.uint8)
        labels = held["arr_1"].tolist() if "arr_1" in held else None
    assert labels == ([*range(10), 0] if family == "adm" else None)
