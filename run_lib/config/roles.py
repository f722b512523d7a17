"""Which component takes which field of a configuration: said here, once.

A field of ``configs/base.py`` is no component's own; every other is a setting of a component that one of the roles
below is filled with.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from losses import register_weighting
from losses.named_times import register_times
from losses.objectives import register_objective
from models import register_model
from models.networks.edm import EDMPreconditioned
from models.networks.edm_baselines import IDDPMPreconditioned, VEPreconditioned, VPPreconditioned
from models.prediction.denoised import register_denoised_fn
from run_lib.config.choices import (
    BOUNDS,
    CONTROL_TASKS,
    DEQUANTISATION_CHOICES,
    FLOWS,
    GUIDANCE,
    LATENTS,
    MASK_CHOICES,
    PREDICTORS,
    RESTORATION_METHODS,
    TRACE_CHOICES,
    inversions,
)
from run_lib.config.chosen import (
    grid,
    interpolation_method,
    mask,
    mode,
    objective,
    part_of_likelihood,
    part_of_loop,
    preview,
    restoration_method,
    scorer,
    weighting,
)
from run_lib.config.components import Role, choose
from run_lib.config.methods import register_method
from run_lib.config.mode import register_mode
from run_lib.config.previews import register_preview
from run_lib.config.several import SEVERAL
from run_lib.data import autoencoders, formed, named, toys  # noqa: F401 - register codecs and data sets
from run_lib.data.augment import register_augmentation
from run_lib.data.codecs import register_codec
from run_lib.data.sources import CONTEXT as DATA_CONTEXT
from run_lib.data.sources import register_dataset
from run_lib.training.optimisers import register_optimizer, register_schedule
from run_lib.training.tasks import register_task
from run_lib.tuning import (
    by_metrics,  # noqa: F401 - registers a scorer
    optimised_grid,  # noqa: F401 - registers a grid
    scorers,  # noqa: F401 - registers scorers
)
from run_lib.tuning.scores import CONTEXT as SCORER_CONTEXT
from run_lib.tuning.scores import register_scorer
from samplers.base import register_corrector
from sde_lib.base import register_sde
from sde_lib.grids import register_grid
from sde_lib.registry import Registry

register_preconditioning: Registry[Any] = Registry("config.model.preconditioning")
"""Wrappers of a ``network``; every other parameter is a setting."""
register_preconditioning(name="edm")(EDMPreconditioned)
register_preconditioning(name="edm_vp")(VPPreconditioned)
register_preconditioning(name="edm_ve")(VEPreconditioned)
register_preconditioning(name="edm_iddpm")(IDDPMPreconditioned)

STATED: dict[str, tuple[Any, ...]] = {
    "attention_type": ("ddpm",),
    "conditional": (True,),
    "conv_size": (3,),
    "interpolation": ("bilinear",),
    "nonlinearity": ("swish",),
    "normalization": ("GroupNorm",),
    "resamp_with_conv": (True,),
    "scale_by_sigma": (False,),
}
"""Fields of score_sde that state what a network is, and the values that a network without such a choice can have."""


def _of_network(factory: Any) -> set[str]:
    """What networks understand beside their parameters: score_sde's statements, and its switch of the filter."""
    return set(STATED) | ({"fir"} if "fir_kernel" in inspect.signature(factory).parameters else set())


NETWORK = frozenset(
    {
        "in_channels",
        "out_channels",
        "image_size",
        "dims",
        "centered",
        "num_classes",
        "process",
        "sigmas",
        "augment_labels",
    }
)
OPERATOR = frozenset({"shape", "seed", "known"})
SDE_FIELDS = {"N": "model.num_scales", "schedule": "model.beta_schedule", "t_end": "sampling.t_end"}
NETWORK_FIELDS = {
    "channels": "model.nf",
    "channel_mult": "model.ch_mult",
    "attention_resolutions": "model.attn_resolutions",
    "resample_with_conv": "model.resamp_with_conv",
    "conv_resample": "model.resamp_with_conv",
    "embedding": "model.embedding_type",
    "resblock": "model.resblock_type",
    "norm_groups": "model.num_groups",
    "N": "model.num_scales",
}
"""Parameter -> field where they differ: score_sde's abbreviations stay in configurations."""

PC = "sampling.method='pc'"

