"""``--mode describe``: the resolved experiment in one screen, or the network layer by layer."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from models.describe import Description, example_conditions
from models.describe import describe as measure
from run_lib.computing.limits import free_disk, free_memory
from run_lib.computing.speed import flop_rate
from run_lib.config.plans import DescriptionPlan
from run_lib.config.summary import Experiment
from run_lib.run import Run
from run_lib.training.warm_start import published
from samplers.pc import PCSampler
from sde_lib.noise import Noise
from sde_lib.words import amount, digits, duration

WIDTH, INDENT = 100, 13
"""Columns of the screen, and of the words before each entry."""
LINES, LONGEST = 3, 14
"""Of an entry, at most, and of the one that has a sentence for each field; what is longer is cut."""
AUTOMATIC = "auto"
SIDE = 8
"""Of the samples by which evaluations are counted: steps are the same whatever the size."""


def describe(plan: DescriptionPlan, run: Run) -> None:
    """Print the experiment in at most 40 lines, or layer groups; neither weights nor data are needed.

    Raises:
        ValueError: weights are named, and do not fit.
    """
    cond = example_conditions(plan.network, plan.num_classes, plan.shape)
    found = measure(plan.network, plan.shape, **cond)
    if plan.experiment is None:
        print(found.table())
        return
    for name, text in _entries(plan, plan.experiment, found, run):
        print(_entry(name, text))


def _entry(name: str, text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"{name:<{INDENT}}",
        subsequent_indent=" " * INDENT,
        max_lines=LONGEST if name == AUTOMATIC else LINES,
        placeholder=" ...",
        break_on_hyphens=False,
    )


def _entries(
    plan: DescriptionPlan, one: Experiment, found: Description, run: Run
) -> Iterator[tuple[str, str]]:
    """What each entry is of, and its text."""
    yield "config", f"{run.config_file}, on {one.device}"
    yield "data", one.data
    yield "process", one.process
    yield (
        "network",
        f"{found.parameters:,} parameters, {_gflop(found.gflop)} an image, {_amount(found)} of activations an image: "
        f"{one.network}",
    )
    yield "objective", one.objective or "none: the score is exact, and nothing is trained"
    if weights := _weights(plan, run):
        yield "weights", weights
    nfe = None if one.counted is None else evaluations(one.counted, plan.shape)
    if one.sampler:
        counted = "" if nfe is None else f"{nfe} evaluations a sample: "
        yield "sampler", f"{counted}{one.sampler}"
    if one.automatic:
        yield AUTOMATIC, one.automatic
    yield "memory", _memory(one, found)
    yield "time", _time(one, found, nfe)
    yield "writes", _writes(one, found, plan.shape, run)
    if plan.unused:
        yield (
            "unused",
            f"set in {run.config_file}, and taken by nothing that it chooses: {', '.join(plan.unused)}",
        )
    yield (
        "more",
        "--mode describe layers: by group of layers; --mode check: each part of a training, measured",
    )


def evaluations(sampler: PCSampler, shape: tuple[int, ...]) -> int:
    """Network evaluations that a sample takes, counted on one that is small."""
    small = (1, shape[0], *(min(side, SIDE) for side in shape[1:]))
    return sampler.sample(small, Noise(0, range(1), sampler.times.device)).nfe


def _weights(plan: DescriptionPlan, run: Run) -> str:
    """Of what the weights are that a command would sample from, and whether they fit; empty: they are to be trained.

    Raises:
        ValueError: published weights that do not fit, as of any command that loads them.
    """
    latest = run.checkpoints.latest()
    if plan.loaded is None:
        return "" if latest is None else f"{latest}"
    found = published(plan.loaded).report
    step = "" if found.step is None else f", step {found.step}"
    fits = f"{found.path}: family {found.family}{step}; its {found.used} tensors fit the network"
    return fits if latest is None else f"{latest}, of the work directory, before those of {fits}"


def _gflop(gflop: float) -> str:
    return f"{digits(gflop, 4)} GFLOP" if gflop >= 0.1 else f"{digits(1e3 * gflop, 4)} MFLOP"


def _amount(found: Description) -> str:
    return amount(found.activation_mib * 2**20)


def _memory(one: Experiment, found: Description) -> str:
    images = one.training.microbatch or one.training.batch_size
    state = 4 * found.parameters * (2 + one.moments + one.averages)
    kept = images * found.activation_mib * 2**20
    parts = []
    if one.objective:
        parts.append(
            f"training about {amount(state + kept)}: {amount(state)} of weights, gradient, {one.moments} moments and "
            f"{one.averages} averages, {amount(kept)} of activations of {images} images in float32"
        )
    parts.append(f"{amount(free_memory(one.device))} are free on {one.device}")
    return "; ".join(parts)


def _time(one: Experiment, found: Description, nfe: int | None) -> str:
    if not found.gflop:
        return "no estimate: the network has no products to count"
    rate = flop_rate(one.device) / 1e9
    parts = []
    if one.objective:
        step = 3 * found.gflop * one.training.samples_per_step / rate
        parts.append(
            f"a step {duration(step)}, {one.training.n_iters:,} steps {duration(step * one.training.n_iters)}"
        )
    if nfe is not None:
        each = found.gflop * nfe / rate
        count = one.samples.num_samples
        parts.append(f"a sample {duration(each)}, {count} samples {duration(each * count)}")
    told = "; ".join(parts) or "as its tolerances take"
    return (
        f"at least {told}; of arithmetic alone, at the {digits(rate, 4)} GFLOP/s of a float32 convolution measured "
        f"now: often 1.5 to 3 times as long, --mode check measures it"
    )


def _writes(one: Experiment, found: Description, shape: tuple[int, ...], run: Run) -> str:
    parts = []
    if one.objective:
        size = 4 * found.parameters * (1 + one.moments + one.averages)
        settings = one.training
        parts.append(
            f"checkpoints/ of {amount(size)} each, every {settings.snapshot_freq_for_preemption:,} steps, the last "
            f"{settings.keep_last} and every {settings.snapshot_freq:,}th kept; tensorboard/"
        )
    if one.sampler:
        parts.append(f"samples/ of up to {amount(one.samples.num_samples * math.prod(shape) * 4)}")
    where = f"{run.workdir} ({amount(free_disk(run.workdir))} free)"
    return f"{where}: {'; '.join([*parts, f'{run.eval_folder}/report.json', 'report.html', 'log.txt'])}"
