"""The training loop: steps of the optimiser, checkpoints, curves for TensorBoard."""

from __future__ import annotations

import json

import torch
from torch import Tensor
from tqdm import tqdm

from losses.base import Losses
from run_lib.config.sampling import SamplingPlan
from run_lib.config.training import TrainingPlan
from run_lib.data.levels import Arrays
from run_lib.data.order import shuffled_rows
from run_lib.pictures import picture, to_tensorboard
from run_lib.run import Run
from run_lib.sample import draw
from run_lib.seeds import Use, stream_seed
from run_lib.stopping import finishing
from run_lib.training.curves import Curves
from run_lib.training.state import TrainState
from sde_lib.noise import Noise


def train(plan: TrainingPlan, run: Run) -> None:
    """Train to ``training.n_iters`` steps, from the latest checkpoint if there is one.

    A step is a function of (state, seed, step number) alone, so a run that was killed and started again
    ends with the weights of one that was not.

    Raises:
        ValueError: nothing to train, missing data, a checkpoint that does not fit, a loss that stays non-finite.
    """
    subject, settings = plan.subject, plan.settings
    if not subject.trainable:
        raise ValueError(
            "this configuration's model is an exact score: there is nothing to train; use eval or sample."
        )
    arrays, held_out = subject.data.load("train"), subject.data.load("test")
    for split, data in (("train", arrays), ("test", held_out)):
        plan.task.check(data, f"the {split} split of {subject.data.name}")
    state = run.new_state(plan)
    run.resume(state)
    bad_steps = 0
    # Of the step itself the earlier files hold the curves, and they are not drawn again.
    with (
        Curves(run.workdir / "tensorboard", purge_step=state.step + 1) as writer,
        finishing("the step") as stop,
    ):
        writer.add_text(
            "config", f"```json\n{json.dumps(dict(subject.record.values), indent=2)}\n```", state.step
        )
        bar = tqdm(
            range(state.step, settings.n_iters), initial=state.step, total=settings.n_iters, desc="training"
        )
        for step in bar:
            state.optimizer.zero_grad(set_to_none=True)
            losses = backward(state, plan, arrays, step)
            loss = losses.values.mean()
            finite = bool(loss.isfinite())
            bad_steps = 0 if finite else bad_steps + 1
            if bad_steps == settings.max_nonfinite:
                _give_up(plan, run, arrays, step, losses)
            rate = plan.optimisation.rate(step, settings.n_iters)
            if finite:
                norm = update(state, rate, plan.optimisation.grad_clip)
                plan.times.observe(losses.t, losses.unweighted)
            state.weights.step = done = step + 1

            if done % settings.log_freq == 0 and finite:
                value = float(loss)
                bar.set_postfix(loss=f"{value:.4f}")
                writer.add_scalar("train/loss", value, done)
                writer.add_scalar("train/gradient_norm", float(norm), done)
                writer.add_scalar("train/learning_rate", rate, done)
            if done % settings.eval_freq == 0 or done == settings.n_iters:
                writer.add_scalar("test/loss", validation_loss(plan, state, held_out), done)
            last = done == settings.n_iters
            # Before the checkpoint: a run that goes on from it does not draw what belongs to its step.
            if plan.preview is not None and (done % settings.snapshot_freq == 0 or last):
                writer.add_image("samples", _preview(plan.preview, state), done)
            due = done % settings.snapshot_freq_for_preemption == 0 or done % settings.snapshot_freq == 0
            if ((due or stop.asked) and not bad_steps) or last:  # no checkpoint while losses are not finite
                state.save(run.checkpoints.path(done), subject.record.values)
                run.checkpoints.keep(settings.snapshot_freq, settings.snapshot_freq_for_preemption)
            stop.leave(
                f"the same command goes on from {run.checkpoints.latest() or 'the beginning'}, "
                f"the last of {done} steps"
            )