BPD = "eval.enable_bpd=True"
FLOW_FIELDS = {
    name: f"eval.bpd_{name}"
    for name in ("rtol", "atol", "solver", "max_steps", "truncation", "importance_weighted", "latents")
}
BOUND_FIELDS = {name: f"eval.bpd_{name}" for name in ("variance", "clip", "respacing", "levels", "bound_of")}
TRACE_FIELDS = {"probes": "eval.bpd_probes", "rank": "eval.bpd_rank"}
DEQUANTISATION_FIELDS = {
    name: f"eval.dequantisation_{name}" for name in ("steps", "batch_size", "lr", "width")
}

FIXED: dict[str, Role] = {
    "mode": Role("mode", register_mode, "mode", mode),
    "network": Role(
        "model.name",
        register_model,
        "model",
        lambda c: c.model.name,
        NETWORK,
        NETWORK_FIELDS,
        _of_network,
    ),
    "sde": Role("training.sde", register_sde, "model", lambda c: c.training.sde, paths=SDE_FIELDS),
    "preconditioning": Role(
        "model.preconditioning",
        register_preconditioning,
        "model",
        lambda c: c.model.preconditioning,
        frozenset({"network"}),
        {"N": "model.num_scales"},
    ),
    "data set": Role(
        "data.dataset",
        register_dataset,
        "data",
        lambda c: c.data.dataset,
        frozenset(DATA_CONTEXT),
    ),
    "codec": Role(
        "data.codec",
        register_codec,
        "data",
        lambda c: c.data.codec or None,
        paths={"path": "data.codec_path"},
    ),
    "latents": Role(
        "data.codec", LATENTS, "data", lambda c: c.data.codec or None, frozenset({"codec", "name", "shape"})
    ),
    "augmentation": Role(
        "data.augment",
        register_augmentation,
        "data",
        lambda c: None if c.data.augment == "none" else c.data.augment,
    ),
    "task": Role(
        "training.task",
        register_task,
        "training",
        lambda c: c.training.task,
        frozenset({"num_classes", "requested", "data"}),
        {
            "low_res_size": "data.low_res_size",
            "base_samples": "sampling.base_samples",
            "convert": "data.convert",
        },
    ),
    "objective": Role(
        "training.objective",
        register_objective,
        "training",
        objective,
        frozenset({"times", "weighting", "output", "bins", "learned"}),
        further=lambda factory: (
            ("likelihood_weighting",) if "weighting" in inspect.signature(factory).parameters else ()
        ),
    ),
    "weighting": Role(
        "training.weighting",
        register_weighting,
        "training",
        weighting,
        paths={"sigma_data": "model.sigma_data"},
        under="training.objective='denoising'",
    ),
    "times": Role(
        "training.times", register_times, "training", lambda c: c.training.times, frozenset({"process"})
    ),
    "preview": Role(
        "training.preview",
        register_preview,
        "training",
        preview,
        paths={name: f"training.preview_{name}" for name in ("steps", "predictor", "images")},
        under="training.snapshot_sampling=True",
    ),
    "optimizer": Role(
        "optim.optimizer",
        register_optimizer,
        "optim",
        lambda c: c.optim.optimizer,
        frozenset({"parameters", "lr"}),
    ),
    "schedule": Role(
        "optim.schedule",
        register_schedule,
        "optim",
        lambda c: c.optim.schedule,
        frozenset({"samples_per_step"}),
    ),
    "method": Role("sampling.method", register_method, "sampling", lambda c: c.sampling.method),
    "predictor": Role("sampling.predictor", PREDICTORS, "sampling", part_of_loop("predictor"), under=PC),
    "corrector": Role(
        "sampling.corrector", register_corrector, "sampling", part_of_loop("corrector"), under=PC
    ),
    "grid": Role(
        "sampling.grid",
        register_grid,
        "sampling",
        grid,
        under=f"{PC} with a predictor that is not 'auto', which comes with its grid",
    ),
    "transform": Role(
        "sampling.denoised_fn",
        register_denoised_fn,
        "sampling",
        lambda c: c.sampling.denoised_fn or None,
        frozenset({"x0", "x"}),
    ),
    "guidance": Role(
        "guidance.name",
        GUIDANCE,
        "guidance",
        lambda c: c.guidance.name,
        frozenset({"model", "classifier", "guide", "told", "null_label", "conditional", "log_prob", "loss"}),
        further=lambda factory: tuple(
            field
            for other in ("classifier", "guide")
            if other in inspect.signature(factory).parameters
            for field in (other, f"{other}_config")
        ),
    ),
    "control task": Role("control.task", CONTROL_TASKS, "control", lambda c: c.control.task, OPERATOR),
    "mask": Role("control.mask", MASK_CHOICES, "control", mask, OPERATOR, under="control.task='inpaint'"),
    "restoration": Role(
        "control.method",
        RESTORATION_METHODS,
        "control",
        restoration_method,
        frozenset({"model", "operator", "noise_std", "sampler"}),
    ),
    "interpolation": Role(
        "control.method",
        inversions("config.control.method"),
        "control",
        interpolation_method,
        frozenset({"num_steps"}),
    ),
    "inversion": Role(
        "reconstruct.method",
        inversions("config.reconstruct.method"),
        "reconstruct",
        lambda c: c.reconstruct.method,
    ),
    "flow": Role(
        "eval.bpd_method",
        FLOWS,
        "eval",
        part_of_likelihood("bpd_method", ("ode", "both")),
        frozenset({"trace"}),
        FLOW_FIELDS,
        under=BPD,
    ),
    "bound": Role(
        "eval.bpd_method",
        BOUNDS,
        "eval",
        part_of_likelihood("bpd_method", ("vlb", "both")),
        paths=BOUND_FIELDS,
        under=BPD,
    ),
    "trace": Role(
        "eval.bpd_divergence",
        TRACE_CHOICES,
        "eval",
        part_of_likelihood("bpd_divergence", ("ode", "both")),
        paths=TRACE_FIELDS,
        under=f"{BPD} and eval.bpd_method='ode'",
    ),
    "dequantisation": Role(
        "eval.bpd_dequantisation",
        DEQUANTISATION_CHOICES,
        "eval",
        part_of_likelihood("bpd_dequantisation"),
        paths=DEQUANTISATION_FIELDS,
        under=BPD,
    ),
    "scorer": Role("tune.scorer", register_scorer, "tune", scorer, frozenset(SCORER_CONTEXT)),
}
"""Roles that there are whatever plugins register."""


