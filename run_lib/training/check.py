"""``--mode check``: everything that a training does, once, and what the training will take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from run_lib.computing.limits import free_disk, free_memory
from run_lib.config.sampling import SamplingPlan
from run_lib.config.settings import TrainSettings
from run_lib.config.training import TrainingPlan
from run_lib.data.batches import Batches
from run_lib.run import Run
from run_lib.sample import LostSamplesError, draw
from run_lib.seeds import Use
from run_lib.training.beginning import Beginning, begin
from run_lib.training.rehearsal import same_draws, try_checkpoint, undone_step
from run_lib.training.room import MOST, extrapolated, largest, peak
from run_lib.training.skipped_steps import say
from run_lib.training.state import TrainState
from run_lib.training.steps import backward, make_batches, validation_loss
from run_lib.training.team import Team
from run_lib.training.update import update
from run_lib.training.watch import Watch
from sde_lib.words import amount, digits, duration

STEPS, PATIENCE = 3, 20.0
"""Steps that are timed, and the seconds after which no other is begun."""


@dataclass(frozen=True)
class Step:
    """What a step takes.

    Attributes:
        reading, seconds: of reading a batch, and of everything.
        bytes: that it takes more at its height than there are between steps.
    """

    reading: float
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Picture:
    """What samples take.

    Attributes:
        one, all: seconds of a sample, and of a picture of them.
        images, nfe: how many are in the picture, and evaluations of each.
    """

    one: float
    all: float
    images: int
    nfe: int


def check(plan: TrainingPlan, run: Run) -> None:
    """Do each part of a training once, whole, and print what it took and what the training will take.

    A batch is read; steps are taken and undone; a checkpoint is written, read and removed; the held-out loss is found;
    a sample is drawn. Then the largest batch that fits is looked for. Nothing is left in the work directory.

    Raises:
        ValueError, MachineError: as the training would.
    """
    start = begin(plan, run, Team())
    plan, state, settings = start.plan, start.state, start.plan.settings
    device = plan.subject.placement.device
    with same_draws(device):
        step = _step(plan, state)
        print(
            f"batch        {settings.samples_per_step} of {len(plan.subject.data.load('train'))} training samples, "
            f"read in {duration(step.reading)}"
        )
        speed = digits(settings.samples_per_step / step.seconds, 4)
        print(
            f"step         {duration(step.seconds)}: {speed} samples a second; "
            f"{amount(step.bytes)} more at its height than between steps"
        )
        with undone_step(plan, state):
            begun = time.perf_counter()
            try_checkpoint(state, run, plan)
            saving = time.perf_counter() - begun
            size = state.bytes
        first = state.step
        kept = most_kept(settings, first)
        print(
            f"checkpoint   {amount(size)}, written and read in {duration(saving)}; at most {kept} are there at a "
            f"time, {amount(kept * size)} of the {amount(free_disk(run.checkpoints.folder))} that the disk has"
        )
        evaluating = 0.0
        if start.held_out is not None:
            begun = time.perf_counter()
            value = validation_loss(plan, state, start.held_out)
            evaluating = time.perf_counter() - begun
            print(f"held-out     loss {digits(value, 6)} in {duration(evaluating)}")
        picture = None if plan.preview is None else _picture(plan.preview, state)
        if picture is not None:
            print(
                f"sample       of {picture.nfe} evaluations in {duration(picture.one)}; a picture of {picture.images} "
                f"in about {duration(picture.all)}"
            )
        _room(start)
    drawing, left = 0.0 if picture is None else picture.all, max(0, settings.n_iters - first)
    parts = {
        "steps": step.seconds * left,
        "checkpoints": saving * _times(settings.saves, settings, first),
        "held-out losses": evaluating * _times(settings.evaluates, settings, first),
        "pictures": drawing * _times(settings.shows, settings, first),
    }
    told = ", ".join(f"{duration(seconds)} of {name}" for name, seconds in parts.items() if seconds)
    print(
        f"training     {left} steps in about {duration(sum(parts.values()))}: "
        f"{told or 'there is nothing left to do'}"
    )


def most_kept(settings: TrainSettings, first: int) -> int:
    """The most checkpoints that are there at a time from some step on: those that stay, the last ones, the best, and
    the one that is being written."""
    saved = [done for done in range(first + 1, settings.n_iters + 1) if settings.saves(done)]
    staying = sum(map(settings.stays, saved))
    return (
        staying + min(settings.keep_last, len(saved) - staying) + settings.keep_best + (len(saved) > staying)
    )


def _times(when: Callable[[int], bool], settings: TrainSettings, first: int) -> int:
    return sum(map(when, range(first + 1, settings.n_iters + 1)))


def _step(plan: TrainingPlan, state: TrainState) -> Step:
    """Steps of the training, each undone; of the first one the memory counts, of the others the time."""
    settings, taken = plan.settings, list[float]()
    with make_batches(plan) as batches:
        begun = time.perf_counter()
        batches.take(state.step, next(settings.microbatches()))
        reading = time.perf_counter() - begun
        used = peak(plan.subject.placement.device, partial(_void, plan, state, batches, state.step))
        for step in range(state.step + 1, state.step + 1 + STEPS):
            begun = time.perf_counter()
            _void(plan, state, batches, step)
            taken.append(time.perf_counter() - begun)
            if sum(taken) > PATIENCE:
                break
    return Step(reading, statistics.median(taken), used)


def _void(plan: TrainingPlan, state: TrainState, batches: Batches, number: int) -> None:
    """A step, which counts as one whose data are not finite: it changes nothing."""
    state.optimizer.zero_grad(set_to_none=True)
    batch = backward(state, plan, batches, number)
    rate = plan.optimisation.rate(number, plan.settings.n_iters)
    update(state, rate, plan.optimisation.grad_clip, replace(batch, data=torch.zeros_like(batch.data)))
    found = replace(state.watch.latest, data=batch.data)
    if not bool(batch.data.all() & batch.losses.values.mean().isfinite() & found.gradients.isfinite().all()):
        say(f"step {number} would be skipped: {found.cause(batches.indices(number).tolist())}")
    state.watch = Watch()
    state.optimizer.zero_grad(set_to_none=True)


def _picture(plan: SamplingPlan, state: TrainState) -> Picture | None:
    """A sample whole, and a batch of the picture in as few evaluations as there can be; None: they are lost, of which
    training makes a warning, too."""
    settings, brief = plan.settings, replace(plan, sampler=plan.sampler.brief())
    size = min(settings.grid_size, settings.batch_size)
    state.network.eval()
    try:
        with state.weights.averaged():
            begun = time.perf_counter()
            nfe = draw(plan, range(1), Use.PREVIEW).nfe
            one = time.perf_counter() - begun
            begun = time.perf_counter()
            few = draw(brief, range(size), Use.PREVIEW).nfe
            some = time.perf_counter() - begun
    except LostSamplesError as error:
        say(f"no picture of samples yet: {error}")
        return None
    return Picture(one, some * nfe / few * settings.grid_size / size, settings.grid_size, nfe)


def _room(start: Beginning) -> None:
    """Print the largest number of samples at a time that fits."""
    plan, state = start.plan, start.state
    device, size = plan.subject.placement.device, plan.settings.microbatch or plan.settings.batch_size
    field = "microbatch" if plan.settings.microbatch else "batch_size"

    def take(count: int) -> int:
        """The bytes of a step of so many samples at a time."""
        settings = replace(plan.settings, batch_size=count, accumulate=1, microbatch=0)
        some = replace(plan, settings=settings)
        with make_batches(some, reading=replace(plan.subject.data.reading, num_workers=0)) as batches:
            return peak(device, lambda: _void(some, state, batches, state.step))

    if device.type == "cuda":
        print(f"room         for training.{field}={largest(partial(_fits, take), size)}, tried")
        return
    few = max(1, size // 4)
    many = size if size > few else 2 * few
    found = extrapolated((few, take(few)), (many, take(many)), free_memory(device))
    if found is None:
        print("room         not found: more samples at a time take no more memory that could be measured")
    else:
        print(
            f"room         for about training.{field}={found}{' or more' if found == MOST else ''} in the "
            f"{amount(free_memory(device))} that are free, by the memory of {few} and {many} samples at a time"
        )


def _fits(take: Callable[[int], int], count: int) -> bool:
    try:
        take(count)
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True
