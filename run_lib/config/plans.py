"""A configuration -> the plan of a mode. After this nobody reads the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ml_collections import ConfigDict

from models.base import Network
from run_lib.config.chosen import generates
from run_lib.config.configuration import Configuration, read
from run_lib.config.converting import ConversionPlan, WrittenPlan, plan_conversion
from run_lib.config.described import plan_written
from run_lib.config.editing import ControlPlan, ReconstructionPlan, plan_control, plan_reconstruction
from run_lib.config.effects import check_effects, unused
from run_lib.config.evaluation import EvaluationPlan, plan_evaluation
from run_lib.config.extractor import ExtractorPlan, plan_extractor
from run_lib.config.guidance import build_request
from run_lib.config.preparing import PreparationPlan, plan_preparation
from run_lib.config.sampling import SamplingPlan, plan_sampling
from run_lib.config.scoring import ScorePlan, plan_score
from run_lib.config.settings import EmaSettings
from run_lib.config.showing import ShowPlan, plan_showing
from run_lib.config.subject import Subject, build_subject
from run_lib.config.summary import Experiment, experiment
from run_lib.config.task import build_task
from run_lib.config.training import TrainingPlan, plan_training
from run_lib.config.tuning import TuningPlan, plan_tuning
from run_lib.training.formats import CONFIG

P = TypeVar("P")
LAYERS = "layers"
"""The word after ``--mode describe`` that asks for the network's groups of layers."""
Planner = Callable[[Configuration], P]


@dataclass(frozen=True)
class DescriptionPlan:
    """What describing an experiment needs.

    Attributes:
        experiment: what the configuration comes to; None: the network alone is described.
        network: shapes without numbers.
        shape: of a sample.
        num_classes: that it is told; 0: none.
        unused: fields of the configuration file that nothing chosen takes.
    """

    network: Network
    shape: tuple[int, ...]
    num_classes: int
    unused: tuple[str, ...]
    experiment: Experiment | None = None


@dataclass(frozen=True)
class PostHocPlan:
    """What making averages after training needs.

    Attributes:
        subject: the network that they are of.
        settings: which averages.
    """

    subject: Subject
    settings: EmaSettings


@dataclass(frozen=True)
class CompletePlan:
    """Training, sampling and evaluation of one network.

    Attributes:
        training: None: an exact score, which has nothing to train.
        sampling: None: a classifier, which has no samples.
        evaluation: of the last checkpoint.
    """

    training: TrainingPlan | None
    sampling: SamplingPlan | None
    evaluation: EvaluationPlan


@dataclass(frozen=True)
class ComparisonPlan:
    """What comparing runs needs.

    Attributes:
        runs: their work directories.
    """

    runs: tuple[Path, ...]


def make_plan(
    config: ConfigDict, planner: Planner[P], *, given: list[str] | None = None, mode: str = "all"
) -> P:
    """The plan of some work, with every look-up and every check.

    Args:
        config: some or all of the fields of a configuration; what it lacks has its default.
        planner: one of the functions below.
        given: fields that must have an effect; None: all that differ from their defaults, as of a configuration
            that was written in Python. See ``Configuration``.
        mode: of the program; sections of other modes must be left alone.

    Raises:
        ValueError: an unknown name, a misspelt field, components that do not fit together, a value out of range, a
            setting without effect.
    """
    configuration = read(config, given, mode)
    plan = planner(configuration)
    check_effects(configuration)
    return plan


def training(configuration: Configuration) -> TrainingPlan:
    """The plan of ``--mode train``."""
    subject = build_subject(configuration)
    samples = sampling_of(configuration, subject)
    return plan_training(configuration, samples.subject if samples else subject, samples)


def sampling(configuration: Configuration) -> SamplingPlan:
    """The plan of ``--mode sample``."""
    if not generates(configuration.values):
        raise ValueError(
            "a classifier has no samples: use --mode train or eval, or a training.task that generates."
        )
    return plan_sampling(configuration, build_subject(configuration))


def evaluation(configuration: Configuration) -> EvaluationPlan:
    """The plan of ``--mode eval``."""
    subject = build_subject(configuration)
    samples = sampling_of(configuration, subject)
    return plan_evaluation(configuration, samples.subject if samples else subject, samples)


def complete(configuration: Configuration) -> CompletePlan:
    """The plan of ``--mode all``."""
    subject = build_subject(configuration)
    samples = sampling_of(configuration, subject)
    subject = samples.subject if samples else subject
    training = None
    if subject.trainable:
        # Weights of which each process keeps a part are of use to nobody else: they are another network's.
        shared = configuration.values.training.shard
        trained = replace(build_subject(configuration), data=subject.data) if shared else subject
        previews = sampling_of(configuration, trained) if shared else samples
        training = plan_training(configuration, trained, previews)
    return CompletePlan(
        training,
        samples,
        plan_evaluation(configuration, subject, samples),
    )


