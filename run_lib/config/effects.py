"""Settings without effect: a value that nothing chosen takes is an error, never a silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from run_lib.config.components import Role
from run_lib.config.configuration import Configuration, base_fields, default_of, leaves
from run_lib.config.roles import ROLES, lent, takers

_BY_WIDTH = (
    lambda c: c.model.get("num_head_channels") is not None,
    "model.num_head_channels=None: the channels of a head say how many heads there are",
)
_SWEEPS = (
    lambda c: c.tune.grid,
    "a sweep, and tune.grid=True finds a time grid instead: set tune.grid=False",
)

IDLE: dict[str, tuple[Callable[[ConfigDict], bool], str]] = {
    "model.num_heads": _BY_WIDTH,
    "model.num_heads_upsample": _BY_WIDTH,
    **dict.fromkeys(
        (
            f"tune.{field}"
            for field in (
                "sweep",
                "repeats",
                "num_samples",
                "metric",
                "scorer",
                "confidence",
                "processes",
                "folder",
                "rows",
            )
        ),
        _SWEEPS,
    ),
    "tune.metrics": (lambda c: c.tune.scorer != "metrics", "tune.scorer='metrics'"),
    "tune.pilot_samples": (lambda c: not c.tune.grid, "tune.grid=True"),
    "init_from_ema": (lambda c: not c.init_from, "init_from"),
    "data.image_size": (lambda c: len(c.data.shape) > 0, "data.shape=(), which says the whole shape"),
    "data.num_channels": (lambda c: len(c.data.shape) > 0, "data.shape=(), which says the whole shape"),
    "training.weighting": (
        lambda c: c.training.likelihood_weighting and c.training.weighting != "likelihood",
        "training.likelihood_weighting=False, which is weighting='likelihood'",
    ),
    "eval.begin_ckpt": (lambda c: len(c.eval.checkpoints) > 0, "eval.checkpoints=(), which names them"),
    "eval.bpd_dataset": (lambda c: c.eval.dataset is not None, "eval.dataset unset, another spelling of it"),
    "sampling.n_steps_each": (
        lambda c: c.sampling.corrector == "none",
        "a corrector, and sampling.corrector is 'none': set it, to langevin for example",
    ),
    "sampling.corrector_first": (
        lambda c: c.sampling.corrector == "none",
        "a corrector, and sampling.corrector is 'none': set it, to langevin for example",
    ),
    "sampling.png_by_class": (lambda c: not c.sampling.png, "sampling.png=True"),
    "training.loss_scale": (lambda c: c.training.precision != "float16", "training.precision='float16'"),
    "training.loss_scale_growth": (
        lambda c: c.training.precision != "float16",
        "training.precision='float16'",
    ),
    "training.ema_snapshot_freq": (
        lambda c: not c.model.ema_stds,
        "averages to take snapshots of: set model.ema_stds",
    ),
    "model.used_ema_rate": (lambda c: not c.model.ema_rates, "averages to choose from: set model.ema_rates"),
    "eval.bpd_target": (lambda c: not c.eval.bpd_quick, "eval.bpd_quick=True"),
    "eval.bpd_dequantisation": (
        lambda c: c.eval.bpd_method == "vlb" and c.eval.bpd_bound_of != "density",
        "the ODE (eval.bpd_method='ode') or eval.bpd_bound_of='density'",
    ),
    "eval.end_ckpt": (lambda c: not c.eval.begin_ckpt, "eval.begin_ckpt"),
}
"""Fields of ``configs/base.py`` or of a chosen component that have an effect in some configurations only: when they
have none, and what they need."""


SWITCHES = {"eval.metrics": ["eval.enable_sampling=True"]}
"""Of fields that choose components: what asks for these in the first place."""


def taken(config: ConfigDict) -> set[str]:
    """The fields that the chosen components take, with those that choose them."""
    found: set[str] = set()
    for role in ROLES.values():
        name = role.chosen(config)
        if name is not None:
            found |= {role.field} | role.fields(name)
    return found


def check_effects(configuration: Configuration) -> None:
    """Refuse a value that was given and has no effect; one that is equal to the default counts as not given.

    Raises:
        ValueError: naming each such field and what would take it.
    """
    values = configuration.values
    found = taken(values) | lent(values, configuration.mode)
    choices = {role.field for role in ROLES.values()}
    wrong: list[str] = []
    for path in sorted(configuration.given):
        value = _value(values, path)
        if value is None or value == default_of(path):
            continue
        if path in IDLE and IDLE[path][0](values):
            wrong.append(f"config.{path} is set, and has no effect without {IDLE[path][1]}.")
            continue
        if path in found or (path in base_fields() and path not in choices):
            continue
        if any(value == default for default in _defaults(path)):
            continue
        wrong.append(_without_effect(values, path))
    if wrong:
        raise ValueError(" ".join(wrong))


def unused(config: ConfigDict) -> list[str]:
    """The fields of a configuration that are set and that nothing chosen takes: a file may set what its
    alternatives need."""
    found, choices = taken(config), {role.field for role in ROLES.values()}
    return sorted(
        path
        for path, value in leaves(config)
        if path not in found
        and not path.startswith("mode.")
        and not (path in base_fields() and path not in choices)
        and value != default_of(path)
        and not any(value == default for default in _defaults(path))
    )


def _value(config: ConfigDict, path: str) -> Any:
    value: Any = config
    for part in path.split("."):
        value = value[part]
    return value


def _defaults(path: str) -> list[Any]:
    """The defaults of the settings that a field sets, one for each component that has it."""
    return [
        setting.default
        for role in ROLES.values()
        for name in role.choices
        for field, setting in role.settings(role.choices[name])
        if field == path
    ] + [False for role in ROLES.values() if role.switch and role.field == path]


def _without_effect(config: ConfigDict, path: str) -> str:
    section = path.partition(".")[0]
    others = SWITCHES.get(path) or [other for other in takers(path) if not other.startswith(f"{path}=")]
    chosen = [
        f"{_word(key, role)} {name!r}"
        for key, role in ROLES.items()
        if section in (role.section, role.field.partition(".")[0])
        and (name := role.chosen(config)) not in (None, "none", "pc")
    ]
    those = ", ".join(chosen) or "what is chosen"
    take = "do not take it" if len(chosen) > 1 else "does not take it"
    wanted = f"{', '.join(others[:6])}{', ...' if len(others) > 6 else ''}"
    hint = f", or set {'one of ' if len(others) > 1 else ''}{wanted}" if others else ""
    return f"config.{path} is set, but {those} {take}; leave it unset{hint}."


def _word(key: str, role: Role) -> str:
    """What a role is called in a message: the last word of its field, where that says what is chosen."""
    kind = role.choices.kind
    return kind.rpartition(".")[2] if "." in kind or role.switch else key
