"""config.guidance -> the guided model, the classes that samples are asked for, and what its likelihood means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.prediction.noise_model import Model, NoiseModel
from run_lib.config.classifier import build_classifier
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration
from run_lib.config.guide import build_guide
from run_lib.config.subject import Subject, label_dropout
from run_lib.training.labels import RequestedClasses
from samplers.guidance import register_denoised_loss, register_log_prob
from sde_lib.registry import snake_case


@dataclass(frozen=True)
class Guidance:
    """What ``config.guidance`` makes of a model.

    Attributes:
        model: guided; the model itself for ``none``.
        requested: the classes that samples are asked for.
        likelihood_of: what the flow's likelihood is the likelihood of; empty for p(x).
        bound_of: the same of the variational bound, which sees the model without guidance.
        guide: the further network that guides it, a classifier or a worse model; None: there is none.
    """

    model: Model
    requested: RequestedClasses
    likelihood_of: str = ""
    bound_of: str = ""
    guide: nn.Module | None = None


def build_guidance(configuration: Configuration, subject: Subject) -> Guidance:
    """Guide the subject's model as ``config.guidance`` says.

    Raises:
        ValueError: an unknown name; a network, classifier or sampler that does not fit; labels out of range; a
            setting that this guidance does not take.
    """
    config, model = configuration.values, subject.sampling
    chosen, classes = configuration.choose("guidance"), config.model.num_classes
    context: dict[str, Any] = {"model": model, "conditional": classes > 0}
    if "null_label" in chosen.takes:
        _check_null_label(configuration, model, chosen.name)
        context["null_label"] = classes
    if chosen.name in register_log_prob:
        context["log_prob"] = register_log_prob[chosen.name]
    if chosen.name in register_denoised_loss:
        context["loss"] = register_denoised_loss[chosen.name]
    guide: nn.Module | None = None
    numbering = subject.data.numbering
    if "classifier" in chosen.takes:
        classifier = build_classifier(configuration, model, subject.data)
        context["classifier"] = guide = classifier.model
        _check_shift(configuration, chosen.settings)
        classes, numbering = classifier.num_classes, numbering.agreed(classifier.numbering)
    if "guide" in chosen.takes:
        worse = build_guide(configuration, model, subject.data)
        guide = worse.model.network
        context |= {"guide": worse.model, "told": worse.num_classes > 0}
    if chosen.name == "cfg_plus_plus":
        _check_ddim(configuration)
    guided: Model = model if chosen.name == "none" else chosen.build(**context)
    labels = _labels(config.guidance.labels, classes, config.training.task)
    requested = RequestedClasses(classes, labels, numbering)
    return Guidance(guided, requested, *_meanings(configuration, chosen, classes), guide=guide)


def build_request(configuration: Configuration) -> RequestedClasses:
    """The classes of the network itself, for work that guides nothing."""
    classes = configuration.values.model.num_classes
    return RequestedClasses(classes, tuple(range(classes)))


def _check_null_label(configuration: Configuration, model: NoiseModel, name: str) -> None:
    if not configuration.values.model.num_classes:
        raise ValueError(
            f"guidance.name={name!r} needs a network with classes: set model.num_classes and "
            "training.label_dropout, and train."
        )
    if not (label_dropout(configuration) or model.network.null_label):
        raise ValueError(
            f"guidance.name={name!r} needs a network that was trained with labels dropped: train with "
            "training.label_dropout (0.1, say), which is now 0."
        )


def _check_shift(configuration: Configuration, settings: Mapping[str, Any]) -> None:
    sampling = configuration.values.sampling
    if settings.get("shift") == "mean" and (
        sampling.method != "pc" or snake_case(sampling.predictor) != "ancestral_sampling"
    ):
        raise ValueError(
            "guidance.shift='mean' moves the mean of an ancestral step: set sampling.method='pc' and "
            "sampling.predictor='ancestral_sampling', or guidance.shift='score'."
        )


def _check_ddim(configuration: Configuration) -> None:
    sampling = configuration.values.sampling
    if sampling.method != "pc" or snake_case(sampling.predictor) != "ddim":
        raise ValueError(
            "guidance.name='cfg_plus_plus' puts back noise of its own in a step of ddim: set sampling.method='pc' and "
            "sampling.predictor='ddim', or guidance.name='classifier_free'."
        )


def _labels(labels: tuple[int | str, ...] | None, classes: int, task: str) -> tuple[int | str, ...]:
    if labels is None:
        return tuple(range(classes))
    if not classes:
        raise ValueError(
            "guidance.labels asks for classes, and there are none: set model.num_classes, or guide by a classifier."
        )
    if task != "diffusion":
        raise ValueError(f"guidance.labels are for training.task='diffusion'; {task!r} has its images' own.")
    # Names are looked up when samples are asked for: the weights know them.
    numbers = [label for label in labels if not isinstance(label, str)]
    wrong = [label for label in numbers if not (isinstance(label, int) and 0 <= label < classes)]
    if wrong or not labels:
        raise ValueError(
            f"guidance.labels={tuple(labels)} must be some of the {classes} classes 0 to {classes - 1}, or their names."
        )
    return tuple(labels)


def _meanings(configuration: Configuration, chosen: Chosen, classes: int) -> tuple[str, str]:
    """What the likelihood of the guided flow, and what the unguided bound, are of."""
    config, name, settings = configuration.values, chosen.name, chosen.settings
    told = (["labels"] if config.model.num_classes else []) + (
        ["small images"] if config.training.task == "superres" else []
    )
    own = f"p(x | {' and '.join(told)}), {' and '.join(told)} given" if told else ""
    if name == "none":
        return own, own
    scale, interval = settings.get("scale", 1.0), settings.get("interval")
    bound = f"of the model without guidance{': ' + own if own else ''}"
    guided = f"the guided flow's own density ({name}, scale {scale:g})"
    if settings.get("shift") == "mean":
        return bound, bound
    if name == "classifier" and scale == 1 and not config.model.num_classes and interval is None:
        return f"{guided}: p(x | labels) as far as the classifier is the model's own", bound
    if name == "cfg_plus_plus":
        return f"{guided}, as of classifier_free, and not of the samples of ddim", bound
    if name in ("classifier_free", "projected", "autoguidance") and scale == 1:
        return own, bound
    if name == "classifier_free" and scale == 0 and not (interval or settings.get("rescale")):
        return "p(x), no label given", bound
    return f"{guided}, not p(x{' | labels' if classes else ''})", bound