def tuning(configuration: Configuration) -> TuningPlan:
    """The plan of ``--mode tune``."""
    _refuse_classifier(
        configuration,
        "a classifier has no samples, so its sampler cannot be tuned: take a training.task that generates.",
    )
    return plan_tuning(configuration, plan_sampling(configuration, build_subject(configuration)))


def comparison(configuration: Configuration) -> ComparisonPlan:
    """The plan of ``--mode compare``.

    Raises:
        ValueError: fewer than two work directories, one twice, one that is no folder.
    """
    runs = tuple(Path(name) for name in configuration.arguments)
    if len(runs) < 2:
        raise ValueError(
            f"--mode compare takes the work directories of two runs or more, and was given {len(runs)}: "
            f"python main.py --mode compare RUN RUN"
        )
    seen: dict[Path, Path] = {}
    for path in runs:
        if not path.is_dir():
            raise ValueError(f"{path} is no folder: give work directories of runs, as --workdir named them.")
        if (same := seen.setdefault(path.resolve(), path)) is not path:
            raise ValueError(f"{path} is the same run as {same}: give each once.")
    return ComparisonPlan(runs)


def showing(configuration: Configuration) -> ShowPlan:
    """The plan of ``--mode show``."""
    _refuse_classifier(
        configuration,
        "a classifier has no samples to show: take a configuration whose training.task generates.",
    )
    return plan_showing(configuration, plan_sampling(configuration, build_subject(configuration)))


def control(configuration: Configuration) -> ControlPlan:
    """The plan of ``--mode control``."""
    _refuse_classifier(
        configuration,
        "a classifier makes no images: take a configuration whose training.task generates.",
    )
    return plan_control(configuration, plan_sampling(configuration, build_subject(configuration)))


def reconstruction(configuration: Configuration) -> ReconstructionPlan:
    """The plan of ``--mode reconstruct``."""
    _refuse_classifier(
        configuration,
        "a classifier reconstructs nothing: take a configuration whose training.task generates.",
    )
    return plan_reconstruction(configuration, plan_sampling(configuration, build_subject(configuration)))


def conversion(configuration: Configuration) -> ConversionPlan | WrittenPlan:
    """The plan of ``--mode convert``; to a configuration, of the file alone."""
    if configuration.values.convert.to == CONFIG:
        return plan_written(configuration.values)
    return plan_conversion(configuration, build_subject(configuration))


def post_hoc(configuration: Configuration) -> PostHocPlan:
    """The plan of ``--mode ema``."""
    return PostHocPlan(build_subject(configuration), EmaSettings.of(configuration.values.ema))


def preparation(configuration: Configuration) -> PreparationPlan:
    """The plan of ``--mode pack`` and ``--mode stats``: the data alone."""
    return plan_preparation(configuration)


def scoring(configuration: Configuration) -> ScorePlan:
    """The plan of ``--mode score``: images alone."""
    return plan_score(configuration)


def extractor(configuration: Configuration) -> ExtractorPlan:
    """The plan of ``--mode extractor``: the data, and how a classifier of them is trained."""
    return plan_extractor(configuration)


def description(configuration: Configuration) -> DescriptionPlan:
    """The plan of ``--mode describe``, or ``--mode describe layers``: no data is read and no weights are made.

    Raises:
        ValueError: another word than ``layers``, components that do not fit together.
    """
    if (words := configuration.arguments) not in ((), (LAYERS,)):
        raise ValueError(
            f"--mode describe takes the word {LAYERS!r} or none, and was given {' '.join(words)!r}: --mode describe "
            f"prints the experiment, --mode describe {LAYERS} the network's groups of layers."
        )
    subject = build_subject(configuration, weights=False)
    build_task(configuration, subject, build_request(configuration))
    return DescriptionPlan(
        subject.network,
        subject.data.shape,
        subject.num_classes,
        tuple(unused(configuration.values)),
        None if words else experiment(configuration, subject),
    )


def sampling_of(configuration: Configuration, subject: Subject) -> SamplingPlan | None:
    config = configuration.values
    if generates(config):
        return plan_sampling(configuration, subject)
    if config.guidance.name != "none":
        raise ValueError(
            f"guidance.name={config.guidance.name!r} guides a model of data, and training.task='classifier' is "
            f"none: leave it 'none', and guide a model of data by this classifier, guidance.classifier."
        )
    return None


def _refuse_classifier(configuration: Configuration, message: str) -> None:
    if not generates(configuration.values):
        raise ValueError(message)
