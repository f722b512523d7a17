"""A published training checkpoint as a whole: raw and averaged weights, optimiser, step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.base import Network
from models.checkpoints.loader import LoadedWeights, load_content, read, readable, recognise


@dataclass(frozen=True)
class TrainingCheckpoint:
    """What a training run goes on from, beside the raw weights, which are in the network.

    Args:
        report: of the load.
        averaged: the averaged trainable parameters, by our names.
        optimizer: state of each trainable parameter by its position, as torch optimizers have it.
        num_updates: of the average so far.
        step: training steps done.
        settings: of the optimizer, as torch names them.
    """

    report: LoadedWeights
    averaged: Mapping[str, Tensor]
    optimizer: Mapping[int, Any]
    num_updates: int
    step: int
    settings: Mapping[str, Any]


def load_training(network: Network, path: str | os.PathLike[str]) -> TrainingCheckpoint:
    """Put the raw weights of a training checkpoint into ``network`` and return the rest of it.

    Raises:
        ValueError: as ``load_weights``; or the file holds weights alone.
    """
    content = read(path)
    recognised = recognise(content, path)
    with readable(path, recognised.family):
        parts = recognised.family.training(recognised.payload, network)
        (group, *_) = (parts and parts.optimizer.get("param_groups")) or [{}]
        settings = {name: value for name, value in group.items() if name != "params"}
    if parts is None:
        raise ValueError(
            f"{path} holds weights and no state of a training run that can be continued here; start from "
            f"its weights "
            f"with init_from."
        )
    load_content(network, content, path)
    averaged = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}
    report = load_content(network, content, path, ema=False)
    return TrainingCheckpoint(
        report,
        averaged,
        over_trainable(parts.optimizer, network),
        parts.num_updates,
        parts.step,
        settings,
    )


def over_trainable(state: Mapping[str, Any], network: Network) -> dict[int, Any]:
    """The states of an optimizer over all parameters, numbered as over the trainable ones alone."""
    kept = [place for place, p in enumerate(network.parameters()) if p.requires_grad]
    return {index: state["state"][place] for index, place in enumerate(kept) if place in state["state"]}


def over_all(state: Mapping[str, Any], network: Network) -> dict[str, Any]:
    """The state of an optimizer over the trainable parameters, as of one over all; the inverse.

    What a loss learns beside them, which follows them in the optimizer, is left out.
    """
    kept = [place for place, p in enumerate(network.parameters()) if p.requires_grad]
    everything = list(range(sum(1 for _ in network.parameters())))
    return {
        "state": {kept[index]: held for index, held in state["state"].items() if index < len(kept)},
        "param_groups": [{**state["param_groups"][0], "params": everything}],
    }
