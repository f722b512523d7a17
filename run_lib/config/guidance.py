"""config.guidance -> the guided model, the classes that samples are asked for, and what its likelihood means."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from ml_collections import ConfigDict

from configs.base import get_config as default_config
from models.checkpoints import load_weights
from models.exact.mixtures import GaussianMixtureScore, MixtureClassifier
from models.prediction.classifier import Classifier, NoisyClassifier
from models.prediction.noise_model import Model, NoiseModel
from run_lib.config.experiment import Experiment, Guidance
from run_lib.config.fields import Section, complete
from run_lib.data.levels import DataSpec
from run_lib.training.labels import Asked
from run_lib.training.state import Checkpoints, read_checkpoint
from samplers.guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DenoisedLossGuidance,
    LogProbGuidance,
    register_denoised_loss,
    register_log_prob,
)
from sde_lib.base import GaussianProcess, Process
from sde_lib.registry import snake_case, unknown_name

Builder = Callable[[ConfigDict], Experiment]
"""``build``, which a classifier's own configuration needs."""


def build_guidance(config: ConfigDict, model: NoiseModel, data: DataSpec, build: Builder | None) -> Guidance:
    """Guide a model as ``config.guidance`` says.

    Args:
        config: the whole configuration, complete.
        model: as samplers see it, unguided.
        data: what it models.
        build: makes an experiment of a classifier's configuration; None: nothing will be evaluated, so nothing is
            read and nothing guided.

    Raises:
        ValueError: an unknown name; a network, classifier or sampler that does not fit; labels out of range; a
            setting that this guidance does not take.
    """
    section, classes = Section("guidance", config.guidance), config.model.num_classes
    name = snake_case(section.values.name)
    section.taken |= {"labels"}
    if name != "none" and config.training.task == "classifier":
        raise ValueError(
            f"guidance.name={name!r} guides a model of data, and training.task='classifier' is none."
        )
    if name == "none" or build is None:
        guided: Model = model
    elif name == "classifier_free":
        guided = _classifier_free(config, section, model)
    elif name == "classifier":
        classifier = _classifier(config, section, model, data, build)
        guided = section.construct(
            ClassifierGuidance, model=model, classifier=classifier.model, conditional=classes > 0
        )
        _check_shift(config)
        classes = classifier.num_classes
    else:
        guided = _registered(name, section, model)
    if build is not None:
        section.refuse_untaken(f"the settings of guidance {name!r}")
    labels = None if build is None else section.values.labels
    asked = Asked(classes, _labels(labels, classes, config.training.task))
    return Guidance(guided, asked, *_meanings(config, name, classes))


def _classifier_free(config: ConfigDict, section: Section, model: NoiseModel) -> Model:
    classes = config.model.num_classes
    if not classes:
        raise ValueError(
            "guidance.name='classifier_free' needs a network with classes: set model.num_classes and "
            "training.label_dropout, and train."
        )
    if not (config.training.label_dropout or model.network.null_label):
        raise ValueError(
            "guidance.name='classifier_free' needs a network that was trained with labels dropped: train with "
            "training.label_dropout (0.1, say), which is now 0."
        )
    guided: Model = section.construct(ClassifierFreeGuidance, model=model, null_label=classes)
    return guided


def _registered(name: str, section: Section, model: NoiseModel) -> Model:
    guided: Model
    if name in register_log_prob:
        guided = section.construct(LogProbGuidance, model=model, log_prob=register_log_prob[name])
    elif name in register_denoised_loss:
        guided = section.construct(DenoisedLossGuidance, model=model, loss=register_denoised_loss[name])
    else:
        known = ["none", "classifier", "classifier_free", *register_log_prob, *register_denoised_loss]
        raise ValueError(unknown_name("guidance", name, known))
    return guided


def _check_shift(config: ConfigDict) -> None:
    sampling = config.sampling
    if config.guidance.shift == "mean" and (
        sampling.method != "pc" or snake_case(sampling.predictor) != "ancestral_sampling"
    ):
        raise ValueError(
            "guidance.shift='mean' moves the mean of an ancestral step: set sampling.method='pc' and "
            "sampling.predictor='ancestral_sampling', or guidance.shift='score'."
        )


@dataclass(frozen=True)
class _Held:
    """A classifier and how many classes it tells apart."""

    model: Classifier
    num_classes: int


