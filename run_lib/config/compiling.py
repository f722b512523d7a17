"""config.compile -> for which batches the network is compiled in each kind of work."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from ml_collections import ConfigDict

from models.base import Network
from models.describe import count_parameters, describe, example_conditions
from run_lib.automatic.compiling import Part, Passes, worthwhile
from run_lib.computing.compiling import obstacle
from run_lib.computing.numerics import Compilation
from run_lib.config.configuration import Configuration
from run_lib.config.sweep import parse_sweep
from run_lib.data.listing import announce
from run_lib.processes import Processes

LIKELIHOOD = 150
"""Evaluations of a likelihood, with as many backward passes."""
ALL = 1000
"""Images of an input of which all are taken: it is not counted before it is read."""


@dataclass(frozen=True)
class Job:
    """The evaluations of a network in one kind of work.

    Attributes:
        precision: that they have.
        evaluations: of one sample, all together; 0: there are none.
        passes: whether they have backward passes.
        sizes: of the batches.
    """

    precision: str
    evaluations: float
    passes: Passes
    sizes: tuple[int, ...]

    @property
    def times(self) -> int:
        """A backward pass computes twice as much as a forward pass."""
        return 3 if self.passes == "training" else 1


def jobs(configuration: Configuration) -> Mapping[str, Job]:
    """The kinds of work that the mode of a configuration does, by name."""
    values, mode = configuration.values, configuration.mode
    training, sampling, evaluation = values.training, values.sampling, values.eval
    evaluated = mode in ("eval", "all")
    scored = evaluation.get("num_samples") or 0 if evaluated and evaluation.enable_sampling else 0
    images = evaluation.get("bpd_num_images") or 0 if evaluated and evaluation.enable_bpd else 0
    restored, back = values.control, values.reconstruct
    tuned = mode == "tune" and not values.tune.grid
    settings = len(parse_sweep(values.tune.sweep).candidates) if tuned else 1
    # Samples of a set that is drawn batch by batch, how many such sets, and the size of a batch.
    sets = {
        "sample": [(sampling.num_samples, 1, sampling.batch_size)],
        "tune": [(values.tune.num_samples, values.tune.repeats * settings, sampling.batch_size)],
        "control": [((restored.num_images or ALL) * restored.samples, 1, sampling.batch_size)],
        "reconstruct": [(back.num_images or ALL, 2, back.batch_size)],
        "eval": [(scored, 1, sampling.batch_size)],
        "all": [(sampling.num_samples, 1, sampling.batch_size), (scored, 1, sampling.batch_size)],
    }.get(mode, [])
    steps = sampling.num_steps * (1 + (sampling.corrector != "none"))
    rows = training.microbatch or training.batch_size
    return {
        "training": Job(
            training.precision,
            training.n_iters * training.batch_size * training.accumulate
            if mode in ("train", "check", "all")
            else 0,
            "training",
            tuple({len(Processes(rank, size).share(range(rows))) for rank, size in _team()} - {0}),
        ),
        "sampling": Job(
            sampling.precision,
            sum(count * repeats for count, repeats, _ in sets) * steps,
            "forward",
            tuple({min(size, count) for count, _, size in sets} - {0}),
        ),
        "evaluation": Job(
            evaluation.precision, images * LIKELIHOOD, "training", (min(evaluation.batch_size, images or 1),)
        ),
    }


def compilations(
    configuration: Configuration, network: Network, shape: tuple[int, ...], device: torch.device
) -> Mapping[str, Compilation]:
    """What is compiled, by kind of work; nothing in one that is not there.

    What is chosen is said, and why.

    Raises:
        ValueError: weights that several processes share are to be compiled.
    """
    values = configuration.values
    asked: str = values.compile
    found = {name: job for name, job in jobs(configuration).items() if job.evaluations}
    if asked == "off" or not network.has_weights or not found:
        return {}
    if values.training.shard and asked == "on":
        raise ValueError(
            "config.compile='on' compiles a network whose weights are in one place, and training.shard shares them "
            "among processes: leave one of them."
        )
    if (why := obstacle(device.type)) is not None:
        announce(f"compile: off, as {why}")
        return {}
    if asked == "on":
        return {name: Compilation(job.sizes, steps=True) for name, job in found.items()}
    chosen: dict[str, Compilation] = {}
    for name, job in found.items():
        flop = _flop(network, shape, values, job)

        def pays(part: Part, what: str, job: Job = job, flop: float = flop) -> bool:
            half = job.precision in ("bfloat16", "float16")
            choice = worthwhile(flop, job.passes, device.type, os.cpu_count() or 1, half, part)
            announce(f"compile: {what} {'on' if choice.value else 'off'}, {choice.reason}")
            return bool(choice.value)

        if pays("networks", name):
            steps = name != "training" and pays("steps", f"{name}, steps with their networks")
            chosen[name] = Compilation(job.sizes, steps)
    return chosen


def _flop(network: Network, shape: tuple[int, ...], values: ConfigDict, job: Job) -> float:
    """Of a job, by all processes together."""
    each = (
        2.0 * count_parameters(network) * math.prod(shape[1:])
    )  # more than there is: of small networks enough
    if each * job.evaluations * job.times > 1e15:
        conditions = example_conditions(network, values.model.num_classes, shape)
        each = 1e9 * describe(network, shape, **conditions).gflop
    return each * job.evaluations * job.times / Processes.from_environment().world_size


def _team() -> list[tuple[int, int]]:
    """Each process of this run: its rank and their number."""
    size = Processes.from_environment().world_size
    return [(rank, size) for rank in range(size)]
