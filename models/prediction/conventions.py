"""What published networks of each process are fed and what they output.

The rules of score_sde: VP and subVP networks give eps, VE networks the score; continuous training labels
VP with 999 t and VE with sigma(t); discrete training labels levels of a chain. They are kept by the name
under which the process is registered, so that a process of one's own brings its own rule or takes the
default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from models.base import Network
from models.prediction.noise_model import NoiseModel, Output
from models.prediction.time_encoding import (
    ChainIndex,
    DescendingLevelOfTime,
    LevelOfTime,
    NoiseLevel,
    Time,
    TimeEncoding,
)
from sde_lib.base import GaussianProcess, Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.edm import EDM
from sde_lib.registry import Registry
from sde_lib.schedules import geometric_sigmas, linear_betas
from sde_lib.subvp import subVPSDE
from sde_lib.ve import VESDE
from sde_lib.vp import VPSDE


@dataclass(frozen=True)
class Setting:
    """A process, what a network of it is fed, and what it outputs."""

    process: Process
    time: TimeEncoding
    output: Output

    def model(self, network: Network) -> NoiseModel:
        return NoiseModel(network, self.process, self.time, self.output)


@dataclass(frozen=True)
class Convention:
    """How a network is trained and how it is sampled; the two differ only for discrete training."""

    training: Setting
    sampling: Setting


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


@register_convention(name="ddpm")
def ddpm(process: DiscreteDiffusion, continuous: bool) -> Convention:
    return same(Setting(process, ChainIndex(process), "eps"))


@register_convention(name="smld")
def smld(process: DiscreteDiffusion, continuous: bool) -> Convention:
    return same(Setting(process, ChainIndex(process, descending=True), "score"))


def default_convention(process: Process, continuous: bool) -> Convention:
    """For a process that brings no rule: labels 999 t / T; eps where it has a Gaussian marginal, else the score."""
    output: Output = "eps" if isinstance(process, GaussianProcess) else "score"
    return same(Setting(process, Time(process, 999.0 / process.start), output))


def convention(name: str, process: Process, continuous: bool = True) -> Convention:
    """The rule registered for the process's name, or the default one."""
    rule = register_convention[name] if name in register_convention else default_convention
    return rule(process, continuous)
