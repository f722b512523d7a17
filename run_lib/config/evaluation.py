"""What evaluating checkpoints needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.prediction.noise_model import Model
from run_lib.config.bound_model import build_bound_model
from run_lib.config.configuration import Configuration
from run_lib.config.guidance import build_request
from run_lib.config.sampling import SamplingPlan
from run_lib.config.settings import EvalSettings
from run_lib.config.subject import Subject
from run_lib.config.task import build_task
from run_lib.config.training import Objective, build_objective
from run_lib.data.levels import DataSpec
from run_lib.training.tasks import TrainingTask


@dataclass(frozen=True)
class EvaluationPlan:
    """What evaluating checkpoints needs.

    Attributes:
        subject: the network and its data.
        task: conditioning that goes with the data.
        objective: whose loss is evaluated.
        sampling: what draws samples, and whose model has the likelihood; None: a classifier has neither.
        bound_model: what the variational bound evaluates: the levels of a chain, or cut from an SDE.
        settings: what is evaluated, numbers and sizes.
        snapshot_freq: steps between the snapshots that ``eval.begin_ckpt`` counts.
    """

    subject: Subject
    task: TrainingTask
    objective: Objective
    sampling: SamplingPlan | None
    bound_model: Model
    settings: EvalSettings
    snapshot_freq: int

    @property
    def data(self) -> DataSpec:
        return self.subject.data

    @property
    def device(self) -> torch.device:
        return self.subject.placement.device

    @property
    def seed(self) -> int:
        return self.subject.seed

    @property
    def samples(self) -> SamplingPlan:
        """The sampling plan of a model of data, which has one."""
        assert self.sampling is not None, "the check before any work refuses classifiers"
        return self.sampling


def plan_evaluation(
    configuration: Configuration, subject: Subject, sampling: SamplingPlan | None
) -> EvaluationPlan:
    """Build what evaluations evaluate.

    Raises:
        ValueError: components that do not fit together.
    """
    config = configuration.values
    settings = EvalSettings.of(config.eval)
    task = (
        build_task(configuration, subject, build_request(configuration))
        if sampling is None
        else sampling.task
    )
    return EvaluationPlan(
        subject=subject,
        task=task,
        objective=build_objective(configuration, subject),
        sampling=sampling,
        bound_model=build_bound_model(
            subject.training, subject.data, settings.bpd_levels, config.eval.bpd_clip, settings.bpd_bound_of
        ),
        settings=settings,
        snapshot_freq=config.training.snapshot_freq,
    )
