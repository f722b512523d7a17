"""The configurations of Fashion-MNIST, on small files of its real layout."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from models import count_parameters
from run_lib.config import plans
from tests.run_lib.planned import planned, subject
from tests.run_lib.program import ROOT, run
from tests.run_lib.test_data_forms import write_idx

FEW = {"training__batch_size": 4, "training__n_iters": 5}


def configuration(family: str, data: str) -> ConfigDict:
    found: ConfigDict = importlib.import_module(f"configs.{family}.{data}").get_config()
    return found


@pytest.mark.parametrize("data", ["digits", "fashion_mnist"])
@pytest.mark.parametrize("family", ["edm", "edm2", "dit", "flow", "vdm"])
def test_small_configurations_are_planned(family: str, data: str) -> None:
    """The network of ddpm but for edm2 and dit; vdm has two ends beside it. Of dit on Fashion-MNIST by hand: six blocks
    of 18 matrices of 128 x 128, and 87,000 weights around them and in their biases."""
    plan = planned(configuration(family, data), plans.training)
    count = count_parameters(plan.subject.network)
    if family in ("edm", "flow", "vdm"):
        ddpm = count_parameters(subject(configuration("ddpm", data), weights=False).network)
        assert count == ddpm + 2 * (family == "vdm")
    if (family, data) == ("dit", "fashion_mnist"):
        assert count == pytest.approx(6 * 18 * 128**2 + 98_000, rel=0.01)
    assert (plan.subject.training.process.learned is not None) is (family == "vdm")
    uncertain = plan.objective.loss.learned or plan.subject.network.has_log_variance
    assert bool(uncertain) is (family in ("edm2", "vdm"))
    if family == "edm2":
        assert plan.subject.network.get_parameter("network.error.weight").requires_grad
        assert plan.optimisation.rate(3000, 10_000) < plan.optimisation.rate(200, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ddpm", "adm"])
def test_trains_and_samples(family: str, tmp_path: Path) -> None:
    """As many parameters, to 5 %, as the time of a step was measured with; 20 evaluations; classes in turn."""
    config = configuration(family, "fashion_mnist")
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
