"""Training by several processes: the weights of one, whoever goes on from whose checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.run_lib.together import EVERYTHING, Job, alone, distance, held, together, weights_in

OF_ALL, OF_EACH = 1e-6, 1e-5
"""How far weights may be from those of one process: all of them, and each tensor, over their norms."""
SHARD = {"training__shard": True}
FEW = {
    **EVERYTHING,
    "training__n_iters": 12,
    "training__log_freq": 3,
    "training__eval_freq": 6,
    "training__snapshot_freq": 12,
    "training__snapshot_freq_for_preemption": 12,
}
SPOILT = (6, 8)
"""A step that is skipped because of a row that one process has."""


def assert_alike(found: Path, wanted: Path, step: int) -> None:
    """Weights and averages to rounding; what is learnt about times likewise; the same table and the same files."""
    ours, theirs = held(found, step), held(wanted, step)
    for (name, weights), (_, others) in zip(weights_in(ours), weights_in(theirs), strict=True):
        apart = distance(weights, others)
        assert apart.all <= OF_ALL and apart.tensor <= OF_EACH, (name, apart)
    assert torch.equal(ours["times"]["counts"], theirs["times"]["counts"])
    torch.testing.assert_close(ours["times"]["losses"], theirs["times"]["losses"], rtol=1e-5, atol=0)
    assert ours.keys() == theirs.keys()
    tables = [
        np.genfromtxt(folder / "losses.csv", delimiter=",", skip_header=1) for folder in (found, wanted)
    ]
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-5)  # of six digits, nan where there is none
    assert files(found) == files(wanted)


def files(folder: Path) -> list[str]:
    """Of a training, but for its curves, of which each start writes a file."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "tfevents" not in p.name)


def test_two_processes_train_the_weights_of_one(tmp_path: Path) -> None:
    """With all weights in each or parts of them, and handed from one to the other; a signal reaches both."""
    one, two, shards, handed = (tmp_path / name for name in ("one", "two", "shards", "handed"))
    alone(Job(one, FEW, SPOILT))
    together(
        2,
        [
            Job(two, FEW, SPOILT),
            Job(shards, FEW | SHARD, SPOILT),
            Job(handed, FEW, SPOILT, stopped=3),
            Job(handed, FEW | SHARD, SPOILT, stopped=8),
        ],
    )
    assert (handed / "checkpoints/step_00000009.pt").is_file()
    alone(Job(handed, FEW, SPOILT))
    for folder in (two, shards, handed):
        assert_alike(folder, one, 12)
    assert all(int(held(folder, 12)["ema"]["num_updates"]) == 11 for folder in (one, two, shards, handed))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, 50 steps."""
    folder = tmp_path_factory.mktemp("long")
    alone(Job(folder, EVERYTHING))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_fifty_steps(count: int, long: Path, tmp_path: Path) -> None:
    """All weights in each process or parts of them."""
    jobs = [Job(tmp_path / "whole", EVERYTHING), Job(tmp_path / "parts", EVERYTHING | SHARD)]
    together(count, jobs)
    for job in jobs:
        assert_alike(job.folder, long, 50)
