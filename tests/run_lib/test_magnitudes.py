"""What training does to EDM2's network beside steps of the optimiser, and which labels such networks are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.blocks.magnitude import MPLayer
from tests.run_lib.planned import subject
from tests.run_lib.program import ROOT, run
from tests.run_lib.test_convert import tiny, trained, trained_state

# TensorBoard's own imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EDM2 = {"head_channels": 16, "preconditioning": "edm"}


def test_weights_are_of_unit_magnitude_before_each_step(tmp_path: Path) -> None:
    """At a rate of 0 they stay as they were brought: w / (rms(w) + 1e-4), whose root mean square is 1 - 1e-4 about."""
    config = tiny("edm2", "edm", continuous=True, **EDM2)
    config.optim.lr = 0.0
    config.training.n_iters = 1
    trained(config, tmp_path)
    network = trained_state(config, tmp_path).network
    layers = [module for module in network.modules() if isinstance(module, MPLayer)]
    assert len(layers) > 10
    for layer in layers:
        rms = layer.weight.detach().flatten(1).square().mean(1).sqrt()
        torch.testing.assert_close(rms, torch.ones_like(rms), rtol=0, atol=1e-3)


@pytest.mark.slow
def test_edm2_learns_more_than_the_digits_covariance(tmp_path: Path) -> None:
    """With u learned the loss is 1 + E log L of the levels' losses L. The best linear denoiser, of the digits' mean and
    covariance, has L = (s^2 + 1/4) / (s / 2)^2 mean_i(l_i s^2 / (l_i + s^2)), l_i the covariance's eigenvalues: 0.66
    over the training's noise levels."""
    run(ROOT / "configs/edm2/digits.py", "train", tmp_path, training__n_iters=100, training__eval_freq=100)
    step, _, held_out = (tmp_path / "losses.csv").read_text().split()[-1].split(",")
    assert step == "100"
    assert float(held_out) < 0.66


@pytest.mark.parametrize(("name", "rows"), [("edm_ddpmpp", 10), ("edm2", 10), ("adm", 11)])
def test_no_class_is_a_row_only_where_it_must_be_learned(name: str, rows: int) -> None:
    config = tiny(name, "edm", continuous=True, num_classes=10, **(EDM2 if name == "edm2" else {}))
    config.model.num_groups = 8
    config.training.label_dropout = 0.1
    network = subject(config).network
    shapes = [p.shape for n, p in network.named_parameters() if "class" in n or "label" in n]
    assert rows in shapes[0]
