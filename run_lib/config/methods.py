"""Ways of sampling, ``sampling.method``: what each is set by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sde_lib.registry import Registry
from sde_lib.settings import Range

register_method: Registry[object] = Registry("sampling method")


@register_method(name="pc")
@dataclass(frozen=True)
class PredictorCorrector:
    """The predictor-corrector loop (``samplers.PCSampler``).

    Args:
        num_steps: times of the grid; as many as the process has levels (``model.num_scales``) unless set.
        respacing: levels of a chain, instead of ``num_steps`` and ``grid``: ``N``, ``a,b,c`` or ``ddimN``.
        n_steps_each: corrector steps at each time.
        corrector_first: correct at a time before predicting from it, or after predicting to it.
        noise_removal: close with one evaluation that estimates clean data.
        trajectory: frames of the sampling trajectory to write; 0: none.
    """

    num_steps: Annotated[int, Range(least=1, most=10**6)] | None = None
    respacing: str | None = None
    n_steps_each: Annotated[int, Range(least=1)] = 1
    corrector_first: bool = True
    noise_removal: bool = True
    trajectory: Annotated[int, Range(least=0, most=10**4)] = 0


@register_method(name="ode")
@dataclass(frozen=True)
class ProbabilityFlow:
    """The probability-flow ODE, solved to a tolerance for each sample on its own (``samplers.ODESampler``).

    Args:
        rtol, atol: relative and absolute tolerance of a step's error.
        ode_method: an embedded Runge-Kutta pair: ``dopri5``, ``dop853`` or ``bosh3``.
        noise_removal: close with one evaluation that estimates clean data.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    ode_method: str = "dopri5"
    noise_removal: bool = True
