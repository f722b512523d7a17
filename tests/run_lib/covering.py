"""Configurations that together choose every component, and what a mode's work does not touch of its plan."""

from __future__ import annotations

from typing import Any

from run_lib.config.roles import ROLES
from run_lib.config.several import SEVERAL
from tests.run_lib.effects import Case, Unused
from tests.run_lib.program import TINY

BASE = str(TINY)
SMALL = {"device": "cpu"}
NEEDED: dict[str, dict[str, Any]] = {
    "tune": {"tune.sweep": "num_steps=2"},
    "reconstruct": {"reconstruct.input": "test"},
    "ema": {"ema.std": 0.1},
}
"""Fields without which a mode has nothing to do."""


def parts(text: str) -> Unused:
    """``Class.field`` of each word."""
    return frozenset((kind, name) for kind, _, name in (word.partition(".") for word in text.split()))


_WEIGHTS_AVERAGED = "Placement.training DataSpec.random_flip DataSpec.augment DataSpec.reading"
_SAMPLES = "Placement.evaluation"
_NOTHING = "Placement.sampling Placement.evaluation"
_FILES = "SampleSettings.num_samples SampleSettings.png SampleSettings.png_by_class SamplingPlan.trajectory"
UNUSED: dict[str, Unused] = {
    "train": parts("Subject.sampling Averages.used_ema_rate Placement.sampling"),
    "check": parts("Subject.sampling Averages.used_ema_rate Placement.sampling"),
    "sample": parts(
        f"{_WEIGHTS_AVERAGED} {_SAMPLES} Subject.training DataSpec.loader DataSpec.name DataSpec.density"
    ),
    "eval": parts(f"{_WEIGHTS_AVERAGED} {_FILES}"),
    "tune": parts(f"{_WEIGHTS_AVERAGED} {_SAMPLES} {_FILES} SampleSettings.grid_size Subject.training"),
    "control": parts(f"{_WEIGHTS_AVERAGED} {_SAMPLES} {_FILES} Subject.training RequestedClasses.labels"),
    "reconstruct": parts(
        f"{_WEIGHTS_AVERAGED} {_SAMPLES} SamplingPlan.sampler SamplingPlan.settings SamplingPlan.trajectory "
        "SamplingPlan.stored_grid Subject.training RequestedClasses.labels"
    ),
    "convert": parts(
        f"{_NOTHING} {_WEIGHTS_AVERAGED} Subject.sampling Optimisation.schedule Optimisation.grad_clip DataSpec.loader "
        "DataSpec.name DataSpec.density DataSpec.levels DataSpec.centered DataSpec.dequantize DataSpec.labelled"
    ),
    "ema": parts(
        f"{_NOTHING} {_WEIGHTS_AVERAGED} Subject.sampling DataSpec.loader DataSpec.name DataSpec.density "
        "DataSpec.levels DataSpec.centered DataSpec.dequantize DataSpec.labelled"
    ),
    "pack": parts(
        "DataSpec.random_flip DataSpec.augment DataSpec.centered DataSpec.dequantize Reading.num_workers"
    ),
    "stats": parts("DataSpec.random_flip DataSpec.augment DataSpec.reading"),
    "extractor": parts(
        "DataSpec.random_flip DataSpec.augment DataSpec.centered DataSpec.dequantize DataSpec.reading "
        "Placement.training Placement.sampling"
    ),
}
"""Parts of a plan, class and field, that the mode's work does not touch: several modes share what holds them."""
PREVIEWS = parts(f"{_FILES} Subject.sampling Averages.used_ema_rate")
INTERPOLATION = parts("SamplingPlan.sampler SampleSettings.seed SamplingPlan.stored_grid")
LIKELIHOOD = parts("EvaluationPlan.objective SamplingPlan.settings SamplingPlan.sampler")


def base(mode: str, unused: Unused | None = None, **fields: Any) -> Case:
    """A mode of the digits, small; with further fields."""
    touched = UNUSED.get(mode, frozenset()) if unused is None else unused
    return Case(BASE, mode, SMALL | NEEDED.get(mode, {}) | fields, touched)


# Every component -----------------------------------------------------------------------------------

