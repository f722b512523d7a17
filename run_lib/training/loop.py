"""The training loop."""

from __future__ import annotations

import json

import torch
from torch import Tensor
from tqdm import tqdm

from losses.base import Losses
from run_lib.config.experiment import Experiment
from run_lib.config.settings import PRECISIONS
from run_lib.data.spec import Arrays, shuffled_rows
from run_lib.pictures import picture, to_tensorboard
from run_lib.run import Run
from run_lib.sample import draw
from run_lib.seeds import Use, stream_seed
from run_lib.training.optimisers import learning_rate
from run_lib.training.state import TrainState
from sde_lib.noise import Noise


def train(run: Run) -> None:
    """Train to ``training.n_iters`` steps, from the latest checkpoint if there is one.

    A step is a function of (state, seed, step number) alone, so a run that was killed and started again
    ends with the weights of one that was not.

    Raises:
        ValueError: nothing to train, missing data, a checkpoint that does not fit, a loss that stays non-finite.
    """
    from torch.utils.tensorboard import SummaryWriter

    e = run.experiment
    if not e.trainable:
        raise ValueError(
            "this configuration's model is an exact score: there is nothing to train; use eval or sample."
        )
    settings = e.training
    arrays, held_out = e.data.load("train"), e.data.load("test")
    for split, data in (("train", arrays), ("test", held_out)):
        e.task.check(data, f"the {split} split of {e.data.name}")
    state = run.new_state()
    latest = run.checkpoints.latest()
    if latest is not None:
        state.load(latest)
        print(f"continuing from {latest}")
    bad_steps = 0
    with SummaryWriter(str(run.workdir / "tensorboard"), purge_step=state.step) as writer:
        writer.add_text("config", f"```json\n{json.dumps(dict(e.config), indent=2)}\n```", state.step)
        bar = tqdm(
            range(state.step, settings.n_iters), initial=state.step, total=settings.n_iters, desc="training"
        )
        for step in bar:
            state.optimizer.zero_grad(set_to_none=True)
            losses = backward(state, e, arrays, step)
            loss = losses.values.mean()
            finite = bool(loss.isfinite())
            bad_steps = 0 if finite else bad_steps + 1
            if bad_steps == settings.max_nonfinite:
                _give_up(run, arrays, step, losses)
            rate = learning_rate(e.optim, step, settings.n_iters)
            if finite:
                norm = update(state, rate, e.optim.grad_clip)
                e.loss.times.observe(losses.t, losses.unweighted)
            state.step = done = step + 1

            if done % settings.log_freq == 0 and finite:
                value = float(loss)
                bar.set_postfix(loss=f"{value:.4f}")
                writer.add_scalar("train/loss", value, done)
                writer.add_scalar("train/gradient_norm", float(norm), done)
                writer.add_scalar("train/learning_rate", rate, done)
            if done % settings.eval_freq == 0 or done == settings.n_iters:
                writer.add_scalar("test/loss", validation_loss(e, state, held_out), done)
            last = done == settings.n_iters
            due = done % settings.snapshot_freq_for_preemption == 0 or done % settings.snapshot_freq == 0
            if (due and not bad_steps) or last:  # what a run goes back to is never in the middle of trouble
                state.save(run.checkpoints.path(done), dict(e.config))
                run.checkpoints.keep(multiple_of=settings.snapshot_freq)
            if (
                settings.snapshot_sampling
                and e.task.generates
                and (done % settings.snapshot_freq == 0 or last)
            ):
                writer.add_image("samples", _preview(run, state), done)


def backward(state: TrainState, e: Experiment, arrays: Arrays, step: int) -> Losses:
    """Add up the gradients of a step's mean loss, microbatch by microbatch; returns the losses, detached.

    Each microbatch counts by its share of the batch, so the gradient is that of the mean over the batch.
    """
    settings = e.training
    size = settings.microbatch or settings.batch_size
    parts = []
    torch.manual_seed(stream_seed(e.seed, Use.TRAINING) * 1_000_003 + step)  # dropout
    for first in range(0, settings.batch_size, size):
        rows = range(first, min(first + size, settings.batch_size))
        losses = training_losses(e, arrays, step, rows)
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


def training_losses(e: Experiment, arrays: Arrays, step: int, rows: range) -> Losses:
    """The losses of some rows of a step's batch: everything random in them is a function of (seed, step)."""
    seed, start = stream_seed(e.seed, Use.TRAINING), step * e.training.batch_size + rows.start
    chosen = torch.from_numpy(shuffled_rows(e.seed, start, len(rows), len(arrays)))
    noise = Noise(seed, torch.arange(start, start + len(rows)), e.device)
    e.network.train()
    with autocast(e):
        labels = e.task.training_labels(arrays.labels[chosen], noise)
        return _losses(e, arrays.images[chosen], labels, noise)


def autocast(e: Experiment) -> torch.autocast:
    """Lower precision where ``training.precision`` asks for it."""
    precision = PRECISIONS[e.training.precision]
    return torch.autocast(e.device.type, precision, enabled=precision != torch.float32)


@torch.no_grad()
def validation_loss(e: Experiment, state: TrainState, held_out: Arrays) -> float:
    """The averaged weights' loss on the first batch of held-out data, at the same noise every time."""
    size = min(e.training.batch_size * 4, len(held_out))
    noise = Noise(stream_seed(e.seed, Use.VALIDATION), range(size), e.device)
    e.network.eval()
    with state.ema.average(e.network):
        return float(_losses(e, held_out.images[:size], held_out.labels[:size], noise).values.mean())


def _losses(e: Experiment, images: Tensor, labels: Tensor, noise: Noise) -> Losses:
    x0 = e.data.training_batch(images.to(e.device), noise)
    return e.loss(e.loss_model, x0, noise, **e.task.network_conditions(x0, labels))  # type: ignore[arg-type]


def update(state: TrainState, rate: float, clip: float) -> Tensor:
    """One step of the optimiser and of the averages; returns the gradient's norm before clipping.

    Gradients that overflowed in half precision are skipped, and the loss is scaled by less from then on.
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


def _give_up(run: Run, arrays: Arrays, step: int, losses: Losses) -> None:
    e = run.experiment
    size = e.training.batch_size
    rows = shuffled_rows(e.seed, step * size, size, len(arrays))
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
        f"the loss was not finite for {e.training.max_nonfinite} steps in a row, to step {step}; the batch, its times "
        f"and losses are in {path}. Lower optim.lr, lengthen optim.warmup or clip with optim.grad_clip."
    )


def _preview(run: Run, state: TrainState) -> Tensor:
    e = run.experiment
    e.network.eval()
    with state.ema.average(e.network):
        batch = draw(e, range(e.sampling.grid_size), Use.PREVIEW)
    return to_tensorboard(picture(batch.levels, e.data))
