"""Training by several processes: the weights of one, whoever goes on from whose checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist

from run_lib.config import plans
from run_lib.faults import MachineError
from run_lib.files import write_tensors
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.training import loop, team
from run_lib.training.replicated import Replicated
from run_lib.training.sharded import Sharded
from tests.run_lib.planned import planned
from tests.run_lib.tiny import get_config as tiny
from tests.run_lib.together import EVERYTHING, Job, alone, distance, held, together, weights_in

OF_ALL, OF_EACH = 1e-6, 1e-5
"""How far weights may be from those of one process: all of them, and each tensor, over their norms."""
SHARD = {"training__shard": True}
FEW = {
    **EVERYTHING,
    "training__n_iters": 8,
    "training__microbatch": 4,  # of two processes one has no part of the last
    "training__log_freq": 2,
    "training__eval_freq": 8,
    "training__snapshot_freq": 8,
    "training__snapshot_freq_for_preemption": 8,
}
SPOILT = (4, 8)
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


class Watched(Job):
    """Gradients are exchanged in the last backward pass of a step and not before."""

    def run(self) -> None:
        with (
            mock.patch.object(Replicated, "reducing", _watched(Replicated.reducing)),
            mock.patch.object(Sharded, "reducing", _watched(Sharded.reducing)),
        ):
            super().run()


def _watched(reducing: Callable[..., AbstractContextManager[None]]) -> Callable[..., Any]:
    @contextmanager
    def watched(self: Any, last: bool) -> Iterator[None]:
        with reducing(self, last):
            yield
        network: Any = self._network if isinstance(self, Sharded) else self._wrapped.module.network
        own = [p.grad for p in network.parameters() if p.grad is not None]
        if isinstance(self, Sharded):
            assert bool(own) is last, "a part of the sum is there"
            return
        norms = [torch.zeros(()) for _ in range(self.size)]
        dist.all_gather(norms, torch.stack(torch._foreach_norm(own)).norm())
        assert (norms[0] == norms[1]) == last

    return watched


class Idle(Job):
    """Of a network with a weight that takes no part."""

    def run(self) -> None:
        plan = planned(tiny(), plans.training, dict(self.fields))
        plan.subject.network.register_parameter("idle", torch.nn.Parameter(torch.ones(3)))
        with pytest.raises(ValueError, match=r"and these do not: idle\. Freeze them"):
            loop.train(plan, Run(self.folder))


class Normalised(Job):
    """Of a network with batch normalisation."""

    def run(self) -> None:
        plan = planned(tiny(), plans.training, dict(self.fields))
        plan.subject.network.norm = torch.nn.BatchNorm2d(3)
        with pytest.raises(ValueError, match=r"a network with batch normalisation \(norm\)"):
            loop.train(plan, Run(self.folder))


@pytest.mark.slow
def test_two_processes_train_the_weights_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all weights in each or parts of them, and handed from one to the other; a signal reaches both."""
    one, two, shards, handed = (tmp_path / name for name in ("one", "two", "shards", "handed"))
    alone(Job(one, FEW, SPOILT))
    together(
        2,
        [
            Watched(two, FEW, SPOILT),
            Watched(shards, FEW | SHARD, SPOILT),
            Job(handed, FEW, SPOILT, stopped=2),
            Job(handed, FEW | SHARD, SPOILT, stopped=5),
            Idle(tmp_path / "idle", FEW),
            Normalised(tmp_path / "normalised", FEW),
        ],
    )
    assert (handed / "checkpoints/step_00000006.pt").is_file()
    capsys.readouterr()
    alone(Job(handed, FEW, SPOILT))
    said = capsys.readouterr().err
    assert "continues with training.shard=False (was True)" in said
    assert "continues with 1 process (was 2)" in said
    for folder in (two, shards, handed):
        assert_alike(folder, one, 8)
    assert all(int(held(folder, 8)["ema"]["num_updates"]) == 7 for folder in (one, two, shards, handed))


def test_a_sharded_network_is_no_other_modes() -> None:
    """Those that follow in ``--mode all`` have a whole one, of the same data."""
    fields = {"training__snapshot_sampling": True}
    shared, whole = (planned(tiny(), plans.complete, fields | shard) for shard in (SHARD, {}))
    assert shared.training.subject.network is not shared.evaluation.subject.network
    assert shared.training.preview.subject.network is shared.training.subject.network
    assert shared.training.subject.data is shared.evaluation.subject.data
    assert whole.training.subject.network is whole.evaluation.subject.network


def test_one_process_says_that_it_shares_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert loop._team(Processes(), shard=True).size == 1
    assert "training.shard shares weights among several processes, and this is one" in capsys.readouterr().err
    loop._team(Processes(), shard=False)
    assert capsys.readouterr().err == ""


class Full(Job):
    """On a disk that is full when rank 0 writes its second checkpoint."""

    def run(self) -> None:
        def write(path: Path, content: dict[str, Any]) -> None:
            if content["step"] == 4:
                raise MachineError("No space left on device")
            write_tensors(path, content)

        with mock.patch.object(team, "write_tensors", write):
            super().run()


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_a_full_disk_ends_all(shard: bool, tmp_path: Path) -> None:
    """The others by their next exchange; the checkpoint before stays."""
    fields = {**FEW, "training__snapshot_freq_for_preemption": 2, "training__shard": shard}
    with pytest.raises(AssertionError) as failed:
        together(2, [Full(tmp_path, fields)])
    errors = str(failed.value)
    assert "MachineError: No space left on device" in errors
    assert "MachineError: another process of this run has ended" in errors
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000002.pt"]


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
