"""Checkpoints of this project, as published weights: a training checkpoint, or its weights as safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from torch import Tensor

from models.base import Network
from models.checkpoints.base import Family, register_family

CHECKPOINT = "score-pc checkpoint 1"
WEIGHTS = "score-pc weights 1"


@final
@register_family(name="ours")
class Ours(Family):
    """Checkpoints of this project, whose names of weights are the network's own."""

    name: ClassVar[str] = "ours"

    def recognises(self, payload: Any) -> bool:
        return isinstance(payload, Mapping) and payload.get("format") in (CHECKPOINT, WEIGHTS)

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        if not isinstance(payload.get("model"), Mapping):
            raise ValueError(
                "the checkpoint has no entry 'model' of weights by name; use another copy of it."
            )
        if payload["format"] == CHECKPOINT and not isinstance(payload.get("ema"), Mapping):
            raise ValueError(
                "the checkpoint has no entry 'ema', its averaged weights; use another copy of it."
            )
        averaged = payload["ema"].get("shadow") if ema and "ema" in payload else {}
        if not isinstance(averaged, Mapping):
            raise ValueError(
                "the checkpoint's averaged weights are not stored by name; use another copy of it."
            )
        return {**payload["model"], **averaged}

    def key_map(self, network: Network) -> dict[str, str]:
        return {name: name for name, _ in network.named_parameters()}

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        reasons = {
            "config": "the configuration it was made with",
            "optimizer": "the optimizer's state is no weight",
            "averages": "averages of further rates",
            "profiles": "averages from which others are made",
            "classes": "names of the classes",
            "scaler": "the scale of the loss is no weight",
            "times": "the distribution of times is no weight",
            "learned": "what the loss learned is no weight",
        }
        if "ema" in payload and ema:
            reasons["model"] = "raw weights, the averaged ones are used"
        elif "ema" in payload:
            reasons["ema"] = "averaged weights, the raw ones are used"
        reasons |= {name: "a table that follows from the config" for name, _ in network.named_buffers()}
        return {name: why for name, why in reasons.items() if name in payload or name in payload["model"]}


def save_weights(
    network: Network,
    averaged: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    *,
    config: str,
    step: int,
    classes: Sequence[str] = (),
) -> None:
    """Write the averaged weights as a safetensors file that holds their configuration, training step and classes.

    Args:
        network: the rest of the parameters, those that are not trained.
        averaged: by name.
        path: to write to.
        config: the configuration, as JSON.
        step: training steps done.
        classes: their names, in the order of the labels.
    """
    from safetensors.torch import save_file

    weights = {
        name: averaged.get(name, p).detach().cpu().contiguous() for name, p in network.named_parameters()
    }
    metadata = {"format": WEIGHTS, "config": config, "step": str(step), "classes": json.dumps(list(classes))}
    save_file(weights, path, metadata=metadata)


def read_weights(weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> Mapping[str, Any]:
    """A safetensors file's content: ours as a checkpoint's payload, another's as it is."""
    if metadata is None or metadata.get("format") != WEIGHTS:
        return weights
    classes = json.loads(metadata.get("classes", "[]"))  # files of earlier versions have none
    return {**metadata, "step": int(metadata["step"]), "classes": classes, "model": weights}