def backward(state: TrainState, plan: TrainingPlan, arrays: Arrays, step: int) -> Losses:
    """Compute the gradient of a step's mean loss, microbatch by microbatch; returns the losses, detached.

    Each microbatch counts by its share of the batch, so the gradient is that of the mean over the batch.
    """
    settings = plan.settings
    size = settings.microbatch or settings.batch_size
    parts = []
    torch.manual_seed(stream_seed(plan.subject.seed, Use.TRAINING) * 1_000_003 + step)  # dropout
    for first in range(0, settings.batch_size, size):
        rows = range(first, min(first + size, settings.batch_size))
        losses = training_losses(plan, arrays, step, rows)
        loss = losses.values.sum() / settings.batch_size
        if bool(loss.isfinite()):
            state.scaler.scale(loss).backward()
        parts.append(losses)
    weights = [p.weights for p in parts if p.weights is not None]
    return Losses(
        torch.cat([p.values.detach() for p in parts]),
        torch.cat([p.t for p in parts]),
        torch.cat(weights) if weights else None,
    )


def training_losses(plan: TrainingPlan, arrays: Arrays, step: int, rows: range) -> Losses:
    """The losses of some rows of a step's batch. Everything random in them is a function of (seed, step)."""
    subject, start = plan.subject, step * plan.settings.batch_size + rows.start
    chosen = torch.from_numpy(shuffled_rows(subject.seed, start, len(rows), len(arrays)))
    streams = torch.arange(start, start + len(rows))
    noise = Noise(
        stream_seed(subject.seed, Use.TRAINING),
        streams,
        subject.placement.device,
        part=(rows.start, plan.settings.batch_size),
    )
    subject.network.train()
    with subject.placement.autocast():
        labels = plan.task.training_labels(arrays.labels[chosen], noise)
        return _losses(plan, arrays.images[chosen], labels, noise)


@torch.no_grad()
def validation_loss(plan: TrainingPlan, state: TrainState, held_out: Arrays) -> float:
    """The loss of the averaged weights on the first batch of held-out data, with the same noise every time."""
    subject, size = plan.subject, min(plan.settings.batch_size * 4, len(held_out))
    noise = Noise(stream_seed(subject.seed, Use.VALIDATION), range(size), subject.placement.device)
    subject.network.eval()
    with state.weights.averaged():
        return float(_losses(plan, held_out.images[:size], held_out.labels[:size], noise).values.mean())


def _losses(plan: TrainingPlan, images: Tensor, labels: Tensor, noise: Noise) -> Losses:
    """The objective's losses of images as levels, with the conditioning of the task."""
    x0 = plan.subject.data.training_batch(images.to(plan.subject.placement.device), noise)
    return plan.objective.losses(x0, noise, **plan.task.network_conditions(x0, labels))


def update(state: TrainState, rate: float, clip: float) -> Tensor:
    """Take one step of the optimiser and update the averages; returns the gradient's norm before clipping.

    A step whose gradients overflowed in half precision is skipped, and the scale of the loss is halved.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.scaler.unscale_(state.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), clip if clip > 0 else float("inf"))
    state.scaler.step(state.optimizer)
    state.scaler.update()
    for average in (state.ema, *state.averages.values()):
        average.update(state.network)
    return norm


def _give_up(plan: TrainingPlan, run: Run, arrays: Arrays, step: int, losses: Losses) -> None:
    """Write the batch of a non-finite loss to a file, and stop training."""
    size = plan.settings.batch_size
    rows = shuffled_rows(plan.subject.seed, step * size, size, len(arrays))
    path = run.workdir / f"nonfinite_step_{step}.pt"
    torch.save(
        {
            "images": arrays.images[rows],
            "rows": torch.from_numpy(rows),
            "t": losses.t,
            "losses": losses.values,
        },
        path,
    )
    raise ValueError(
        f"the loss was not finite for {plan.settings.max_nonfinite} steps in a row, to step {step}; the batch, its "
        f"times and losses are in {path}. Lower optim.lr, lengthen optim.warmup or clip with optim.grad_clip."
    )


def _preview(plan: SamplingPlan, state: TrainState) -> Tensor:
    """A picture of samples by the averaged weights, for TensorBoard."""
    state.network.eval()
    with state.weights.averaged():
        batch = draw(plan, range(plan.settings.grid_size), Use.PREVIEW)
    return to_tensorboard(picture(batch.levels, plan.data))
