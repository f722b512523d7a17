"""Our evaluations: the loss, likelihoods, samples, a classifier's accuracy, restoration, densities in the plane."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import likelihood.flow
import likelihood.vlb
from run_lib.evaluation.base import Evaluation, register_evaluation
from run_lib.evaluation.likelihoods import FlowLikelihood, LearnedDequantisation, LevelBound
from sde_lib.needs import serves
from sde_lib.settings import Range

if TYPE_CHECKING:
    from run_lib.config.evaluation import EvaluationPlan
    from run_lib.config.scoring import ScoringPlan
    from run_lib.evaluation.task import CheckpointTask
    from run_lib.run import Run


@register_evaluation(name="loss")
@dataclass(frozen=True)
class TrainingLoss(Evaluation):
    """The training loss on the chosen split, averaged over images, times and noise."""

    def check(self, plan: EvaluationPlan) -> None:
        """Every model has a loss."""

    def splits(self, plan: EvaluationPlan) -> Collection[str]:
        return (plan.settings.split,)

    def evaluate(self, task: CheckpointTask) -> None:
        from run_lib.evaluation.loss import evaluate_loss

        evaluate_loss(task)


@register_evaluation(name="bpd")
@dataclass(frozen=True)
class BitsPerDim(Evaluation):
    """Likelihood of the chosen split in bits/dim and nats, by the ODE or the variational bound (``eval.bpd_method``).

    Args:
        flow: the ODE's settings; None: the bound alone is evaluated.
        bound: the bound's settings; None: the ODE alone is solved.
        dequantisation: learned, or None: uniform.
        num_images: of the split, the first so many; 0: all.
        repeats: draws of dequantisation noise and probes for each image.
        quick: stop when the standard error in bits/dim (nats of continuous data) is ``target``.
        target: that standard error.

    Raises:
        ValueError: importance weights of estimated traces, or of one draw.
    """

    flow: FlowLikelihood | None
    bound: LevelBound | None
    dequantisation: LearnedDequantisation | None
    num_images: Annotated[int, Range(least=0)] = 0
    repeats: Annotated[int, Range(least=1, most=10**6)] = 1
    quick: bool = False
    target: Annotated[float, Range(above=0)] = 0.01

    def __post_init__(self) -> None:
        flow = self.flow
        if flow is not None and flow.importance_weighted and (flow.trace.name != "exact" or self.repeats < 2):
            raise ValueError(
                "config.eval.bpd_importance_weighted averages probabilities, which probes would bias upwards, over "
                "repeats: set bpd_divergence='exact' and bpd_repeats to 2 or more."
            )

    @property
    def method(self) -> str:
        """As ``eval.bpd_method`` names it."""
        return "ode" if self.bound is None else "vlb" if self.flow is None else "both"

    def check(self, plan: EvaluationPlan) -> None:
        if not plan.task.generates:
            raise ValueError("a classifier has no likelihood: set eval.enable_bpd to False.")
        process, name = plan.samples.model.process, type(plan.samples.model.process).__name__
        if self.bound is not None and not isinstance(plan.bounded.process, likelihood.vlb.NEEDS):
            raise ValueError(
                f"eval.bpd_method={self.method!r} bounds the likelihood of a chain of levels, and {name} has "
                f"none, nor a Gaussian marginal to cut them from: set training.sde='ddpm', or bpd_method='ode'."
            )
        if self.flow is not None:
            self._check_flow(plan, self.flow)
        if self.dequantisation is not None:
            if not plan.data.levels:
                raise ValueError(
                    "eval.bpd_dequantisation='variational' is of levels, and these data are continuous: "
                    "leave it 'uniform'."
                )
            if not serves(process, likelihood.DenoisingBound):
                raise ValueError(
                    f"eval.bpd_dequantisation='variational' is trained on a bound that needs a GaussianSDE, and "
                    f"{name} is none: take 'uniform'."
                )
        count = len(plan.data.load(plan.settings.split))
        if self.num_images > count:
            raise ValueError(
                f"eval.bpd_num_images={self.num_images} but the {plan.settings.split} split has {count}: "
                f"ask for so many at most, or for 0, which is all of them."
            )

    def splits(self, plan: EvaluationPlan) -> Collection[str]:
        # Histograms of pixels and a learned dequantisation are fitted to training images.
        return (plan.settings.split, "train") if plan.data.levels else (plan.settings.split,)

    def _check_flow(self, plan: EvaluationPlan, flow: FlowLikelihood) -> None:
        process = plan.samples.model.process
        if not serves(process, likelihood.flow.TimeFlow):
            raise ValueError(
                f"eval.bpd_method={self.method!r} solves an ODE and needs an SDE; {type(process).__name__} is none. "
                f"Take bpd_method='vlb', or training.sde='vpsde' or 'vesde' with training.continuous=False, which "
                f"share the chain's network (and --config.resume_anyway, for a checkpoint of the chain)."
            )
        if flow.t_min is not None and not process.clean < flow.t_min < process.start:
            raise ValueError(
                f"config.eval.t_min must lie between {process.clean:g} and {process.start:g}, got {flow.t_min}."
            )
        if flow.trace.rank >= math.prod(plan.data.shape):
            raise ValueError(
                f"eval.bpd_rank={flow.trace.rank} spans all of {math.prod(plan.data.shape)} dimensions: take "
                "eval.bpd_divergence='exact', which costs less."
            )

    def evaluate(self, task: CheckpointTask) -> None:
        from run_lib.evaluation.bound import evaluate_vlb
        from run_lib.evaluation.ode import evaluate_ode

        if self.flow is not None:
            evaluate_ode(task, self, self.flow)
        if self.bound is not None:
            evaluate_vlb(task, self, self.bound)


@register_evaluation(name="sampling")
@dataclass(frozen=True)
class SampleQuality(Evaluation):
    """Samples against data, by the metrics of ``eval.metrics``: ``pixels`` are the Fréchet distance, precision, recall
    and copies in pixel space, with their floors.

    Args:
        scoring: what is measured.
        num_samples: samples that are drawn, of each set.
        repeats: sets of samples, each of seeds of its own; the numbers in pixel space are of the first.
        reference: what metrics compare with: train, test, or the path of images or statistics.
    """

    scoring: ScoringPlan
    num_samples: Annotated[int, Range(least=2, most=10**8)] = 50_000
    repeats: Annotated[int, Range(least=1, most=10**4)] = 1
    reference: str = "train"

    def check(self, plan: EvaluationPlan) -> None:
        if not plan.task.generates:
            raise ValueError("a classifier has no samples: set eval.enable_sampling to False.")
        dims = math.prod(plan.data.shown.shape)
        if self.scoring.pixels and self.num_samples <= dims:
            raise ValueError(
                f"eval.num_samples={self.num_samples} cannot give a covariance of {dims} coordinates: ask for more "
                f"than {dims}, or leave pixel space, by eval.metrics=frechet@pca or fid."
            )

        if self.scoring.measures:
            from run_lib.evaluation.samples import built_scoring

            built_scoring(self, plan.data, plan.device)

    def needs(self, plan: EvaluationPlan) -> Collection[str]:
        return ("train",)  # without test images, the numbers that compare with them are left out

    def writes(self, run: Run) -> Iterable[Path]:
        folder = run.folder(self.scoring.extraction.folder, "config.eval.features")
        return (folder,) if self.scoring.measures else ()

    def evaluate(self, task: CheckpointTask) -> None:
        from run_lib.evaluation.samples import evaluate_sampling

        evaluate_sampling(task, self)


@register_evaluation(name="accuracy")
@dataclass(frozen=True)
class Accuracy(Evaluation):
    """Share of the chosen split that a classifier gets right, by noise level.

    Args:
        levels: times, spread evenly from the cleanest.
    """

    of_classifiers: ClassVar[bool] = True

    levels: Annotated[int, Range(least=1, most=10**5)] = 10

    def check(self, plan: EvaluationPlan) -> None:
        if plan.task.generates:
            raise ValueError(
                "eval.enable_accuracy is for training.task='classifier', and goes with it: set it to False."
            )

    def splits(self, plan: EvaluationPlan) -> Collection[str]:
        return (plan.settings.split,)

    def evaluate(self, task: CheckpointTask) -> None:
        from run_lib.evaluation.accuracy import evaluate_accuracy

        evaluate_accuracy(task, self.levels)


@register_evaluation(name="restoration")
@dataclass(frozen=True)
class Restoration(Evaluation):
    """Test images made small and enlarged again (``training.task='superres'``), against the test images."""

    def check(self, plan: EvaluationPlan) -> None:
        if not plan.task.restores_test_images:
            raise ValueError(
                "eval.enable_restoration enlarges test images made small: it goes with training.task='superres' "
                "and an empty sampling.base_samples."
            )

    def splits(self, plan: EvaluationPlan) -> Collection[str]:
        return ("test",)

    def evaluate(self, task: CheckpointTask) -> None:
        from run_lib.evaluation.restoration import evaluate_restoration

        evaluate_restoration(task)


@register_evaluation(name="density")
@dataclass(frozen=True)
class PlaneDensity(Evaluation):
    """Of points in the plane: a picture of the model's density, by the flow, and of trajectories, beside that of the
    data; and the mass of the model's in it.

    Args:
        points: along each side of the picture.
    """

    points: Annotated[int, Range(least=2, most=1000)] = 60

    def check(self, plan: EvaluationPlan) -> None:
        if not plan.task.generates or tuple(plan.data.shape) != (2,) or plan.subject.num_classes:
            raise ValueError(
                "eval.enable_density draws the density of a model of points in the plane without classes: it goes with "
                "data.shape=(2,) and model.num_classes=0."
            )
        process = plan.samples.model.process
        if not serves(process, likelihood.flow.TimeFlow):
            raise ValueError(
                f"eval.enable_density solves an ODE and needs an SDE; {type(process).__name__} is none: set it to "
                f"False, or train with training.continuous=True."
            )

    def splits(self, plan: EvaluationPlan) -> Collection[str]:
        return (plan.settings.split,)

    def evaluate(self, task: CheckpointTask) -> None:
        from run_lib.evaluation.plane import evaluate_plane

        evaluate_plane(task, self.points)