MODES = {
    "network": "describe", "preconditioning": "describe", "task": "eval", "objective": "train", "weighting": "train",
    "times": "train", "optimizer": "train", "schedule": "train", "control task": "control", "mask": "control",
    "restoration": "control", "interpolation": "control", "inversion": "reconstruct", "flow": "eval", "bound": "eval",
    "trace": "eval", "dequantisation": "eval", "scorer": "tune", "data set": "train",
    "preview": "train",
}  # fmt: skip
"""Role -> the mode in which it is tried; of evaluations ``eval``, of the others ``sample``."""
LEVELS = {"training.sde": "ddpm", "sampling.predictor": "ancestral_sampling", "sampling.grid": "uniform"}
SCORES = {"training.sde": "smld", "model.output": "score", **LEVELS} | {"training.sde": "smld"}
OTHERS: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("network", "adm_encoder"): ("adm/digits_classifier", {}),
    ("network", "adm_superres"): ("adm/digits_superres", {}),
    ("network", "correlated_gaussian"): (
        "toy/gaussian_2d", {"model.covariance": ((1.0, 0.5), (0.5, 1.0)), "model.mean": None}
    ),
    ("network", "edm2"): (BASE, {"model.head_channels": 4}),
    ("network", "edm_adm"): (BASE, {"model.num_head_channels": 4}),
    ("network", "mlp"): ("toy/moons_mlp", {}),
    ("network", "ddpm_1d"): (
        "toy/moons_mlp", {"data.shape": (2, 16), "model.nf": 32, "data.dataset": "gaussian_modes"}
    ),
    **{("data set", name): ("toy/moons_mlp", {}) for name in
       ("two_moons", "swiss_roll", "rings", "checkerboard", "gaussian_modes")},
    ("network", "gaussian"): ("toy/gaussian_image", {}),
    ("network", "gaussian_mixture"): ("toy/mixture_2d", {}),
    **{("network", name): (BASE, SCORES) for name in ("ncsn", "ncsnv2_64", "ncsnv2_128", "ncsnv2_256")},
    ("sde", "ddpm"): (BASE, LEVELS),
    ("sde", "smld"): (BASE, SCORES),
    ("data set", "exact"): ("toy/gaussian_image", {}),
    ("task", "classifier"): ("adm/digits_classifier", {}),
    ("task", "superres"): ("adm/digits_superres", {}),
    ("objective", "hybrid"): ("adm/digits_learned", {}),
    ("objective", "kl"): ("adm/digits_superres", {}),
    ("objective", "rescaled_kl"): ("adm/digits_superres", {}),
    ("times", "importance"): (BASE, LEVELS),
    ("predictor", "none"): (BASE, {"sampling.corrector": "langevin"}),
    ("predictor", "bespoke"): (BASE, {"sampling.shares": ((1.0,), (0.5, 0.5))}),
    ("grid", "explicit"): (BASE, {"sampling.listed_times": (0.9, 0.5, 0.1)}),
    ("grid", "respaced"): (BASE, LEVELS),
    ("guidance", "classifier_free"): ("adm/digits_guided", {}),
    ("guidance", "cfg_plus_plus"): ("adm/digits_guided", {"sampling.predictor": "ddim", "guidance.scale": 0.6}),
    ("guidance", "projected"): ("adm/digits_guided", {}),
    ("control task", "interpolate"): (BASE, {}),
    ("restoration", "repaint"): ("toy/gaussian_image", {}),
    ("inversion", "ddim"): (BASE, {}),
    ("evaluation", "accuracy"): ("adm/digits_classifier", {}),
    ("evaluation", "restoration"): ("adm/digits_superres", {}),
    ("evaluation", "density"): ("toy/gaussian_2d", {}),
}  # fmt: skip
"""Components that the small digits cannot have, or with further fields only."""
LEFT_OUT = {
    ("predictor", "reverse_ddim"): "encodes data; reconstruct chooses it by itself",
    ("guidance", "classifier"): "needs a trained one: test_guidance has it",
    ("guidance", "autoguidance"): "the same: test_toys has it",
    ("control task", "colorize"): "needs a colour image, and has no settings",
    ("control task", "grey"): "the same",
    ("control task", "mask_image"): "needs an image",
    ("mask", "image"): "the same",
    **{
        (role, name): "needs a folder, and latents: test_autoencoders and test_latents have it"
        for role in ("codec", "latents")
        for name in ("autoencoder_kl", "autoencoder_dc")
    },
}
COMPONENTS = [
    (key, name)
    for key, role in ROLES.items()
    for name in role.choices
    if key not in ("mode", "transform") and (key, name) not in LEFT_OUT
]


def choosing(key: str, name: str, mode: str | None = None) -> Case:
    """A case that fills a role with a component; in the mode in which that is tried unless another is named."""
    role, kind = ROLES[key], key.partition(" ")[0]
    mode = mode or ("eval" if kind in SEVERAL else MODES.get(key, "sample"))
    config, further = OTHERS.get((kind if kind == "evaluation" else key, name), (BASE, {}))
    fields: dict[str, Any] = {role.field: True if role.switch else name}
    if kind in ("metric", "extractor"):
        listed = f"{name}@pixels" if kind == "metric" else f"frechet@{name}"
        fields = {"eval.metrics": listed, "eval.enable_sampling": True, "eval.enable_bpd": False}
    if key == "interpolation":
        fields |= {"control.task": "interpolate"}
    if key == "preview":
        # A sampler of few steps would be taken itself.
        fields |= {"training.snapshot_sampling": True, "sampling.num_steps": 50}
    if key in ("flow", "bound", "trace", "dequantisation"):
        fields |= {"eval.enable_bpd": True}
    if kind == "evaluation" and name != "bpd":
        fields |= {"eval.enable_bpd": False}
    return Case(config, mode, SMALL | NEEDED.get(mode, {}) | further | fields, UNUSED.get(mode, frozenset()))
