"""What the constructor's arguments in a snapshot of EDM or EDM2 say, where the network is one of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.checkpoints.architecture import Architecture
from models.checkpoints.misfits import ArchitectureError

_WRAPPERS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "EDMPrecond": ("edm", {"sigma_data": "sigma_data"}, {"sigma_data": 0.5, "sigma_min": 0, "sigma_max": 0}),
    "VPPrecond": (
        "edm_vp",
        {"beta_min": "beta_min", "M": "N"},
        {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5},
    ),
    "VEPrecond": ("edm_ve", {}, {"sigma_min": 0.02, "sigma_max": 100}),
    "iDDPMPrecond": (
        "edm_iddpm",
        {"C_1": "ratio_floor", "C_2": "cosine_offset", "M": "N"},
        {"C_1": 0.001, "C_2": 0.008, "M": 1000},
    ),
    "Precond": ("edm", {"sigma_data": "sigma_data"}, {"sigma_data": 0.5, "logvar_channels": 128}),
}
"""Class -> our preconditioning, its arguments by theirs, and the class's own arguments with their defaults."""
_MODELS = {"EDMPrecond": "DhariwalUNet", "iDDPMPrecond": "DhariwalUNet", "Precond": "EDM2"}
"""The network that a class wraps where its arguments do not say; SongUNet in all others."""
_EVERY: dict[str, Any] = {"label_dim": 0, "use_fp16": False, "img_resolution": None, "img_channels": None}
_UNET: dict[str, Any] = {
    "augment_dim": 0, "channel_mult_emb": 4, "dropout": 0.10, "label_dropout": 0,
}  # fmt: skip
_SONG: dict[str, Any] = {
    "model_channels": 128, "channel_mult": (1, 2, 2, 2), "num_blocks": 4, "attn_resolutions": (16,),
    "embedding_type": "positional", "channel_mult_noise": 1, "encoder_type": "standard", "decoder_type": "standard",
    "resample_filter": (1, 1), **_UNET,
}  # fmt: skip
_DHARIWAL: dict[str, Any] = {
    "model_channels": 192, "channel_mult": (1, 2, 3, 4), "num_blocks": 3, "attn_resolutions": (32, 16, 8), **_UNET,
}  # fmt: skip
_EDM2: dict[str, Any] = {
    "model_channels": 192, "channel_mult": (1, 2, 3, 4), "num_blocks": 3, "attn_resolutions": (16, 8),
    "channel_mult_noise": None, "channel_mult_emb": None, "label_balance": 0.5, "concat_balance": 0.5,
    "resample_filter": (1, 1), "channels_per_head": 64, "dropout": 0, "res_balance": 0.3, "attn_balance": 0.3,
    "clip_act": 256,
}  # fmt: skip
_OF_MODEL = {"SongUNet": _SONG, "DhariwalUNet": _DHARIWAL, "EDM2": _EDM2}
_DDPMPP = {
    "embedding_type": "positional", "channel_mult_noise": 1, "encoder_type": "standard", "decoder_type": "standard",
    "resample_filter": (1, 1),
}  # fmt: skip
_NCSNPP = {
    "embedding_type": "fourier", "channel_mult_noise": 2, "encoder_type": "residual", "decoder_type": "standard",
    "resample_filter": (1, 3, 3, 1),
}  # fmt: skip
_FIXED_OF_EDM2 = ("resample_filter", "res_balance", "attn_balance", "clip_act")
_NAMES = {
    "model_channels": "channels", "channel_mult": "channel_mult", "num_blocks": "num_res_blocks", "dropout": "dropout",
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """What the arguments say.

    Attributes:
        model: their name of the network inside: SongUNet, DhariwalUNet, EDM2.
        architecture: the network of ours, with its preconditioning.
        label_dropout: share of labels that were withheld in training.
        half: whether their program evaluates the network in float16.
    """

    model: str
    architecture: Architecture
    label_dropout: float
    half: bool


def read_arguments(kind: str, given: Mapping[str, Any]) -> Snapshot:
    """The network of a class and its constructor's arguments.

    Raises:
        ArchitectureError: no network of ours is the same function; naming the arguments and what is allowed.
    """
    if kind not in _WRAPPERS:
        raise ArchitectureError(
            f"the file's network is a {kind[:40]!r}; of the classes of such files {', '.join(_WRAPPERS)} are known."
        )
    wrapper, renamed, own = _WRAPPERS[kind]
    model = str(given.get("model_type", _MODELS.get(kind, "SongUNet")))
    if model not in _OF_MODEL or (kind == "Precond") != (model == "EDM2"):
        raise ArchitectureError(
            f"the file's network is a {model[:40]!r}; known are SongUNet and DhariwalUNet."
        )
    known = {"model_type": model, **_EVERY, **own, **_OF_MODEL[model]}
    if strange := sorted(given.keys() - known.keys()):
        raise ArchitectureError(
            f"the file's network has arguments that are not known here: {', '.join(strange)[:200]}; what they do "
            "cannot be told."
        )
    values = known | dict(given)
    name, arguments = _BUILDERS[model](values)
    settings = {ours: values[theirs] for theirs, ours in renamed.items()}
    if kind == "VPPrecond":
        settings["beta_max"] = values["beta_min"] + values["beta_d"]
    if kind == "Precond":
        _need(values, {"logvar_channels": 128}, "edm2")
    arguments |= {ours: values[theirs] for theirs, ours in _NAMES.items()}
    side, channels = values["img_resolution"], values["img_channels"]
    levels = [side >> level for level in range(len(values["channel_mult"]))]
    arguments |= {
        "image_size": (side, side),
        "in_channels": channels,
        "out_channels": 2 * channels if kind == "iDDPMPrecond" else channels,
        "num_classes": values["label_dim"] or None,
        "attention_resolutions": tuple(size for size in values["attn_resolutions"] if size in levels),
    }
    return Snapshot(
        model,
        Architecture(name, arguments, wrapper, settings),
        float(values.get("label_dropout", 0)),
        bool(values["use_fp16"]),
    )


def _song(values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    own = {name: values[name] for name in _DDPMPP}
    if own not in (_DDPMPP, _NCSNPP):
        raise ArchitectureError(
            f"the file's SongUNet has {_shown(own)}; of these, known are edm_ddpmpp ({_shown(_DDPMPP)}) and edm_ncsnpp "
            f"({_shown(_NCSNPP)})."
        )
    _need(values, {"channel_mult_emb": 4}, "SongUNet")
    return "edm_ddpmpp" if own == _DDPMPP else "edm_ncsnpp", {"augment_labels": values["augment_dim"]}


def _dhariwal(values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    _need(values, {"channel_mult_emb": 4}, "DhariwalUNet")
    narrowest = values["model_channels"] * min(values["channel_mult"])
    if narrowest < 128:
        raise ArchitectureError(
            f"the file's DhariwalUNet has levels of {narrowest} channels, which it normalises in fewer than 32 groups; "
            "edm_adm has 32 at every level, so levels of 128 channels or more."
        )
    return "edm_adm", {"augment_labels": values["augment_dim"]}


def _edm2(values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    _need(values, {name: _EDM2[name] for name in _FIXED_OF_EDM2}, "edm2")
    mult = values["channel_mult"]
    _need(
        {"channel_mult_noise": values["channel_mult_noise"] or mult[0],
         "channel_mult_emb": values["channel_mult_emb"] or max(mult)},
        {"channel_mult_noise": mult[0], "channel_mult_emb": max(mult)},
        "edm2",
    )  # fmt: skip
    return "edm2", {
        "head_channels": values["channels_per_head"],
        "label_balance": values["label_balance"],
        "concat_balance": values["concat_balance"],
    }


_BUILDERS: dict[str, Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]]]] = {
    "SongUNet": _song,
    "DhariwalUNet": _dhariwal,
    "EDM2": _edm2,
}


def _need(values: Mapping[str, Any], wanted: Mapping[str, Any], name: str) -> None:
    """Refuse arguments other than those that the network of ours has always."""
    wrong = {key: values[key] for key in wanted if values[key] != wanted[key]}
    if wrong:
        always = {key: wanted[key] for key in wrong}
        raise ArchitectureError(
            f"the file's network has {_shown(wrong)}; {name} has {_shown(always)} always."
        )


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}"[:80] for name, value in values.items())
