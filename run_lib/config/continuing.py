"""What another configuration may change of a run that goes on from a checkpoint, and what it may not.

Every field of ``configs/base.py`` and every role of a component is in one of the tables below.
"""

from __future__ import annotations

import enum
import functools
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ml_collections import ConfigDict

from models.base import Network
from models.prediction import conventions
from run_lib.config.components import Chosen, choose
from run_lib.config.configuration import RESOLVED, Configuration, Record, base_fields, complete, of_record
from run_lib.config.roles import ROLES
from run_lib.files import of_json
from run_lib.training.optimisers import trained_parameters
from run_lib.training.state import Continued


class Bearing(enum.Enum):
    """What a field has to do with the state that a checkpoint holds."""

    MEANING = "what the weights are, or what their numbers mean: refused wherever they are loaded"
    STATE = "what the rest of the training state is: refused where that is loaded"
    COURSE = "which training run it is: refused where training goes on"
    EFFECT = "how training goes on: it takes effect, and the difference is listed"
    FREE = "nothing"


MEANING, STATE, COURSE, EFFECT, FREE = Bearing

SECTIONS = dict.fromkeys(
    (
        "mode", "sampling", "guidance", "ema", "convert", "pack", "stats", "extractor", "reconstruct", "control",
        "tune", "eval", "score", "metrics", "extractors",
    ),
    FREE,
)  # fmt: skip
"""Of every field in a section, but for those below."""

FIELDS = {
    "seed": COURSE,
    "device": FREE,
    "deterministic": EFFECT,
    "compile": EFFECT,
    "plugins": FREE,
    "init_from": FREE,
    "init_from_ema": FREE,
    "resume_from": FREE,
    "resume_anyway": FREE,
    "data.root": FREE,
    "data.image_size": MEANING,
    "data.num_channels": MEANING,
    "data.shape": MEANING,
    "data.levels": MEANING,
    "data.centered": MEANING,
    "data.uniform_dequantization": COURSE,
    "data.random_flip": COURSE,
    "data.num_workers": FREE,
    "data.max_corrupt": COURSE,
    "model.output": MEANING,
    "model.variance": MEANING,
    "model.out_channels": MEANING,
    "model.rescale_timesteps": MEANING,
    "model.num_classes": MEANING,
    "model.num_scales": MEANING,
    "model.ema_rate": COURSE,
    "model.ema_warmup": COURSE,
    "model.ema_rates": COURSE,
    "model.ema_stds": COURSE,
    "model.used_ema_rate": FREE,
    "training.continuous": MEANING,
    "training.likelihood_weighting": FREE,  # a spelling of the weighting, which has a role
    "training.uncertainty": MEANING,  # of a network that has a layer for it, one weight more is averaged
    "training.n_iters": EFFECT,
    "training.batch_size": COURSE,
    "training.accumulate": EFFECT,  # where it leaves the samples of a step as they are
    "training.microbatch": EFFECT,
    "training.shard": EFFECT,
    "training.precision": EFFECT,
    "training.loss_scale": EFFECT,
    "training.loss_scale_growth": EFFECT,
    "training.log_freq": EFFECT,
    "training.eval_freq": EFFECT,
    "training.snapshot_freq": EFFECT,
    "training.snapshot_freq_for_preemption": EFFECT,
    "training.keep_last": EFFECT,
    "training.keep_best": EFFECT,
    "training.ema_snapshot_freq": EFFECT,
    "training.snapshot_sampling": EFFECT,
    "training.max_nonfinite": EFFECT,
    "optim.lr": EFFECT,
    "optim.grad_clip": EFFECT,
}
"""Of the fields that are no component's. A field that chooses a component has its role's."""

COMPONENTS = {
    "network": MEANING,
    "sde": MEANING,
    "preconditioning": MEANING,
    "task": MEANING,
    "optimizer": STATE,
    "times": STATE,  # they may learn
    "data set": COURSE,
    "codec": MEANING,
    "latents": MEANING,
    "augmentation": COURSE,
    "objective": COURSE,
    "weighting": COURSE,
    "schedule": EFFECT,
    "preview": EFFECT,
}
"""Of the choice that a role makes, and of its settings but for those below; of roles in the free sections, ``FREE``."""

