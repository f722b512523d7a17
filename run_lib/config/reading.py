"""Which mode reads which fields: one command line may serve several modes, so what one does not read is said, not
refused.

Of a field, the most specific of the tables below holds: ``FIELDS``, else ``COMPONENTS`` where a chosen component takes
it, else ``SECTIONS``.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import TypeAlias

from ml_collections import ConfigDict

from models import register_model
from run_lib.config.chosen import generates
from run_lib.config.configuration import Configuration
from run_lib.config.roles import ROLES, lent
from run_lib.config.snapshots import draws_by_own
from run_lib.evaluation.base import register_evaluation

Condition: TypeAlias = Callable[[ConfigDict], bool]
Readers: TypeAlias = Mapping[str, Condition]
"""The modes that read a field, each with the configurations in which it does."""


def by(*modes: str, **some: Condition) -> Readers:
    """Read by these modes always, and by those with a condition where it holds."""
    return {**dict.fromkeys(modes, _always), **some}


def _always(config: ConfigDict) -> bool:
    return True


def _trains(config: ConfigDict) -> bool:
    """Exact scores have nothing to train."""
    return bool(getattr(register_model[config.model.name], "has_weights", True))


def _previews(config: ConfigDict) -> bool:
    return generates(config) and bool(config.training.snapshot_sampling)


def _shows_as_many(config: ConfigDict) -> bool:
    """Whether a preview has as many samples as any other picture."""
    return _previews(config) and config.training.get("preview_images") is None


def _enabled(config: ConfigDict) -> set[str]:
    return {name for name in register_evaluation if config.eval.get(f"enable_{name}")}


def _draws(config: ConfigDict) -> bool:
    """Whether an evaluation draws samples; a user's own may."""
    return generates(config) and bool(_enabled(config) - {"loss", "bpd", "accuracy"})


def _losses(config: ConfigDict) -> bool:
    """Whether an evaluation has the loss; a user's own may."""
    return bool(_enabled(config) - {"bpd", "sampling", "restoration"})


def _by_metrics(config: ConfigDict) -> bool:
    """Whether a sweep is scored by metrics in the spaces of extractors."""
    return bool(config.tune.scorer == "metrics" and not config.tune.grid)


def _has_statistics(config: ConfigDict) -> bool:
    """Whether statistics of features are written."""
    return bool(config.stats.extractors)


def _encodes(config: ConfigDict) -> bool:
    """Whether images become latents."""
    return bool(config.data.codec)


def _steps(config: ConfigDict) -> bool:
    """Whether control samples: from image to image it maps."""
    return bool(config.control.task != "interpolate")


def _makes_small(config: ConfigDict) -> bool:
    """Whether samples are made from the test images, made small."""
    return bool(config.training.task == "superres") and not config.sampling.get("base_samples")


def _told(config: ConfigDict, *parameters: str) -> bool:
    """Whether the network is told one of these of its surroundings."""
    return bool(inspect.signature(register_model[config.model.name]).parameters.keys() & set(parameters))


def _learns_own_error(config: ConfigDict) -> bool:
    """Whether the network has a layer that an uncertain loss trains, which then is averaged."""
    return bool(register_model[config.model.name].has_log_variance)


NUMBERS = ("train", "sample", "eval", "all", "tune", "control", "reconstruct", "convert", "ema")
EVALUATED = tuple(mode for mode in NUMBERS if mode not in ("convert", "ema"))
"""Modes that evaluate a network."""
PREPARE = ("pack", "stats", "extractor")
"""Work on data alone."""
ALIKE = {"check": "train"}
"""A mode that does the work of another once, and reads what that one reads."""
TELLS = ("describe", "show")
"""Modes that look at a configuration made for others, of which no field is idle."""
OURS = (*NUMBERS, *PREPARE, *ALIKE, *TELLS, "list", "completion", "doctor", "score", "compare")
"""A mode of the user's own may read whatever is in no section of ours."""
EVERY = by(*NUMBERS)
TRAINING = by("train", all=_trains)
UPDATES = {**TRAINING, **by("convert")}
"""What the optimiser's state depends on, which some formats hold."""
LOSS = by("train", eval=_losses, all=lambda c: _trains(c) or _losses(c))
MODEL = by("sample", "tune", "control", "reconstruct", train=_previews, eval=_draws, all=generates)
"""What decides which model is sampled from."""
SAMPLER = by("sample", "tune", train=draws_by_own, eval=_draws, all=generates, control=_steps)
DATA = by("train", "sample", "eval", "all", "tune", "control", "reconstruct")

