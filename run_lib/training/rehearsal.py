"""A rehearsal of training: what it will do, some of it hours from now, is done once in small and taken back."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import torch

from run_lib.computing.limits import free_disk
from run_lib.config.sampling import SamplingPlan
from run_lib.config.training import TrainingPlan
from run_lib.data.split import Split
from run_lib.faults import MachineError
from run_lib.files import partial_path
from run_lib.run import Run
from run_lib.sample import LostSamplesError, draw
from run_lib.seeds import Use
from run_lib.training.checkpoints import read_checkpoint
from run_lib.training.state import TrainState
from run_lib.training.steps import backward, make_batches, validation_loss
from run_lib.training.undo import KeptOptimizer
from sde_lib.words import amount

SECONDS = 5.0
"""That a rehearsal before a training may take."""
SPEED = 200e6
"""Bytes of a checkpoint that are written and read again in a second."""


def rehearse(plan: TrainingPlan, state: TrainState, run: Run, held_out: Split | None) -> None:
    """Do what a training does later, so that what cannot succeed fails now.

    A sample of two network evaluations, the held-out loss of four samples, a step of few samples, a checkpoint written
    and read: each where it leaves the whole within ``SECONDS``, by what those before took. Afterwards weights, moments,
    averages and buffers are what they were, bit for bit, there is no file, and no random stream has moved.

    Raises:
        ValueError, MachineError: as the training would, or a checkpoint has no room.
    """
    begun, small = time.perf_counter(), _small(plan, state.team.size)

    def fits(seconds: float) -> bool:
        """Whether so many seconds are left; all processes say the same."""
        late = int(time.perf_counter() - begun + seconds > SECONDS)
        return not (late if state.team.heard is None else state.team.heard(late))

    with same_draws(plan.subject.placement.device):
        if plan.preview is not None:
            draw_briefly(plan.preview, state)
        if held_out is not None and fits(2 * (time.perf_counter() - begun)):
            validation_loss(small, state, held_out)
        if fits(4 * (time.perf_counter() - begun)):
            with undone_step(small, state):
                check_room(state, run)
                if fits(state.bytes / SPEED):
                    try_checkpoint(state, run, plan)


def _small(plan: TrainingPlan, processes: int) -> TrainingPlan:
    """The plan with steps of two samples, or of one for each of more processes."""
    settings = replace(plan.settings, batch_size=max(2, processes), accumulate=1, microbatch=0)
    return replace(plan, settings=settings)


@contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """A block after which the generators of torch, numpy and Python are where they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def undone_step(plan: TrainingPlan, state: TrainState) -> Iterator[None]:
    """A block in which the weights and the optimiser's state are those after a step; at its end it is undone."""
    optimizer = KeptOptimizer(state.optimizer)
    everything = torch.ones((), dtype=torch.bool, device=plan.subject.placement.device)
    alone = replace(plan.subject.data.reading, num_workers=0)
    state.optimizer.zero_grad(set_to_none=True)
    with make_batches(plan, state.team, alone) as batches:
        batch = backward(state, plan, batches, 0)
    try:
        with state.team.stepping():
            state.optimizer.step()
        yield
    finally:
        optimizer.put_back(everything)
        batch.buffers.put_back(everything)
        state.optimizer.zero_grad(set_to_none=True)


def check_room(state: TrainState, run: Run) -> None:
    """Refuse a disk that has no room for a checkpoint.

    Raises:
        MachineError: with what there is, and what one takes.
    """
    free, size = free_disk(run.checkpoints.folder), state.bytes
    if size > free:
        raise MachineError(
            f"a checkpoint of this training takes {amount(size)}, and {run.checkpoints.folder} has room for "
            f"{amount(free)}. Free space there, or take another --workdir."
        )


def try_checkpoint(state: TrainState, run: Run, plan: TrainingPlan) -> None:
    """Write a checkpoint, read it, and remove it.

    Raises:
        ValueError: it cannot be read again.
        MachineError: there is no room for it.
    """
    path, team = partial_path(run.checkpoints.path(state.step)), state.team
    try:
        state.save(path, plan.subject.record.values)
        if team.is_main:
            read_checkpoint(path)
    except ValueError as error:
        raise ValueError(
            f"a checkpoint of this training could not be read again, and nothing could go on from it: {error}"
        ) from error
    finally:
        if team.is_main:
            path.unlink(missing_ok=True)


def draw_briefly(plan: SamplingPlan, state: TrainState) -> None:
    """A sample by the averaged weights, in as few evaluations as there can be; weights that are no good yet may lose
    it."""
    state.network.eval()
    with state.weights.averaged(), suppress(LostSamplesError):
        draw(replace(plan, sampler=plan.sampler.brief()), range(1), Use.PREVIEW)
