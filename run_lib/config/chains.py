"""``sampling.chain``: on which process a network that was trained on a chain is sampled."""

from __future__ import annotations

from dataclasses import replace

from ml_collections import ConfigDict

from models.base import Network
from models.prediction.conventions import Convention, Setting
from models.prediction.time_encoding import ChainIndex, FractionalIndex
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.discrete import DiscreteDiffusion


def sampled_chain(rule: Convention, config: ConfigDict) -> Convention:
    """The rule with its process of sampling as ``sampling.chain`` says.

    ``levels``: the chain that the network was trained on, at its whole indices. ``interpolated``: the same at
    every real index, which is an SDE: any grid, any predictor, the probability flow and its likelihood.
    Unset: as score_sde samples such networks, ``ddpm`` and ``smld`` on the chain, discretely trained
    ``vpsde`` and ``vesde`` on the SDE, with the chain's noise level at the truncated index for VP.

    Raises:
        ValueError: a network that was not trained on a chain, or one whose output has a
            meaning at whole indices alone.
    """
    choice = config.sampling.chain
    if choice is None:
        return rule
    chain, time = rule.training.process, rule.training.time
    if not isinstance(chain, DiscreteDiffusion) or not isinstance(time, ChainIndex):
        raise ValueError(
            f"sampling.chain={choice!r} is for networks trained on a chain of levels, and this one is trained "
            f"on {type(chain).__name__}: leave it unset, or set training.sde to ddpm or smld, or "
            f"training.continuous=False."
        )
    if choice == "levels":
        return replace(rule, sampling=rule.training)
    if config.model.output == "previous":
        raise ValueError(
            "model.output='previous' is the chain's state one level down, which a fractional index has not: "
            "set sampling.chain='levels'."
        )
    process = InterpolatedChain(chain)
    between = FractionalIndex(process, chain, time.scale, time.descending)
    return replace(rule, sampling=Setting(process, between, rule.training.output))


def check_labels_between(config: ConfigDict, network: Network) -> None:
    """Refuse a network that looks its level up in a table.

    Raises:
        ValueError: with what to do.
    """
    if config.sampling.chain == "interpolated" and network.time_label == "level":
        raise ValueError(
            "sampling.chain='interpolated' tells the network a fractional level, and this network has learnt "
            "whole ones alone: set sampling.chain='levels'."
        )