SETTINGS = {
    "optimizer": EFFECT,
    "optim.amsgrad": STATE,
    "model.dropout": COURSE,
    "model.init_scale": COURSE,
    "model.use_checkpoint": EFFECT,
    "model.freeu_backbone": FREE,
    "model.freeu_skip": FREE,
    "training.label_dropout": COURSE,
    "sampling.t_end": COURSE,  # the least time of a loss, too
    "sampling.base_samples": FREE,
    "data.tfrecords_path": FREE,
    "data.download": FREE,
    "data.codec_path": FREE,
    "data.codec_batch": FREE,
}
"""Of the settings of a role, or of a single one by its field."""

REASONS = {
    MEANING: "the weights mean something else under it",
    STATE: "its training state does not go with it",
    COURSE: "it would be neither the one run nor the other",
}


def bearing_of_field(path: str) -> Bearing | None:
    """Of a field of ``configs/base.py`` that chooses no component; None: no table has it."""
    return FIELDS.get(path, SECTIONS.get(path.partition(".")[0]))


def bearing_of_role(key: str) -> Bearing | None:
    """Of the choice that a role makes; None: no table has it."""
    role = ROLES[key]
    return COMPONENTS.get(key, SECTIONS.get(role.field.partition(".")[0]))


def bearing_of_setting(key: str, path: str) -> Bearing | None:
    """Of a setting of the component that fills a role, by the field that sets it."""
    return SETTINGS.get(path, SETTINGS.get(key, bearing_of_role(key)))


@dataclass(frozen=True)
class Held:
    """The value of a field, as JSON."""

    bearing: Bearing
    value: Any

    def __str__(self) -> str:
        return "none" if self.value is None else str(self.value)


@dataclass(frozen=True)
class Difference:
    """A field that a checkpoint was made with another value of."""

    path: str
    was: Held
    now: Held

    @property
    def bearing(self) -> Bearing:
        return self.now.bearing

    def __str__(self) -> str:
        return f"{self.path}={self.now} (was {self.was})"


@dataclass(frozen=True)
class Agreement:
    """Whether checkpoints are those of a configuration.

    Args:
        record: of the configuration.
        anyway: whether a checkpoint that was made with another configuration is taken all the same, and the
            difference said.
    """

    record: Record
    anyway: bool = False

    def check_use(self, path: Path, theirs: str) -> Continued:
        """Refuse a checkpoint whose weights mean something else, or that ``--config.resume_anyway`` says it is taken.

        Args:
            path: of the checkpoint.
            theirs: the record that it holds, JSON.

        Raises:
            ValueError: naming each field and both values.
        """
        return self._check(path, theirs, {MEANING}, listed=set())

    def check_state(self, path: Path, theirs: str) -> Continued:
        """The same of a checkpoint whose optimiser is loaded, too."""
        return self._check(path, theirs, {MEANING, STATE}, listed=set())

    def check_training(self, path: Path, theirs: str) -> Continued:
        """The same of a checkpoint from which training goes on; what takes effect from there on is listed."""
        return self._check(path, theirs, {MEANING, STATE, COURSE}, listed={EFFECT})

    def check_data(self, was: str, now: str, name: str) -> None:
        """Refuse to train on with other data under the same name.

        Args:
            was, now: hashes of the training split; an empty one is not known.
            name: of the data set.

        Raises:
            ValueError: naming both.
        """
        if not was or was == now:
            return
        found = f"the training split of data.dataset={name} has the content {now} (was {was})"
        if not self.record.values.get("resume_anyway", False):
            raise ValueError(
                f"{found}: images, labels or their order are not those that the checkpoint was trained on; "
                f"{REASONS[COURSE]}. Set data.root to where they are, take another --workdir, or go on all the same "
                f"with --config.resume_anyway."
            )
        print(f"warning: {found}; training goes on with it", file=sys.stderr)

    def _check(self, path: Path, theirs: str, refused: set[Bearing], listed: set[Bearing]) -> Continued:
        anyway = self.anyway
        try:
            held = _read(of_json(theirs))
        except ValueError as error:
            if anyway:
                print(f"warning: {path}: its configuration cannot be read ({error})", file=sys.stderr)
                return Continued()
            raise ValueError(
                f"the configuration that {path} was made with cannot be read here: {error} Name its plugins with "
                f"--config.plugins, or take it as it is with --config.resume_anyway."
            ) from error
        ours = _read(self.record.values)
        found = list(_differences(held, ours))
        wrong = [one for one in found if one.bearing in refused]
        if wrong and not anyway:
            reasons = dict.fromkeys(REASONS[one.bearing] for one in wrong)
            raise ValueError(
                f"{path} was made with another configuration: {', '.join(map(str, wrong))}; {' and '.join(reasons)}. "
                f"Set what it was, take another --workdir, or go on all the same with --config.resume_anyway."
            )
        if wrong:
            afresh = "; its optimizer's moments are not" if STATE in {one.bearing for one in wrong} else ""
            print(f"warning: {path} is taken with {', '.join(map(str, wrong))}{afresh}", file=sys.stderr)
        effects = [one for one in found if one.bearing in listed]
        if effects:
            print(f"continues with {', '.join(map(str, effects))}", file=sys.stderr)
        return _continued(found, held, other_averages=anyway and COURSE in refused)


