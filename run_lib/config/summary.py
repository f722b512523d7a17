"""The resolved experiment in words and numbers: what ``--mode describe`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from ml_collections import ConfigDict
from torch import Tensor, nn

from models.prediction.noise_model import NoiseModel
from run_lib.config.chosen import generates
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration
from run_lib.config.sampler import build_sampler, denoised, pick_sampler
from run_lib.config.settings import SampleSettings, TrainSettings
from run_lib.config.subject import Subject
from run_lib.data.levels import DataSpec
from samplers.base import take_step
from samplers.ode import ODESampler
from samplers.pc import PCSampler


@dataclass(frozen=True)
class Experiment:
    """What a configuration comes to.

    Attributes:
        data, process, network, objective, sampler: in words; no objective: an exact score; no sampler: a classifier.
        counted: the sampler of a stand-in for the network, by which its evaluations are counted; None: there is none,
            or its steps follow the network.
        training: numbers of the training.
        samples: numbers of sampling.
        averages: of the weights.
        moments: that the optimiser keeps of each weight.
        device: of everything.
        automatic: fields that were ``auto``, with their values and reasons; empty: there are none.
    """

    data: str
    process: str
    network: str
    objective: str
    sampler: str
    counted: PCSampler | None
    training: TrainSettings
    samples: SampleSettings
    averages: int
    moments: int
    device: torch.device
    automatic: str = ""


class StandIn(nn.Module):
    """Outputs of a network's shape and no meaning, for nothing.

    Args:
        share: of the channels of the state that the output has: 2 with learned variances.
    """

    def __init__(self, share: int) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor, labels: Tensor, **cond: Tensor) -> Tensor:
        return torch.ones_like(x).repeat_interleave(self.share, 1)


def experiment(configuration: Configuration, subject: Subject) -> Experiment:
    """Gather it; no data are read and no weights made.

    Raises:
        ValueError: components that do not fit together.
    """
    values = configuration.values
    sampled = generates(values)
    sampler, counted = _sampler(configuration, subject) if sampled else ("", None)
    optimiser = configuration.choose("optimizer")
    return Experiment(
        data=_data(values, subject.data, configuration),
        process=_process(values, configuration),
        network=_told(configuration.choose("network")),
        objective=_objective(values, configuration, optimiser) if subject.trainable else "",
        sampler=sampler,
        counted=counted,
        training=TrainSettings.of(values.training),
        samples=SampleSettings.of(values.sampling),
        averages=1 + len(subject.averages.ema_rates) + len(subject.averages.ema_stds),
        moments=1 if optimiser.name.lower() == "sgd" else 2,
        device=subject.placement.device,
        automatic="; ".join(
            f"{path}={one.value} ({one.reason})" for path, one in configuration.automatic.items()
        ),
    )


def _data(values: ConfigDict, data: DataSpec, configuration: Configuration) -> str:
    kind = f"{data.levels} levels" if data.levels else "continuous values"
    seen = f"seen in [{data.limits[0]:g}, {data.limits[1]:g}]" if data.levels else "seen as they are"
    parts = [data.name, f"samples of shape {data.shape}, {kind} {seen}"]
    parts += ["dequantised"] if data.dequantize else []
    parts += ["mirrored at random"] if data.random_flip and len(data.shape) == 3 else []
    augmentation = configuration.find("augmentation")
    parts += [f"augmented by {_told(augmentation)}"] if augmentation is not None else []
    classes = values.model.num_classes
    parts += [f"{classes} classes" if classes else "no classes"]
    parts += [f"files below {values.data.root}"] if "root" in configuration.choose("data set").takes else []
    return "; ".join(parts)


def _process(values: ConfigDict, configuration: Configuration) -> str:
    told = _told(configuration.choose("sde"))
    output = f"; the network gives {values.model.output}" if values.model.output else ""
    learned = f", variances {values.model.variance}" if values.model.variance else ""
    return f"{told}; trained at {'any time' if values.training.continuous else 'its levels'}{output}{learned}"


def _objective(values: ConfigDict, configuration: Configuration, optimiser: Chosen) -> str:
    training, optim = values.training, values.optim
    parts = [f"task {_told(configuration.choose('task'))}"]
    for word, role in (("objective", "objective"), ("weighting", "weighting"), ("times", "times")):
        chosen = configuration.find(role)
        parts += [f"{word} {_told(chosen)}"] if chosen is not None else []
    settings = TrainSettings.of(training)
    several = f" (microbatches of {settings.microbatch})" if settings.microbatch else ""
    parts.append(
        f"{settings.n_iters:,} steps of {settings.samples_per_step} samples{several} in {training.precision}"
    )
    clip = f", gradients clipped at {optim.grad_clip:g}" if optim.grad_clip > 0 else ""
    parts.append(f"{_told(optimiser)} at lr {optim.lr:g}, {_told(configuration.choose('schedule'))}{clip}")
    return "; ".join(parts)


def _sampler(configuration: Configuration, subject: Subject) -> tuple[str, PCSampler | None]:
    section, model = configuration.values.sampling, subject.sampling
    stand_in = NoiseModel(
        StandIn(1 if model.variance is None else 2), model.process, model.time, model.output, model.variance
    )
    picked = pick_sampler(configuration, model.process)
    sampler = build_sampler(configuration, denoised(configuration, stand_in, subject.data), picked)
    guidance = configuration.choose("guidance")
    guided = (
        "" if guidance.name == "none" else f"; guided by {_told(guidance)}, whose evaluations come beside"
    )
    if isinstance(sampler, ODESampler):
        return (
            f"{_told(configuration.choose('method'))}: as many evaluations as its tolerances take{guided}",
            None,
        )
    if picked is not None:
        words = picked.why
    else:
        names = (("predictor", ""), ("corrector", "corrector "), ("grid", "grid "))
        words = ", ".join(f"{word}{_told(configuration.choose(role))}" for role, word in names)
    steps = f"{len(sampler.times)} times"
    return f"{words}; {steps}, in {section.precision}{guided}", replace(sampler, stepping=take_step)


def _told(chosen: Chosen) -> str:
    """A component with its settings: ``langevin (snr=0.16)``."""
    settings = ", ".join(_settings(chosen))
    return f"{chosen.name} ({settings})" if settings else chosen.name


def _settings(chosen: Chosen) -> Iterator[str]:
    for name, value in chosen.resolved().items():
        if value not in ((), "") and not isinstance(value, ConfigDict):
            yield f"{name}={_value(value)}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