MEASURES = by("eval", "all", "score")
SCORES = {**MEASURES, **by(tune=_by_metrics)}
"""What scores images."""
EXTRACTS = {**MEASURES, **by(stats=_has_statistics)}
"""What makes features and keeps them."""

SECTIONS: dict[str, Readers] = {
    "control": by("control"),
    "reconstruct": by("reconstruct"),
    "tune": by("tune"),
    "convert": by("convert"),
    "ema": by("ema"),
    "pack": by("pack", "stats"),
    "extractor": by("extractor"),
    "eval": by("eval", "all"),
    "score": by("score"),
    "stats": by("stats"),
    "metrics": SCORES,
    "extractors": {**SCORES, **EXTRACTS},
    "sampling": SAMPLER,
    "guidance": MODEL,
    "optim": TRAINING,
    "training": TRAINING,
    "model": EVERY,
    "data": DATA,
    "mode": EVERY,
}
"""Of the fields in a section that are in no other table."""

COMPONENTS: dict[str, Readers] = {
    "network": EVERY,
    "preconditioning": EVERY,
    "sde": EVERY,
    "data set": by("train", "eval", "all", "tune", "control", "reconstruct", *PREPARE, sample=_makes_small),
    "codec": by(*NUMBERS, *PREPARE),
    "latents": by(*NUMBERS, *PREPARE),
    "augmentation": TRAINING,
    "task": EVERY,
    "objective": LOSS,
    "weighting": LOSS,
    "times": {**LOSS, **by("convert")},
    "preview": by(train=_previews, all=lambda c: _trains(c) and _previews(c)),
    "optimizer": UPDATES,
    "transform": MODEL,
    "guidance": {**MODEL, **by(eval=generates)},
}
"""Of the choice that a role makes, and of the component's settings; of other roles as the section has it."""