class Roles(Mapping[str, Role]):
    """Roles by name: the fixed ones, and one for each component of which several may be chosen."""

    def __getitem__(self, key: str) -> Role:
        kind, _, name = key.partition(" ")
        if kind in SEVERAL and name in SEVERAL[kind][0]:
            return SEVERAL[kind][1](name)
        return FIXED[key]

    def __iter__(self) -> Iterator[str]:
        yield from FIXED
        for kind, (registry, _) in SEVERAL.items():
            yield from (f"{kind} {name}" for name in registry)

    def __len__(self) -> int:
        return sum(1 for _ in self)


ROLES = Roles()
"""Every role of a configuration."""


def takers(field: str) -> list[str]:
    """What takes a field, written as the choice that it belongs to: ``sampling.predictor='ddim'``."""
    settings = [
        role.choice(name) for role in ROLES.values() for name in role.choices if field in role.fields(name)
    ]
    under = [role.under for role in ROLES.values() if role.field == field and role.under]
    return list(dict.fromkeys(settings + under))


def lent(config: ConfigDict, mode: str) -> frozenset[str]:
    """The fields of the sampling section that a map from images to latents and back takes, whatever samples."""
    key = {"reconstruct": "inversion", "control": "interpolation"}.get(mode)
    inversion = None if key is None else choose(ROLES[key], config)
    if inversion is None:
        return frozenset()
    method, grid = ROLES["method"], ROLES["grid"]
    if inversion.name == "ode":
        return frozenset(p for p in method.fields("ode") if not p.endswith(".noise_removal"))
    times = {"num_steps", "respacing"} - ({"num_steps"} if "num_steps" in inversion.settings else set())
    taken = {p for p in method.fields("pc") if p.rpartition(".")[2] in times}
    return frozenset(taken | {grid.field} | grid.fields(config.sampling.grid))


def settings_by_section() -> dict[str, set[str]]:
    """Section -> every field that any component would take, blocks left out; and the switches of components."""
    found: dict[str, set[str]] = {}
    for role in ROLES.values():
        paths = {path for name in role.choices for path in role.fields(name) if path.count(".") == 1}
        for path in paths | ({role.field} if role.switch else set()):
            section, _, field = path.partition(".")
            found.setdefault(section, set()).add(field)
    return found


def components_of(section: str) -> dict[str, set[str]]:
    """The components whose settings are in a section, by name, with the names of their settings."""
    found: dict[str, set[str]] = {}
    for role in ROLES.values():
        if role.section == section:
            for name in role.choices:
                found.setdefault(name, set()).update(
                    setting.name for _, setting in role.settings(role.choices[name])
                )
    return found
