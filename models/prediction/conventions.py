"""Conventions: which labels the networks of each process are fed, and what they output.

The rules are score_sde's. VP and subVP networks output eps, VE networks the score. Continuous training labels VP
with 999 t and VE with sigma(t); discrete training labels the levels of a chain. A rule is registered under the
name of its process, so that a process of one's own brings a rule of its own or takes the default.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

from torch import nn

from models.base import Evaluate
from models.prediction.noise_model import NoiseModel, Output
from models.prediction.time_encoding import (
    ChainIndex,
    DescendingLevelOfTime,
    FractionalIndex,
    LevelOfTime,
    LogNoiseLevel,
    NoiseLevel,
    Time,
    TimeEncoding,
)
from models.prediction.variances import VarianceOutput
from sde_lib.base import GaussianProcess, Process, register_sde
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.edm import EDM
from sde_lib.flow import Flow
from sde_lib.registry import Registry
from sde_lib.schedules import geometric_sigmas, linear_betas
from sde_lib.subvp import subVPSDE
from sde_lib.vdm import VDM
from sde_lib.ve import VESDE
from sde_lib.vp import VPSDE


def _noise_level(process: Process) -> TimeEncoding:
    if not isinstance(process, GaussianProcess):
        raise ValueError(
            f"this network is fed sigma, and {type(process).__name__} has no Gaussian marginal to have one; "
            "take another process."
        )
    return NoiseLevel(process)


TIME_LABELS: dict[str, Callable[[Process], TimeEncoding]] = {"time": Time, "sigma": _noise_level}
"""Labels that a network asks for itself, by its ``time_label``, whatever the convention."""


@dataclass(frozen=True)
class Setting:
    """A process, which labels a network of it is fed, and what it outputs."""

    process: Process
    time: TimeEncoding
    output: Output

    def model(
        self,
        network: nn.Module,
        *,
        variance: VarianceOutput | None = None,
        evaluator: Evaluate | None = None,
    ) -> NoiseModel:
        """The network as a model of the process.

        A network that outputs the same whatever the process (``Network.output_kind``), or wants labels of its
        own (``Network.time_label``), is read as it says. Any other module is read by the convention alone.

        Args:
            network: trained under this convention; called as ``network(x, labels)``, as score_sde's are. It may be
                wrapped in torch's ``DataParallel``.
            variance: what the further channels of its output mean, None where it has none.
            evaluator: evaluates it; None: it is called.
        """
        parallel = isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel)
        own: Any = network.module if parallel else network
        output, time = getattr(own, "output_kind", None) or self.output, self.time
        if (label := getattr(own, "time_label", None)) in TIME_LABELS:
            time = TIME_LABELS[label](self.process)
        return NoiseModel(network, self.process, time, output, variance, evaluator)


@dataclass(frozen=True)
class Convention:
    """How a network is trained and how it is sampled; the two differ only for discrete training."""

    training: Setting
    sampling: Setting

    def model(self, network: nn.Module, *, variance: VarianceOutput | None = None) -> NoiseModel:
        """The network as a model to sample from; arguments of ``Setting.model``."""
        return self.sampling.model(network, variance=variance)


Rule: TypeAlias = Callable[[Process, bool], Convention]
"""(process, continuous) -> convention; a ValueError where discrete training does not exist."""

register_convention: Registry[Rule] = Registry("convention")


def same(setting: Setting) -> Convention:
    """Trained as it is sampled."""
    return Convention(setting, setting)


@register_convention(name="vpsde")
def vp(process: VPSDE, continuous: bool) -> Convention:
    if continuous:
        return same(Setting(process, Time(process, 999.0 / process.T), "eps"))
    chain = DiscreteDiffusion.ddpm(linear_betas(process.N, process.beta_min, process.beta_max))
    return Convention(
        training=Setting(chain, ChainIndex(chain), "eps"),
        sampling=Setting(process, LevelOfTime(chain, process.T), "eps"),
    )


@register_convention(name="subvpsde")
def subvp(process: subVPSDE, continuous: bool) -> Convention:
    if not continuous:
        raise ValueError("subVP has no discrete chain: set training.continuous=True.")
    return same(Setting(process, Time(process, 999.0 / process.T), "eps"))


@register_convention(name="vesde")
def ve(process: VESDE, continuous: bool) -> Convention:
    if continuous:
        return same(Setting(process, NoiseLevel(process), "score"))
    chain = DiscreteDiffusion.smld(geometric_sigmas(process.N, process.sigma_min, process.sigma_max))
    return Convention(
        training=Setting(chain, ChainIndex(chain, descending=True), "score"),
        sampling=Setting(process, DescendingLevelOfTime(process, process.N), "score"),
    )


@register_convention(name="edm")
def edm(process: EDM, continuous: bool) -> Convention:
    """Networks are denoisers: fed sigma, they give clean data (Karras et al. 2022, eq. 2)."""
    if not continuous:
        raise ValueError("EDM has no discrete chain: set training.continuous=True.")
    return same(Setting(process, NoiseLevel(process), "x0"))


@register_convention(name="flow")
def flow(process: Flow, continuous: bool) -> Convention:
    """Networks are fed the time, from data or from noise, and give the velocity in that direction."""
    if not continuous:
        raise ValueError("flow has no discrete chain: set training.continuous=True.")
    from_noise = process.time_from == "noise"
    output: Output = "reversed_velocity" if from_noise else "velocity"
    return same(Setting(process, Time(process, process.label_scale, from_noise), output))


@register_convention(name="vdm")
def vdm(process: VDM, continuous: bool) -> Convention:
    """Networks are fed the log-SNR, not the time, which its ends may change; they give eps (Kingma et al. 2021)."""
    if not continuous:
        raise ValueError("vdm has no discrete chain: set training.continuous=True.")
    return same(Setting(process, LogNoiseLevel(process, 999.0), "eps"))


@register_convention(name="ddpm")
def ddpm(process: DiscreteDiffusion, continuous: bool) -> Convention:
    return same(Setting(process, ChainIndex(process), "eps"))


@register_convention(name="smld")
def smld(process: DiscreteDiffusion, continuous: bool) -> Convention:
    return same(Setting(process, ChainIndex(process, descending=True), "score"))


@register_convention(name="interpolated_chain")
def interpolated(process: InterpolatedChain, continuous: bool) -> Convention:
    """Networks are trained on the chain; between two levels they are fed the fractional index."""
    chain = convention(process.chain).training
    descending = declared_name(process.chain) == "smld"
    between = FractionalIndex(process, process.chain, descending=descending)
    return Convention(training=chain, sampling=Setting(process, between, chain.output))


def default_convention(process: Process, continuous: bool) -> Convention:
    """For a process that brings no rule: labels 999 t / T; eps where it has a Gaussian marginal, else the score."""
    output: Output = "eps" if isinstance(process, GaussianProcess) else "score"
    return same(Setting(process, Time(process, 999.0 / process.start), output))


@functools.singledispatch
def declared_name(process: Process) -> str | None:
    """The name under which a process's convention is registered: that of its class among the SDEs.

    None where its class is not registered. Register another class here where one class serves several names.
    """
    return next((name for name in register_sde if register_sde[name] is type(process)), None)


@declared_name.register
def _chain(process: DiscreteDiffusion) -> str:
    # A chain that does not shrink its data is SMLD's, whose networks output the score.
    return "smld" if bool((process.alphas == 1).all()) else "ddpm"


@declared_name.register
def _interpolated_chain(process: InterpolatedChain) -> str:
    return "interpolated_chain"


@overload
def convention(process: Process, /, *, continuous: bool = True) -> Convention: ...
@overload
def convention(name: str, process: Process, /, continuous: bool = True) -> Convention: ...
def convention(
    named: str | Process, process: Process | None = None, /, continuous: bool = True
) -> Convention:
    """The convention of a process: which labels its networks are fed, and what they output.

    >>> model = convention(VPSDE()).model(network)

    Args:
        named: the process, whose class says the name; or the name under which the convention is registered,
            followed by the process.
        process: see above.
        continuous: whether the network was trained at continuous times, or else on the levels of a chain.

    Returns:
        the registered rule's convention, or ``default_convention`` where there is no rule of that name.

    Raises:
        ValueError: the process has no discrete training.
    """
    if isinstance(named, str):
        assert process is not None, "a name is followed by the process"
        name: str | None = named
    else:
        name, process = declared_name(named), named
    rule = (
        register_convention[name] if name is not None and name in register_convention else default_convention
    )
    found: Convention = rule(process, continuous)
    return found
