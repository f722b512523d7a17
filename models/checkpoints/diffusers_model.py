"""A published diffusers model as a model to sample from: its folder says network, process and labels."""

from __future__ import annotations

import os
from dataclasses import replace

from models.base import Network, register_model
from models.checkpoints.diffusers import describe_folder
from models.checkpoints.loader import load_weights
from models.prediction.conventions import convention
from models.prediction.noise_model import NoiseModel
from sde_lib.base import Process, register_sde


def load_diffusers(path: str | os.PathLike[str], *, process: Process | None = None) -> NoiseModel:
    """The model of a diffusers folder, with its weights, in evaluation mode.

    The network is built from the config of its ``UNet2DModel``. Its process, and with it the labels that the
    network is fed, follow from the scheduler's config: the DDPM chain of the betas, whatever scheduler samples
    it, or the VE SDE of google/ncsnpp-*.

    >>> model = load_diffusers("google/ddpm-cifar10-32")

    Args:
        path: the folder, or the id of a model of the hub (``owner/name``), which is fetched.
        process: what the network is sampled on, in place of the scheduler's process: such as
            ``InterpolatedChain`` of the chain it was trained on.

    Raises:
        ValueError: no such folder, a network or a process that this library has not (naming the setting), or a
            folder without a scheduler's config, unless ``process`` is given.
    """
    published = describe_folder(path)
    schedule = published.schedule
    if schedule is None and process is None:
        raise ValueError(
            f"{path} has no scheduler_config.json, so nothing says how its network was trained; give the "
            "process, process=."
        )
    architecture = published.architecture
    network: Network = register_model[architecture.name](**architecture.arguments)
    load_weights(network, path)
    if process is None:
        assert schedule is not None
        process = register_sde[schedule.sde](**schedule.arguments)
    setting = convention(process).sampling
    if schedule is not None:
        setting = replace(setting, output=schedule.output)
    return setting.model(network).eval()