FIELDS: dict[str, Readers] = {
    "plugins": by(*OURS),
    **dict.fromkeys(
        ("init_from", "init_from_ema", "resume_from", "resume_anyway"),
        EVERY,
    ),
    "eval.precision": by("train", "eval", "all"),
    "eval.extractor_weights": {**SCORES, **EXTRACTS},
    **dict.fromkeys(("eval.extractor_batch", "eval.features"), EXTRACTS),
    **dict.fromkeys(("eval.metrics", "eval.by_class"), MEASURES),
    "seed": by(*NUMBERS, "extractor", "score"),
    "device": by(*NUMBERS, "extractor", "score", stats=_has_statistics, pack=_encodes),
    "compile": by(*EVALUATED),
    "deterministic": by(*EVALUATED, "extractor", "score", stats=_has_statistics),
    "data.root": COMPONENTS["data set"],
    **dict.fromkeys(("data.image_size", "data.num_channels", "data.shape"), by(*NUMBERS, *PREPARE)),
    "data.levels": {**DATA, **by(*PREPARE)},
    "data.num_workers": TRAINING,
    "data.max_corrupt": {**TRAINING, **by("pack")},
    "data.centered": {
        **DATA,
        **by("stats"),
        **by(convert=lambda c: _told(c, "centered")),
    },
    "data.uniform_dequantization": {**DATA, **by("stats")},
    "data.random_flip": TRAINING,
    "data.augment": EVERY,  # a network that is told of it has weights for that
    "data.low_res_size": DATA,
    **dict.fromkeys(("model.variance", "model.out_channels", "model.preconditioning"), EVERY),
    "model.num_classes": by(*NUMBERS, "extractor"),  # of some data sets, whether their classes are read
    "model.num_scales": EVERY,
    "model.used_ema_rate": by(*(mode for mode in NUMBERS if mode != "train")),
    **dict.fromkeys(("training.sde", "training.continuous"), EVERY),
    "training.uncertainty": {
        **dict.fromkeys(("sample", "tune", "control", "reconstruct", "ema"), _learns_own_error),
        **by(
            "train",
            "convert",
            eval=lambda c: _losses(c) or _learns_own_error(c),
            all=lambda c: _trains(c) or _losses(c),
        ),
    },
    "training.snapshot_freq": {**TRAINING, **by("eval")},
    "training.snapshot_sampling": by(train=generates, all=lambda c: _trains(c) and generates(c)),
    **dict.fromkeys(
        ("training.precision", "training.loss_scale", "training.loss_scale_growth", "optim.lr"), UPDATES
    ),
    "training.task": by(*(mode for mode in NUMBERS if mode not in ("convert", "ema"))),
    "sampling.precision": {**SAMPLER, **by("control", "reconstruct", train=_previews)},
    "sampling.chain": {**MODEL, **by(eval=generates)},
    **dict.fromkeys(("sampling.clip_denoised", "sampling.dynamic_threshold"), MODEL),
    "sampling.base_samples": DATA,
    **dict.fromkeys(
        ("sampling.num_samples", "sampling.trajectory", "sampling.png", "sampling.png_by_class"),
        by("sample", all=generates),
    ),
    "sampling.batch_size": {**SAMPLER, **by("control", train=_previews)},
    "sampling.seed": {**SAMPLER, **by(train=_previews)},
    "sampling.grid": {**SAMPLER, **by(eval=generates)},  # an optimised one is loaded with the weights
    "sampling.grid_size": by("sample", "control", train=_shows_as_many, eval=_draws, all=generates),
    "guidance.labels": by("sample", "tune", train=_previews, eval=_draws, all=generates),
}
"""Of single fields."""


def unread(configuration: Configuration) -> list[str]:
    """The given fields that the mode does not read."""
    return sorted(path for path in configuration.given if not reads(configuration, path))


def described(configuration: Configuration) -> str:
    """The fields that were ``auto`` and that the mode reads, with their values and the reasons; empty: there are none.

    A line has one field, or all that follow one another for one reason, such as those of a run that goes on.
    """
    found = [(path, c) for path, c in configuration.automatic.items() if reads(configuration, path)]
    lines = [
        (", ".join(f"{path} = {choice.value}" for path, choice in group), reason)
        for reason, group in itertools.groupby(found, lambda one: one[1].reason)
    ]
    wide = max((len(values) for values, _ in lines if len(values) < 60), default=0)
    said = [f"  {values:<{wide}}  {reason}" for values, reason in lines]
    return "\n".join(["auto (a field that is set holds, and the others go with it):", *said]) if said else ""


def reads(configuration: Configuration, path: str) -> bool:
    """Whether the mode of a configuration reads a field, in that configuration."""
    values, section = configuration.values, path.partition(".")[0]
    mode = ALIKE.get(configuration.mode, configuration.mode)
    if mode not in OURS:
        others = (
            "control",
            "reconstruct",
            "tune",
            "convert",
            "ema",
            "pack",
            "stats",
            "extractor",
            "eval",
            "score",
        )
        return section not in others
    if mode in TELLS or path in lent(values, mode):
        return True
    found: list[Readers] = []
    for key, role in ROLES.items():
        name = role.chosen(values)
        if path == role.field or (name is not None and path in role.fields(name)):
            flat = path if name is None else role.flat(name, path)
            found.append(FIELDS.get(flat, COMPONENTS.get(key, SECTIONS[flat.partition(".")[0]])))
    found = found or [FIELDS.get(path, SECTIONS.get(section, EVERY))]
    return any(mode in readers and readers[mode](values) for readers in found)