@dataclass(frozen=True)
class _Read:
    """A configuration as fields that have a bearing; and its optimiser."""

    fields: Mapping[tuple[str, str], Held]
    optimizer: Chosen
    lr: float


def _read(record: Mapping[str, Any]) -> _Read:
    """A record's fields. What it lacks has its default; a component's settings are those that were recorded.

    Raises:
        ValueError: a field or a component that nobody knows.
    """
    configuration = Configuration(complete(of_record(record)), frozenset())
    config, resolved = configuration.values, record.get(RESOLVED, {})
    found: dict[tuple[str, str], Held] = {}
    choices = {role.field for role in ROLES.values()}
    for path in sorted(base_fields() - choices):
        bearing = bearing_of_field(path)
        if bearing not in (None, FREE):
            found["", path] = Held(bearing, _plain(_value(configuration, path)))
    for key, role in ROLES.items():
        bearing = bearing_of_role(key)
        if bearing in (None, FREE):
            continue
        chosen = choose(role, config)
        found[key, role.field] = Held(bearing, None if chosen is None else chosen.name)
        if chosen is None:
            continue
        recorded = resolved.get(key, {})
        settings = {**chosen.resolved(), **(recorded if recorded.get("name") == chosen.name else {})}
        if key == "network" and config.model.fir is not None:  # score_sde's switch of the kernel
            settings["fir_kernel"] = (config.model.fir_kernel or (1, 3, 3, 1)) if config.model.fir else None
        for path, setting in role.settings(chosen.factory):
            at = bearing_of_setting(key, path)
            if at not in (None, FREE):
                found[key, path] = Held(at, _plain(settings.get(setting.name)))
    return _Read(found, configuration.choose("optimizer"), config.optim.lr)


def _value(configuration: Configuration, path: str) -> Any:
    """The value of a field: an output that is not set and a single size in full, a batch as a step has it."""
    config: ConfigDict = configuration.values
    section, _, field = path.partition(".")
    value = config[section][field] if field else config[section]
    if path == "model.output" and not value:
        process = configuration.choose("sde").build()
        return conventions.convention(
            config.training.sde, process, config.training.continuous
        ).training.output
    if path == "training.batch_size":
        return value * config.training.accumulate
    if path == "data.image_size" and isinstance(value, int):
        return (value, value)
    return value


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _differences(theirs: _Read, ours: _Read) -> Iterator[Difference]:
    """Fields whose values differ, each once; of another component, its choice and none of its settings."""
    shown: set[str] = set()
    other = {
        key
        for key, path in ours.fields
        if key and path == ROLES[key].field and theirs.fields[key, path] != ours.fields[key, path]
    }
    for (key, path), now in ours.fields.items():
        if path in shown or (key in other and path != ROLES[key].field):
            continue
        was = theirs.fields.get((key, path), Held(now.bearing, None))
        if was.value != now.value:
            shown.add(path)
            yield Difference(path, was, now)


def _continued(differences: list[Difference], theirs: _Read, *, other_averages: bool) -> Continued:
    """How much of a checkpoint's state is taken under other settings."""
    paths = {one.path for one in differences}
    sections = {one.path.partition(".")[0] for one in differences if one.bearing is STATE}
    settings = {path for path, _ in ROLES["optimizer"].settings(theirs.optimizer.factory)}
    return Continued(
        optimizer="optim" not in sections,
        times="training" not in sections,
        learned="training" not in sections and "training.uncertainty" not in paths,
        averages=not other_averages,
        scale="training.loss_scale" not in paths,
        built_before=functools.partial(_optimizer, theirs.optimizer, theirs.lr) if paths & settings else None,
    )


def _optimizer(chosen: Chosen, lr: float, network: Network) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = chosen.build(parameters=trained_parameters(network), lr=lr)
    return optimizer
