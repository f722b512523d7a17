"""What evaluating checkpoints needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.prediction.noise_model import Model
from run_lib.config.bound_model import build_bound_model
from run_lib.config.configuration import Configuration
from run_lib.config.guidance import build_request
from run_lib.config.sampling import SamplingPlan
from run_lib.config.scoring import plan_scoring
from run_lib.config.settings import EvalSettings
from run_lib.config.subject import Subject
from run_lib.config.task import build_task
from run_lib.config.training import Objective, build_objective
from run_lib.data.levels import DataSpec
from run_lib.evaluation.base import Evaluation, register_evaluation
from run_lib.evaluation.likelihoods import LevelBound
from run_lib.training.tasks import TrainingTask

if TYPE_CHECKING:
    from run_lib.run import Run

ORDER = ("loss", "bpd", "sampling")


@dataclass(frozen=True)
class EvaluationPlan:
    """What evaluating checkpoints needs.

    Attributes:
        subject: the network and its data.
        task: conditioning that goes with the data.
        objective: whose loss is evaluated.
        sampling: what draws samples, and whose model has the likelihood; None: a classifier has neither.
        bound: the variational bound that is evaluated; None: it is not.
        evaluations: what is evaluated, in its order.
        settings: of which data and checkpoints, and the batch size.
        snapshot_freq: steps between the snapshots that ``eval.begin_ckpt`` counts.
    """

    subject: Subject
    task: TrainingTask
    objective: Objective
    sampling: SamplingPlan | None
    bound: LevelBound | None
    evaluations: tuple[Evaluation, ...]
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

    def writes(self, run: Run) -> tuple[Path, ...]:
        """The folders that evaluations write to."""
        return (run.evaluation, *(folder for one in self.evaluations for folder in one.writes(run)))

    @property
    def samples(self) -> SamplingPlan:
        """The sampling plan of a model of data, which has one."""
        assert self.sampling is not None, "the check before any work refuses classifiers"
        return self.sampling

    @property
    @torch.no_grad()
    def bounded(self) -> Model:
        """The model of the variational bound, where that is evaluated, made anew: its levels are those of the weights
        that are loaded, of a process that learns."""
        assert self.bound is not None, "asked for wherever the bound is evaluated"
        return build_bound_model(self.subject.training, self.subject.data, self.bound)


def in_order(names: Iterable[str]) -> list[str]:
    """Names of evaluations in the order of a report: the loss, likelihoods, samples, then the others."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def plan_evaluation(
    configuration: Configuration, subject: Subject, sampling: SamplingPlan | None
) -> EvaluationPlan:
    """Build what evaluations evaluate.

    Raises:
        ValueError: components that do not fit together.
    """
    config = configuration.values
    settings = EvalSettings.of(config.eval)
    trace, bound = _built(configuration, "trace"), _built(configuration, "bound")
    flow = _built(configuration, "flow", trace=trace)
    dequantisation = _built(configuration, "dequantisation")
    scoring = plan_scoring(configuration)
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
        bound=bound,
        evaluations=tuple(
            configuration.choose(f"evaluation {name}").build(
                flow=flow, bound=bound, dequantisation=dequantisation, scoring=scoring
            )
            for name in in_order(register_evaluation)
            if config.eval[f"enable_{name}"]
        ),
        settings=settings,
        snapshot_freq=config.training.snapshot_freq,
    )


def _built(configuration: Configuration, role: str, **context: Any) -> Any:
    """The component of a role that may be empty."""
    found = configuration.find(role)
    return None if found is None else found.build(**context)
