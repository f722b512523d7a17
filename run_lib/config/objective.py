"""config.training -> the loss."""

from __future__ import annotations

from typing import Any

import torch

from losses import ClassifierLoss, Loss, TimeSampler, uncertain
from models.prediction.noise_model import NoiseModel
from run_lib.config.capabilities import need
from run_lib.config.configuration import Configuration
from run_lib.data.levels import DataSpec
from run_lib.seeds import Use, stream_seed
from sde_lib.base import Process


def build_loss(configuration: Configuration, model: NoiseModel, data: DataSpec) -> Loss:
    """The objective of a model of data: ``training.objective``.

    Raises:
        ValueError: an unknown objective, or one that does not fit the process, the network or the data.
    """
    chosen = configuration.choose("objective")
    name = chosen.name
    if name != "denoising" and _weighted(configuration):
        raise ValueError(
            f"training.objective={name!r} has its own weights: leave training.weighting, "
            f"likelihood_weighting and reduce_mean as they are by default, or take the objective 'denoising'."
        )
    learned = model.variance is not None
    if name == "hybrid" and not learned:
        raise ValueError(
            "training.objective='hybrid' trains learned variances: set model.variance='learned_range'."
        )
    times = build_times(configuration, model.process)
    bins = None if data.dequantize else data.bins
    context: dict[str, Any] = {"output": model.output, "bins": bins, "learned": learned}
    if "weighting" in chosen.takes:
        context["weighting"] = _weighting(configuration, model)
    loss: Loss = chosen.build(times=times, **context)
    need(model.process, loss.needs, f"training.objective={name!r}")
    loss.check(model.process)
    if learned and not loss.bounds:
        raise ValueError(
            f"training.objective={name!r} leaves learned variances untrained; take hybrid, rescaled_mse, "
            f"mse or a kl, or unset model.variance."
        )
    if model.process.learned is not None and not loss.trains_process:
        raise ValueError(
            f"training.objective={name!r} would move the ends that model.ends='learned' learns wherever it is least: "
            f"set training.objective='elbo', or model.ends='fixed'."
        )
    if data.augment is not None and data.augment.of_values and loss.of_levels:
        raise ValueError(
            f"training.objective={name!r} asks for the probability of the data's levels, between which turned and "
            f"stretched images lie: set data.augment to 'flip', 'crop' or 'none'."
        )
    if data.dequantize and loss.of_levels:
        raise ValueError(
            f"training.objective={name!r} asks for the probability of the data's levels, between which "
            f"dequantised data lie: set data.uniform_dequantization=False."
        )
    if configuration.values.training.uncertainty:
        loss = _uncertain(configuration, loss, model)
    return loss


def _uncertain(configuration: Configuration, loss: Loss, model: NoiseModel) -> Loss:
    """The loss in units of its expected error.

    Raises:
        ValueError: a loss or a process that has no such thing.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(stream_seed(configuration.values.seed, Use.INITIALISATION))
        found = uncertain(loss, model)
    need(model.process, found.needs, "training.uncertainty=True")
    return found


def _weighted(configuration: Configuration) -> bool:
    """Whether weights that only the objective ``denoising`` has were given."""
    return bool(
        configuration.given & {"training.weighting", "training.likelihood_weighting", "training.reduce_mean"}
    )


def _weighting(configuration: Configuration, model: NoiseModel) -> object:
    chosen = configuration.choose("weighting")
    # EDM's weighting undoes the network's preconditioning: the two share one constant.
    shared = {"sigma_data": model.network.sigma_data} if hasattr(model.network, "sigma_data") else {}
    weighting = chosen.build(**shared)
    need(model.process, weighting.needs, f"loss weighting {chosen.name!r}")
    return weighting


def build_classifier_loss(configuration: Configuration, process: Process) -> ClassifierLoss:
    """The objective of a classifier, at the times that ``training.times`` says."""
    if configuration.values.training.objective is not None:
        raise ValueError("a classifier has one objective: leave training.objective unset.")
    if configuration.values.training.uncertainty:
        raise ValueError("a classifier's loss is no squared error: leave training.uncertainty False.")
    return ClassifierLoss(build_times(configuration, process))


def build_times(configuration: Configuration, process: Process) -> TimeSampler:
    """The distribution of times, ``training.times``.

    Raises:
        ValueError: an unknown one, or one that the process cannot have.
    """
    chosen = configuration.choose("times")
    times: TimeSampler = chosen.build(process=process)
    need(process, times.needs, f"training.times={chosen.name!r}")
    times.check(process)
    return times
