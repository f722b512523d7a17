"""A step of training and the held-out loss: functions of the weights, the seed and the step alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from models.blocks.dropout import dropout_from
from run_lib.config.training import TrainingPlan
from run_lib.data.batches import Batches, Reading
from run_lib.data.split import Split
from run_lib.sample import batches
from run_lib.seeds import Use, step_seed, stream_seed
from run_lib.training.skipped_steps import say
from run_lib.training.state import TrainState
from run_lib.training.team import Team
from run_lib.training.undo import Kept
from run_lib.training.watch import SHOWN, Batch
from sde_lib.finite import finite_rows
from sde_lib.noise import Noise
from sde_lib.words import listed


def make_batches(plan: TrainingPlan, team: Team | None = None, reading: Reading | None = None) -> Batches:
    """The training data in the order of the steps; those of a team's process, or all.

    Args:
        plan: of the training.
        team: the processes that train; None: this one.
        reading: how they are read; None: as the data set says.
    """
    subject, settings = plan.subject, plan.settings
    train, device = subject.data.load("train"), subject.placement.device
    parts = tuple(map((team or Team()).evaluated, settings.microbatches()))
    data = subject.data if reading is None else replace(subject.data, reading=reading)
    return data.batches(train, subject.seed, settings.samples_per_step, parts, device)


def backward(state: TrainState, plan: TrainingPlan, batches: Batches, step: int) -> Batch:
    """Compute the gradient of a step's mean loss, microbatch by microbatch; returns what it is of.

    Each microbatch counts by its share of the step's samples, so the gradient is that of the mean over all of them.
    """
    settings, network, team = plan.settings, plan.subject.network, state.team
    parts: list[Batch] = []
    places: list[int] = []
    buffers = Kept(network.buffers())
    evaluate = team.evaluator(network, training_losses)
    network.constrain()
    state.learned.constrain()
    # A plugin's own layers may draw from torch's generator.
    torch.manual_seed(step_seed(plan.subject.seed, Use.TRAINING, step) + team.processes.rank)
    for rows in settings.microbatches():
        own, some = team.rows(rows), team.evaluated(rows)
        with (
            plan.subject.placement.training.used(),
            dropout_from(network, _streams(plan, Use.DROPOUT, step, some)),
            team.reducing(last=rows.stop == settings.samples_per_step),
        ):
            drawn = evaluate(plan, batches, step, some).first(len(own))
            state.scaler.scale(drawn.losses.values.sum() / settings.samples_per_step).backward()
        parts.append(drawn.detached)
        places += own
    team.add_up(state.learned)
    return replace(team.joined(Batch.of(parts), places, settings.samples_per_step), buffers=buffers)


def training_losses(plan: TrainingPlan, batches: Batches, step: int, rows: range) -> Batch:
    """The losses of some rows of a step's batch. Everything random in them is a function of (seed, step)."""
    subject, drawn = plan.subject, batches.take(step, rows)
    noise = _streams(plan, Use.TRAINING, step, rows)
    subject.network.train()
    labels = plan.task.training_labels(drawn.labels, noise)
    x0 = subject.data.training_batch(drawn.images, noise)
    told = {} if x0.labels is None else {"augment": x0.labels}
    return _losses(plan, x0.images, labels, noise, **told)


def _streams(plan: TrainingPlan, use: Use, step: int, rows: range) -> Noise:
    """The streams of some rows of a step, each a function of (seed, step, row)."""
    total = plan.settings.samples_per_step
    return Noise(
        stream_seed(plan.subject.seed, use),
        torch.arange(step * total + rows.start, step * total + rows.stop),
        plan.subject.placement.device,
        part=(rows.start, total),
    )


@torch.no_grad()
def validation_loss(plan: TrainingPlan, state: TrainState, held_out: Split) -> float:
    """The loss of the averaged weights on some held-out data, with the same noise every time.

    The data are four batches' worth, evenly spaced over the split, so that they span the classes of one that is sorted
    by class; they are evaluated in microbatches. Where data or losses are not finite, it is that of the others, and a
    warning names those; NaN without others.
    """
    subject, settings = plan.subject, plan.settings
    size = min(settings.batch_size * 4, len(held_out))
    rows = torch.arange(size) * len(held_out) // size
    subject.network.eval()
    found: list[Batch] = []
    places: list[int] = []
    with state.weights.averaged(), subject.placement.evaluation.used():
        for part in batches(size, settings.microbatch or settings.batch_size):
            own, evaluated = state.team.rows(part), state.team.evaluated(part)
            noise = Noise(
                stream_seed(subject.seed, Use.VALIDATION),
                evaluated,
                subject.placement.device,
                part=(evaluated.start, size),
            )
            some = held_out.read(rows[evaluated.start : evaluated.stop])
            x0 = subject.data.held_out_batch(some.images.to(subject.placement.device), noise)
            found.append(_losses(plan, x0, some.labels, noise).first(len(own)))
            places += own
    values = state.team.joined(Batch.of(found), places, size).losses.values
    finite = values.isfinite()
    if bool(finite.all()):
        return float(values.mean())
    bad = [f"test sample {rows[k]}" for k in (~finite).nonzero()[:, 0].tolist()]
    say(f"the validation loss leaves out samples whose loss is not finite: {listed(bad, SHOWN)}")
    return float(values[finite].mean())


def _losses(plan: TrainingPlan, x0: Tensor, labels: Tensor, noise: Noise, **told: Tensor) -> Batch:
    """The objective's losses of data in the network's range, with the conditioning of the task and of what was done to
    the data."""
    losses = plan.objective.losses(x0, noise, **plan.task.network_conditions(x0, labels), **told)
    return Batch(losses, finite_rows(x0))
