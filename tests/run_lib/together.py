"""Trainings by several processes at a time: one start of them for many configurations."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import socket
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from run_lib.config import plans
from run_lib.config.training import TrainingPlan
from run_lib.data.batches import Batches
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.stopping import Stopped, watching
from run_lib.training import loop, steps
from run_lib.training.watch import Batch
from tests.run_lib.planned import planned
from tests.run_lib.test_tasks import CHAIN
from tests.run_lib.tiny import get_config as tiny

EVERYTHING: dict[str, Any] = {
    **CHAIN,
    "training__times": "importance",
    "model__num_scales": 4,
    "training__n_iters": 50,
    "training__batch_size": 9,
    "training__accumulate": 2,
    "training__microbatch": 5,
    "training__log_freq": 10,
    "training__eval_freq": 25,
    "training__snapshot_freq": 50,
    "training__snapshot_freq_for_preemption": 50,
    "data__augment": "crop",
    "model__ema_rates": (0.5,),
    "model__ema_stds": (0.1,),
    "optim__grad_clip": 0.05,  # below what the gradients' norm is
    "optim__eps": 1e-6,  # by 1e-8 Adam makes whole steps of gradients that are rounding errors
}
"""Microbatches, accumulation, dropout, augmentation, importance times, several averages."""


SLOW_TO_IMPORT = ("sklearn.datasets", "torch._dynamo", "torch.distributed.fsdp", "matplotlib.figure")


@dataclass(frozen=True)
class Job:
    """A training to a folder.

    Attributes:
        folder: the work directory.
        fields: of the configuration.
        spoilt: a step and a row of it whose loss is not finite.
        stopped: a step in which the last process is sent SIGTERM, which all must obey.
    """

    folder: Path
    fields: Mapping[str, Any] = field(default_factory=dict)
    spoilt: tuple[int, int] | None = None
    stopped: int | None = None

    def run(self) -> None:
        """Train in this process, alone or together with others that do the same."""
        plan = planned(tiny(), plans.training, dict(self.fields))
        evaluate, processes = steps.training_losses, Processes.from_environment()

        def losses(plan: TrainingPlan, batches: Batches, step: int, rows: range) -> Batch:
            if step == self.stopped and processes.rank == processes.world_size - 1 and 0 not in rows:
                os.kill(os.getpid(), signal.SIGTERM)
            found = evaluate(plan, batches, step, rows)
            spoil = [math.nan if (step, row) == self.spoilt else 0.0 for row in rows]
            return replace(
                found, losses=replace(found.losses, values=found.losses.values + torch.tensor(spoil))
            )

        with mock.patch.object(steps, "training_losses", losses), watching():
            if self.stopped is None:
                loop.train(plan, Run(self.folder))
                return
            with pytest.raises(Stopped) as stop:
                loop.train(plan, Run(self.folder))
            assert stop.value.signal is signal.SIGTERM
            assert f"the last of {self.stopped + 1} steps" in stop.value.kept


def alone(*jobs: Job) -> None:
    """Do jobs in this process."""
    for job in jobs:
        job.run()


def together(count: int, jobs: Sequence[Job]) -> None:
    """Do jobs by so many processes, one job after the other.

    Raises:
        AssertionError: one of them failed; with its traceback.
    """
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        # Forks of a process that has imported everything once, and in which nothing has run.
        multiprocessing.set_forkserver_preload([__name__, *SLOW_TO_IMPORT])
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        mp.start_processes(_work, (count, port, where, list(jobs)), nprocs=count, start_method="forkserver")
        failed = [path.read_text() for path in sorted(where.glob("error_*"))]
    assert not failed, "\n".join(failed)


def _work(rank: int, count: int, port: int, where: Path, jobs: Sequence[Job]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        with Processes.from_environment().process_group():
            alone(*jobs)
    except BaseException:
        (where / f"error_{rank}").write_text(traceback.format_exc())


def held(folder: Path, step: int = 50) -> dict[str, Any]:
    """A checkpoint."""
    found: dict[str, Any] = torch.load(folder / f"checkpoints/step_{step:08d}.pt", weights_only=True)
    return found


def weights_in(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The weights of a checkpoint and each of its averages."""
    yield "weights", content["model"]
    yield "ema", content["ema"]["shadow"]
    for kind in ("averages", "profiles"):
        for rate, average in content[kind].items():
            yield f"{kind} {rate}", average["shadow"]


@dataclass(frozen=True)
class Distance:
    """How far weights are from others: of all of them and of the farthest tensor, each over the norm of its own."""

    all: float
    tensor: float
    farthest: str


def distance(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Distance:
    """Of weights by name."""
    assert found.keys() == wanted.keys()
    apart = {name: float((found[name] - w).double().norm()) for name, w in wanted.items()}
    own = {name: float(w.double().norm()) for name, w in wanted.items()}
    relative = {name: apart[name] / own[name] if apart[name] else 0.0 for name in apart}
    farthest = max(relative, key=lambda name: relative[name])
    total = sum(v**2 for v in apart.values()) ** 0.5 / sum(v**2 for v in own.values()) ** 0.5
    return Distance(total, relative[farthest], farthest)
