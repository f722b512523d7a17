"""config.training -> the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ml_collections import ConfigDict

from losses import (
    BoundLoss,
    ClassifierLoss,
    DenoisingLoss,
    HybridLoss,
    LogNormalTimes,
    Loss,
    LossSecondMoment,
    OutputLoss,
    StratifiedLevels,
    StratifiedTimes,
    TimeSampler,
    UniformLevels,
    UniformTimes,
    register_weighting,
)
from models.prediction.noise_model import NoiseModel
from run_lib.config.fields import Section
from run_lib.data.levels import DataSpec
from sde_lib.base import Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.registry import unknown_name


@dataclass(frozen=True)
class Parts:
    """What an objective is made from."""

    training: ConfigDict
    model: NoiseModel
    times: TimeSampler
    data: DataSpec


def build_loss(training: ConfigDict, model: NoiseModel, data: DataSpec) -> Loss:
    """The objective of a diffusion model: ``training.objective``, else ``hybrid`` where variances are
    learned.

    Raises:
        ValueError: an unknown objective, or one that does not fit the process, the network or the data.
    """
    name = training.objective or ("denoising" if model.variance is None else "hybrid")
    if name not in OBJECTIVES:
        raise ValueError(unknown_name("training.objective", name, list(OBJECTIVES)))
    if name != "denoising":
        need(model.process, DiscreteDiffusion, f"training.objective={name!r}")
        if training.likelihood_weighting or training.weighting != "eps" or not training.reduce_mean:
            raise ValueError(
                f"training.objective={name!r} has its own weights: leave training.weighting, "
                f"likelihood_weighting and "
                f"reduce_mean as they are by default, or take the objective 'denoising'."
            )
    if name in ("denoising", "simple") and model.variance is not None:
        raise ValueError(
            f"training.objective={name!r} leaves learned variances untrained; take hybrid, rescaled_mse, "
            f"mse or a kl, or unset model.variance."
        )
    if data.dequantize and (model.variance is not None or name in ("kl", "rescaled_kl")):
        raise ValueError(
            f"training.objective={name!r} asks for the probability of the data's levels, between which "
            f"dequantised data lie: set data.uniform_dequantization=False."
        )
    if name == "hybrid" and model.variance is None:
        raise ValueError(
            "training.objective='hybrid' trains learned variances: set model.variance='learned_range'."
        )
    return OBJECTIVES[name](Parts(training, model, build_times(training, model.process), data))


def build_classifier_loss(training: ConfigDict, process: Process) -> ClassifierLoss:
    """The objective of a classifier, at the times that ``training.times`` says."""
    if training.objective is not None:
        raise ValueError("a classifier has one objective: leave training.objective unset.")
    return ClassifierLoss(build_times(training, process))


def build_times(training: ConfigDict, process: Process) -> TimeSampler:
    """The distribution of times, ``training.times``.

    Raises:
        ValueError: an unknown one, or one that the process cannot have.
    """
    if isinstance(process, DiscreteDiffusion):
        known: dict[str, Callable[[], TimeSampler]] = {
            "uniform": UniformLevels,
            "stratified": StratifiedLevels,
            "importance": lambda: LossSecondMoment(num_levels=process.num_levels),
        }
    else:
        known = {
            "uniform": UniformTimes,
            "stratified": StratifiedTimes,
            "log_normal": lambda: Section("training", training).construct(LogNormalTimes),
        }
        if training.times == "importance":
            raise ValueError(
                "training.times='importance' counts the levels of a chain: set training.sde='ddpm'."
            )
    if training.times not in known:
        raise ValueError(unknown_name("training.times", training.times, list(known)))
    return known[training.times]()


def need(process: Process, capability: type, what: str) -> None:
    """Refuse a process that cannot do what a component asks.

    Raises:
        ValueError: naming both.
    """
    if not isinstance(process, capability):
        raise ValueError(
            f"{what} needs a process of the kind {capability.__name__}, which {type(process).__name__} is "
            f"not; choose another, or another training.sde."
        )


def _denoising(p: Parts) -> Loss:
    name = "likelihood" if p.training.likelihood_weighting else p.training.weighting
    # EDM's weighting undoes the network's preconditioning: the two share one constant.
    context = {"sigma_data": p.model.network.sigma_data} if hasattr(p.model.network, "sigma_data") else {}
    weighting = Section("training", p.training).construct(register_weighting[name], **context)
    need(p.model.process, weighting.needs, f"loss weighting {name!r}")
    return DenoisingLoss(p.times, weighting, p.training.reduce_mean)


def _simple(p: Parts) -> Loss:
    return OutputLoss(p.times, p.model.output)


def _mse(weight: float | None) -> Callable[[Parts], Loss]:
    def build(p: Parts) -> Loss:
        if p.model.variance is None:
            return _simple(p)
        return HybridLoss(p.times, p.model.output, p.data.bins, weight)

    return build


def _hybrid(p: Parts) -> Loss:
    return HybridLoss(p.times, p.model.output, p.data.bins, p.training.vlb_weight)


def _bound(rescale: bool) -> Callable[[Parts], Loss]:
    def build(p: Parts) -> Loss:
        return BoundLoss(
            p.times, p.data.bins, "learned" if p.model.variance else p.training.variance, rescale
        )

    return build


OBJECTIVES: dict[str, Callable[[Parts], Loss]] = {
    "denoising": _denoising,
    "simple": _simple,
    "mse": _mse(None),
    "rescaled_mse": _mse(0.001),
    "hybrid": _hybrid,
    "kl": _bound(rescale=False),
    "rescaled_kl": _bound(rescale=True),
}
"""``mse``, ``rescaled_mse``, ``kl`` and ``rescaled_kl`` are improved-diffusion's loss types, ``hybrid`` is
its
rescaled_mse with a weight of one's choice (training.vlb_weight)."""
