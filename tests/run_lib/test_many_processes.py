"""Training by several processes: the weights of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.run_lib.together import EVERYTHING, Job, alone, distance, held, together, weights_in

OF_ALL, OF_EACH = 1e-6, 1e-5
"""How far weights may be from those of one process: all of them, and each tensor, over their norms."""


def assert_alike(found: Path, wanted: Path) -> None:
    """Weights and averages to rounding; what is learnt about times likewise; the same numbers in the table."""
    ours, theirs = held(found), held(wanted)
    for (name, weights), (_, others) in zip(weights_in(ours), weights_in(theirs), strict=True):
        apart = distance(weights, others)
        assert apart.all <= OF_ALL and apart.tensor <= OF_EACH, (name, apart)
    assert torch.equal(ours["times"]["counts"], theirs["times"]["counts"])
    torch.testing.assert_close(ours["times"]["losses"], theirs["times"]["losses"], rtol=1e-5, atol=0)
    assert (found / "losses.csv").read_text() == (wanted / "losses.csv").read_text()
    names = [sorted(p.name for p in folder.iterdir()) for folder in (found, wanted)]
    assert names[0] == names[1]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    alone(Job(folder, EVERYTHING))
    return folder


def test_two_processes_train_the_weights_of_one(one: Path, tmp_path: Path) -> None:
    """Microbatches, accumulation, dropout, augmentation, importance times and several averages."""
    together(2, [Job(tmp_path, EVERYTHING)])
    assert_alike(tmp_path, one)