def _classifier(
    config: ConfigDict, section: Section, model: NoiseModel, data: DataSpec, build: Builder
) -> _Held:
    """The classifier that ``guidance.classifier`` names.

    Raises:
        ValueError: none is named, or one of another process, of other data or of other classes.
    """
    path, file = section.values.classifier, section.values.classifier_config
    section.taken |= {"classifier", "classifier_config"}
    if path is None:
        raise ValueError(
            "guidance.name='classifier' needs a classifier: set guidance.classifier to the work directory of a "
            "run with training.task='classifier', to one of its checkpoints, or to 'exact' for a mixture."
        )
    if path == "exact":
        if not isinstance(model.network, GaussianMixtureScore):
            raise ValueError(
                "guidance.classifier='exact' is known of model.name='gaussian_mixture' alone; give the work "
                "directory of a trained classifier."
            )
        return _Held(MixtureClassifier(model.network), len(model.network.means))
    weights = _checkpoint(Path(path))
    theirs = _their_config(weights, file)
    theirs.guidance.name, theirs.init_from, theirs.resume_from = "none", "", ""
    theirs.device = config.device
    # Nothing is sampled from it; its times are to be the model's, and this predictor serves any process.
    theirs.sampling = default_config().sampling
    theirs.sampling.chain, theirs.sampling.predictor = config.sampling.chain, "reverse_diffusion"
    e = build(theirs)
    where = f"the classifier {path}"
    if e.task.generates:
        raise ValueError(f"{where} is a run with training.task={theirs.training.task!r}, no classifier's.")
    if not _same(model.process, e.model.process):
        raise ValueError(
            f"{where} was trained with another process (training.sde={theirs.training.sde!r}, continuous="
            f"{theirs.training.continuous}, num_scales={theirs.model.num_scales}, beta_schedule="
            f"{theirs.model.beta_schedule!r}) than the model has: train one with the model's."
        )
    if (e.data.shape, e.data.levels, e.data.centered) != (data.shape, data.levels, data.centered):
        raise ValueError(
            f"{where} was trained on other data, of shape {e.data.shape}, {e.data.levels} levels, centered="
            f"{e.data.centered}; the model's are of shape {data.shape}, {data.levels} levels, centered="
            f"{data.centered}."
        )
    if config.model.num_classes not in (0, e.num_classes):
        raise ValueError(
            f"{where} tells {e.num_classes} classes apart, the model has {config.model.num_classes}: they must "
            f"be the same classes."
        )
    assert isinstance(e.model, NoiseModel), "a classifier's own run is not guided"
    load_weights(e.network, weights)
    held = NoisyClassifier(e.network, e.model.process, e.model.time)
    return _Held(held.requires_grad_(False).eval(), e.num_classes)


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


def _their_config(weights: Path, file: str | None) -> ConfigDict:
    """The configuration that the classifier was trained with: its checkpoint has it, unless it is another's."""
    if file is None:
        try:
            return complete(ConfigDict(json.loads(read_checkpoint(weights)["config"])))
        except ValueError as error:
            raise ValueError(
                f"{error} Of published weights, guidance.classifier_config is needed too."
            ) from error
    spec = importlib.util.spec_from_file_location("classifier_configuration", file)
    if not Path(file).is_file() or spec is None or spec.loader is None:
        raise ValueError(f"guidance.classifier_config names no Python file: {file}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return complete(module.get_config())


def _same(ours: Process, theirs: Process) -> bool:
    """Whether two processes have the same times and, where they have any, the same noise levels."""
    if type(ours) is not type(theirs) or (ours.start, ours.clean) != (theirs.start, theirs.clean):
        return False
    if not isinstance(ours, GaussianProcess) or not isinstance(theirs, GaussianProcess):
        return True
    times = ours.time(torch.linspace(0.01, 1, 64, dtype=torch.float64) * ours.start)
    a, b = ours.marginal(times), theirs.marginal(times)
    return torch.allclose(a.alpha, b.alpha, rtol=1e-6) and torch.allclose(a.sigma, b.sigma, rtol=1e-6)


def _labels(labels: tuple[int, ...] | None, classes: int, task: str) -> tuple[int, ...]:
    if labels is None:
        return tuple(range(classes))
    if not classes:
        raise ValueError(
            "guidance.labels asks for classes, and there are none: set model.num_classes, or guide by a classifier."
        )
    if task != "diffusion":
        raise ValueError(f"guidance.labels are for training.task='diffusion'; {task!r} has its images' own.")
    wrong = [label for label in labels if not (isinstance(label, int) and 0 <= label < classes)]
    if wrong or not labels:
        raise ValueError(
            f"guidance.labels={tuple(labels)} must be some of the {classes} classes 0 to {classes - 1}."
        )
    return tuple(labels)


def _meanings(config: ConfigDict, name: str, classes: int) -> tuple[str, str]:
    """What the likelihood of the guided flow, and what the unguided bound, are of."""
    told = (["labels"] if config.model.num_classes else []) + (
        ["small images"] if config.training.task == "superres" else []
    )
    scale = config.guidance.scale
    own = f"p(x | {' and '.join(told)}), {' and '.join(told)} given" if told else ""
    if name == "none":
        return own, own
    bound = f"of the model without guidance{': ' + own if own else ''}"
    guided = f"the guided flow's own density ({name}, scale {scale:g})"
    if config.guidance.shift == "mean":
        return bound, bound
    if (
        name == "classifier"
        and scale == 1
        and not config.model.num_classes
        and config.guidance.interval is None
    ):
        return f"{guided}: p(x | labels) as far as the classifier is the model's own", bound
    if name == "classifier_free" and scale == 1:
        return own, bound
    if name == "classifier_free" and scale == 0 and not (config.guidance.interval or config.guidance.rescale):
        return "p(x), no label given", bound
    return f"{guided}, not p(x{' | labels' if classes else ''})", bound


def network_classes(config: ConfigDict) -> int | None:
    """Class labels that the network is told, the one that stands for none included; None: no classes.

    Raises:
        ValueError: labels are to be dropped and there are none, or the share is out of range.
    """
    classes, dropout = config.model.num_classes, config.training.label_dropout
    if not 0 <= dropout < 1:
        raise ValueError(f"config.training.label_dropout lies in [0, 1), got {dropout}.")
    if dropout and (not classes or config.training.task == "classifier"):
        raise ValueError(
            "training.label_dropout drops the labels that a model of data is told, and there are none: set "
            "model.num_classes (and training.task='diffusion'), or leave it 0."
        )
    return classes + (1 if dropout else 0) or None
