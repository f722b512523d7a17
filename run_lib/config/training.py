"""What training needs."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from losses import ClassifierLoss, LearnedParts, Loss, TimeSampler
from losses.of_samples import Losses
from models.base import Network
from models.prediction.classifier import NoisyClassifier
from models.prediction.noise_model import NoiseModel
from run_lib.config.chosen import generates
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration
from run_lib.config.guidance import build_request
from run_lib.config.objective import build_classifier_loss, build_loss
from run_lib.config.sampling import SamplingPlan
from run_lib.config.settings import TrainSettings
from run_lib.config.snapshots import plan_preview
from run_lib.config.subject import Subject
from run_lib.config.task import build_task
from run_lib.training.optimisers import LossScaling, Schedule, trained_parameters
from run_lib.training.tasks import TrainingTask
from sde_lib.noise import Noise


@dataclass(frozen=True)
class Optimisation:
    """How weights are updated.

    Attributes:
        optimizer: and its settings.
        lr: learning rate, before its schedule.
        schedule: of the learning rate.
        grad_clip: largest norm of the gradient; 0 or less: any.
        scaling: of the loss in half precision.
    """

    optimizer: Chosen
    lr: float
    schedule: Schedule
    grad_clip: float
    scaling: LossScaling

    def make_optimizer(self, network: Network, learned: LearnedParts | None = None) -> torch.optim.Optimizer:
        """The optimiser of the parameters that require a gradient, of the network and of what its loss learns."""
        optimizer: torch.optim.Optimizer = self.optimizer.build(
            parameters=trained_parameters(network, learned), lr=self.lr
        )
        return optimizer

    def rate(self, step: int, n_iters: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.lr * self.schedule(step, n_iters)


@dataclass(frozen=True)
class Objective(abc.ABC):
    """What is minimised, of the model that it evaluates."""

    @property
    @abc.abstractmethod
    def times(self) -> TimeSampler:
        """The distribution of times, which may learn."""

    @property
    def classifier(self) -> NoisyClassifier | None:
        """The model, where it is a classifier."""
        return None

    @property
    @abc.abstractmethod
    def learned(self) -> LearnedParts:
        """What the loss learns beside the network's weights, which may be nothing."""

    @abc.abstractmethod
    def losses(self, x0: Tensor, noise: Noise, **cond: Tensor) -> Losses:
        """The loss of each sample of data ``x0`` (B, ...)."""


@dataclass(frozen=True)
class Modelling(Objective):
    """The loss of a model of data."""

    loss: Loss
    model: NoiseModel

    @property
    def times(self) -> TimeSampler:
        return self.loss.times

    @property
    def learned(self) -> LearnedParts:
        return self.loss.learned

    def losses(self, x0: Tensor, noise: Noise, **cond: Tensor) -> Losses:
        return self.loss(self.model, x0, noise, **cond)


@dataclass(frozen=True)
class Classifying(Objective):
    """The loss of a classifier of noisy data."""

    loss: ClassifierLoss
    model: NoisyClassifier

    @property
    def times(self) -> TimeSampler:
        return self.loss.times

    @property
    def learned(self) -> LearnedParts:
        return LearnedParts(times=self.loss.times.learned)

    @property
    def classifier(self) -> NoisyClassifier:
        return self.model

    def losses(self, x0: Tensor, noise: Noise, **cond: Tensor) -> Losses:
        return self.loss(self.model, x0, noise, y=cond["y"])


@dataclass(frozen=True)
class TrainingPlan:
    """What training needs.

    Attributes:
        subject: the network and its data.
        task: conditioning that goes with the data.
        objective: the loss and the model that it evaluates.
        optimisation: how weights are updated.
        settings: numbers and sizes.
        preview: what draws samples while training; None: nothing does.
    """

    subject: Subject
    task: TrainingTask
    objective: Objective
    optimisation: Optimisation
    settings: TrainSettings
    preview: SamplingPlan | None

    @property
    def times(self) -> TimeSampler:
        """The distribution of times, which may learn."""
        return self.objective.times

    @property
    def learned(self) -> LearnedParts:
        """What the loss learns beside the network's weights, which may be nothing."""
        return self.objective.learned


def build_objective(configuration: Configuration, subject: Subject) -> Objective:
    """The loss of a model of data, or of a classifier."""
    model = subject.training
    if generates(configuration.values):
        return Modelling(build_loss(configuration, model, subject.data), model)
    classifier = NoisyClassifier(subject.network, model.process, model.time, model.evaluator)
    return Classifying(build_classifier_loss(configuration, model.process), classifier)


def build_optimisation(configuration: Configuration) -> Optimisation:
    """config.optim.

    Raises:
        ValueError: an unknown name, or a value that a setting cannot have.
    """
    section, training = configuration.values.optim, configuration.values.training
    return Optimisation(
        configuration.choose("optimizer"),
        section.lr,
        configuration.choose("schedule").build(samples_per_step=training.batch_size * training.accumulate),
        section.grad_clip,
        LossScaling(training.precision == "float16", training.loss_scale, training.loss_scale_growth),
    )


def plan_training(
    configuration: Configuration, subject: Subject, samples: SamplingPlan | None
) -> TrainingPlan:
    """Build the objective, the task, the optimiser's settings and what draws samples while training.

    Args:
        configuration: complete.
        subject: the network and its data.
        samples: of ``config.sampling``; None: a classifier has none.

    Raises:
        ValueError: components that do not fit together.
    """
    section, objective = configuration.values.training, build_objective(configuration, subject)
    optimisation = build_optimisation(configuration)
    _check_decay(subject.network, optimisation.optimizer)
    return TrainingPlan(
        subject=subject,
        task=build_task(configuration, subject, build_request(configuration)),
        objective=objective,
        optimisation=optimisation,
        settings=TrainSettings.of(section),
        preview=None if samples is None else plan_preview(configuration, samples),
    )


def _check_decay(network: Network, optimizer: Chosen) -> None:
    decay = optimizer.resolved().get("weight_decay", 0.0)
    if network.unit_weights and decay:
        raise ValueError(
            f"optim.weight_decay={decay} shrinks weights that this network brings back to unit magnitude before each "
            "step; where it is part of the gradient, as in Adam, it drowns that of the loss. Set it to 0."
        )
