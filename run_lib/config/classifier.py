"""guidance.classifier -> the classifier of another run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from ml_collections import ConfigDict

from models.checkpoints.loader import load_content, read
from models.exact.mixtures import GaussianMixtureScore, MixtureClassifier
from models.prediction.classifier import Classifier, NoisyClassifier
from models.prediction.noise_model import NoiseModel
from run_lib.config.chosen import generates
from run_lib.config.configuration import Configuration, complete, of_record
from run_lib.config.explaining import in_fields
from run_lib.config.fields import check_values
from run_lib.config.files import load_config_file
from run_lib.config.subject import Subject, build_subject
from run_lib.data.classes import UNKNOWN, Numbering
from run_lib.data.levels import DataSpec
from run_lib.files import of_json
from run_lib.training.checkpoints import Checkpoints, read_checkpoint
from run_lib.training.warm_start import check_recorded, class_names_in
from sde_lib.base import GaussianProcess, Process


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
    weights, where = _checkpoint(Path(section.classifier)), f"the classifier {section.classifier}"
    theirs = _their_configuration(weights, section.classifier_config, ours)
    if generates(theirs):
        raise ValueError(f"{where} is a run with training.task={theirs.training.task!r}, no classifier's.")
    try:
        check_values(theirs)
        found = build_subject(Configuration(theirs, frozenset()))
    except ValueError as error:
        raise ValueError(_of_a_plugin(error, theirs, where)) from error
    _check(found, theirs, model, data, where)
    if ours.model.num_classes not in (0, found.num_classes):
        raise ValueError(
            f"{where} tells {found.num_classes} classes apart, the model has {ours.model.num_classes}: they must "
            f"be the same classes."
        )
    content = read(weights)
    if section.classifier_config is not None:
        check_recorded(content, str(weights), found.agreement.check_use)
    numbering = Numbering(class_names_in(content), where)
    fitting = "Give the configuration that it was trained with as --config.guidance.classifier_config."
    with in_fields(architecture=fitting):
        load_content(found.network, content, weights)
    told = found.sampling
    held = NoisyClassifier(found.network, told.process, told.time, told.evaluator)
    return HeldClassifier(held.requires_grad_(False).eval(), found.num_classes, numbering)


def _of_a_plugin(error: ValueError, theirs: ConfigDict, where: str) -> str:
    if not theirs.get("plugins"):
        return str(error)
    return (
        f"{where} was made with plugins, and a file names none: where you trust it, give them on the command line, "
        f"--config.plugins={theirs.plugins}. Without them: {error}"
    )


def _check(found: Subject, theirs: ConfigDict, model: NoiseModel, data: DataSpec, where: str) -> None:
    """Refuse a classifier of another process or of other data than the model's."""
    if not _same(model.process, found.sampling.process):
        raise ValueError(
            f"{where} was trained with another process (training.sde={theirs.training.sde!r}, continuous="
            f"{theirs.training.continuous}, num_scales={theirs.model.num_scales}, beta_schedule="
            f"{theirs.model.beta_schedule or 'linear'!r}) than the model has: train one with the model's."
        )
    its = found.data
    if (its.shape, its.levels, its.centered) != (data.shape, data.levels, data.centered):
        raise ValueError(
            f"{where} was trained on other data, of shape {its.shape}, {its.levels} levels, centered="
            f"{its.centered}; the model's are of shape {data.shape}, {data.levels} levels, centered="
            f"{data.centered}."
        )


def _checkpoint(path: Path) -> Path:
    if path.is_file():
        return path
    found = Checkpoints(path / "checkpoints").latest()
    if found is None:
        raise ValueError(
            f"guidance.classifier={str(path)!r} is no checkpoint and no work directory that has one. Make one "
            f"with\n  python main.py --config configs/adm/digits_classifier.py --mode train --workdir {path}"
        )
    return found


def _their_configuration(weights: Path, file: str | None, ours: ConfigDict) -> ConfigDict:
    """The configuration that the classifier was trained with, evaluated at the model's times on the model's device.

    Its checkpoint has it, unless it is another's. A file never names code: plugins belong on the command line.
    """
    if file is None:
        try:
            theirs = of_record(of_json(read_checkpoint(weights)["config"]))
        except ValueError as error:
            raise ValueError(
                f"{error} Of published weights, guidance.classifier_config is needed too."
            ) from error
    else:
        theirs = load_config_file(file, "guidance.classifier_config")
    try:
        theirs = complete(theirs)
    except ValueError as error:
        raise ValueError(_of_a_plugin(error, theirs, f"the classifier {weights}")) from error
    theirs.init_from, theirs.resume_from, theirs.device = "", "", ours.device
    theirs.resume_anyway = ours.resume_anyway
    theirs.sampling.chain, theirs.sampling.t_end = ours.sampling.chain, None
    return theirs


def _same(ours: Process, theirs: Process) -> bool:
    """Whether two processes have the same times and, where they have any, the same noise levels."""
    if type(ours) is not type(theirs) or (ours.start, ours.clean) != (theirs.start, theirs.clean):
        return False
    if not isinstance(ours, GaussianProcess) or not isinstance(theirs, GaussianProcess):
        return True
    times = ours.time(torch.linspace(0.01, 1, 64, dtype=torch.float64) * ours.start)
    a, b = ours.marginal(times), theirs.marginal(times)
    return torch.allclose(a.alpha, b.alpha, rtol=1e-6) and torch.allclose(a.sigma, b.sigma, rtol=1e-6)
