"""Settings of the likelihoods of ``eval.enable_bpd``: the ODE's, the variational bound's, their dequantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from likelihood import Divergence, ExactTrace, Hutchinson, HutchPlusPlus
from likelihood.ode import Truncation
from models.prediction.reverse import Variance
from sde_lib.settings import Range

Solver = Literal["dopri5", "dop853", "bosh3", "RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA"]
Count = Annotated[int, Range(least=1)]
Vectors = Annotated[int, Range(least=1, most=10**4)]
Tolerance = Annotated[float, Range(above=0)]


@dataclass(frozen=True)
class Trace:
    """How the trace of the Jacobian is found.

    Attributes:
        name: of the choice ``eval.bpd_divergence``.
        divergence: the estimator.
        probes: random vectors of each sample; 0: the exact trace has none.
        rank: of the sketch; 0: there is none.
    """

    name: str
    divergence: Divergence
    probes: int = 0
    rank: int = 0


def rademacher(probes: Vectors = 1) -> Trace:
    """Hutchinson's estimate with Rademacher probes.

    Args:
        probes: independent estimates of each sample's trace.
    """
    return Trace("rademacher", Hutchinson("rademacher", probes), probes)


def gaussian(probes: Vectors = 1) -> Trace:
    """Hutchinson's estimate with Gaussian probes.

    Args:
        probes: independent estimates of each sample's trace.
    """
    return Trace("gaussian", Hutchinson("gaussian", probes), probes)


def hutch_plus_plus(rank: Vectors = 4, probes: Vectors = 1) -> Trace:
    """Hutch++: exact on the range of a random sketch, Hutchinson's estimate on the rest.

    Args:
        rank: vectors of the sketch.
        probes: independent estimates of the trace of the rest.
    """
    return Trace("hutch++", HutchPlusPlus(rank, probes), probes, rank)


def exact() -> Trace:
    """The exact trace, by as many backward passes as there are dimensions."""
    return Trace("exact", ExactTrace())


TRACES = {"rademacher": rademacher, "gaussian": gaussian, "hutch++": hutch_plus_plus, "exact": exact}


@dataclass(frozen=True)
class FlowLikelihood:
    """Likelihoods by the probability-flow ODE (``likelihood.log_likelihood``).

    Args:
        trace: of the Jacobian, ``eval.bpd_divergence``.
        rtol, atol: relative and absolute tolerance of a step's error.
        solver: ``dopri5``, ``dop853`` or ``bosh3``; or, as a reference, a method of scipy's ``solve_ivp``.
        max_steps: steps after which an image is given up.
        truncation: what is read at ``t_min``: the density of states, or a lower bound through noise.
        t_min: time at which the likelihood is read; the process's own unless set.
        importance_weighted: the logarithm of the repeats' mean weight; it needs the exact trace.
        latents: keep the states at T in a file.
    """

    trace: Trace
    rtol: Tolerance = 1e-5
    atol: Tolerance = 1e-5
    solver: Solver = "dopri5"
    max_steps: Count = 10_000
    truncation: Truncation = "state"
    t_min: float | None = None
    importance_weighted: bool = False
    latents: bool = False


@dataclass(frozen=True)
class LevelBound:
    """The variational bound of a chain, or of a continuous process cut into levels (``likelihood.variational_bound``).

    Args:
        variance: of a reverse step.
        clip: whether predicted data are clipped to their range.
        respacing: levels of the chain that are kept, written as ``sampling.respacing``; all unless set.
        levels: levels that a continuous process is cut into.
        bound_of: the probability of levels, or the density of dequantised data, at the same points as the ODE's.
    """

    variance: Variance = "auto"
    clip: bool = True
    respacing: str | None = None
    levels: Annotated[int, Range(least=2, most=10**6)] = 1000
    bound_of: Literal["levels", "density"] = "levels"


def uniform() -> None:
    """Values are spread evenly over their bins."""


@dataclass(frozen=True)
class LearnedDequantisation:
    """A flow that is fitted to the training split, once a checkpoint (Ho et al. 2019, section 3.1).

    Args:
        steps: of its training.
        batch_size: of its training.
        lr: its learning rate.
        width: channels of its hidden layers.
    """

    steps: Count = 400
    batch_size: Count = 64
    lr: Tolerance = 3e-3
    width: Annotated[int, Range(least=1, most=2**12)] = 32


DEQUANTISATIONS = {"uniform": uniform, "variational": LearnedDequantisation}
