"""guidance.classifier -> the classifier of another run."""

from __future__ import annotations

from dataclasses import dataclass

from models.exact.mixtures import GaussianMixtureScore, MixtureClassifier
from models.prediction.classifier import Classifier, NoisyClassifier
from models.prediction.noise_model import NoiseModel
from run_lib.config.chosen import generates
from run_lib.config.configuration import Configuration
from run_lib.config.other_run import OtherRun
from run_lib.data.classes import UNKNOWN, Numbering
from run_lib.data.levels import DataSpec
from run_lib.training.warm_start import class_names_in


@dataclass(frozen=True)
class HeldClassifier:
    """A classifier, how many classes it tells apart, and which."""

    model: Classifier
    num_classes: int
    numbering: Numbering = UNKNOWN


def build_classifier(configuration: Configuration, model: NoiseModel, data: DataSpec) -> HeldClassifier:
    """The classifier that ``guidance.classifier`` names: its network and its process are built, its weights loaded.

    Raises:
        ValueError: none is named, or one of another process, of other data or of other classes.
    """
    ours, section = configuration.values, configuration.values.guidance
    if section.classifier is None:
        raise ValueError(
            "guidance.name='classifier' needs a classifier: set guidance.classifier to the work directory of a "
            "run with training.task='classifier', to one of its checkpoints, or to 'exact' for a mixture."
        )
    if section.classifier == "exact":
        if not isinstance(model.network, GaussianMixtureScore):
            raise ValueError(
                "guidance.classifier='exact' is known of model.name='gaussian_mixture' alone; give the work "
                "directory of a trained classifier."
            )
        return HeldClassifier(MixtureClassifier(model.network), len(model.network.means))
    run = OtherRun.find(
        section.classifier,
        section.classifier_config,
        kind="classifier",
        field="classifier",
        made="configs/adm/digits_classifier.py",
    )
    theirs = run.configuration(ours)
    if generates(theirs):
        raise ValueError(
            f"{run.what} is a run with training.task={theirs.training.task!r}, no classifier's: name the "
            f"work directory of a training with training.task='classifier'."
        )
    found = run.build(theirs)
    run.check(found, theirs, model, data)
    if ours.model.num_classes not in (0, found.num_classes):
        raise ValueError(
            f"{run.what} tells {found.num_classes} classes apart, the model has {ours.model.num_classes}: they must "
            f"be the same classes."
        )
    numbering = Numbering(class_names_in(run.load(found)), run.what)
    told = found.sampling
    held = NoisyClassifier(found.network, told.process, told.time, told.evaluator)
    return HeldClassifier(held.requires_grad_(False).eval(), found.num_classes, numbering)
