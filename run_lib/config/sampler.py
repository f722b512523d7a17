"""config.sampling -> the sampler."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from ml_collections import ConfigDict

from models.prediction.denoised import Clip, Denoised, DynamicThreshold
from models.prediction.noise_model import Model
from run_lib.computing.steps import Steps
from run_lib.config.capabilities import need
from run_lib.config.chosen import picks_sampler
from run_lib.config.components import choose_named
from run_lib.config.configuration import Configuration
from run_lib.config.methods import PredictorCorrector, ProbabilityFlow
from run_lib.config.roles import ROLES
from run_lib.data.levels import DataSpec
from samplers.automatic import choose
from samplers.base import Predictor
from samplers.ode import ODESampler
from samplers.pc import PCSampler
from sde_lib.base import SDE, Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.grids import Grid, LogSNR
from sde_lib.respacing import kept_levels


@dataclass(frozen=True)
class Picked:
    """What goes along which times.

    Attributes:
        predictor: goes from one to the next.
        times: (num_steps,), falling.
        why: what the rule took for the number of steps, with its reason; empty: the configuration names it.
    """

    predictor: Predictor
    times: torch.Tensor
    why: str = ""


def denoised(configuration: Configuration, model: Model, data: DataSpec) -> Model:
    """The model with its predicted data transformed: by the hook first, then to the data's range."""
    section, limits = configuration.values.sampling, data.limits
    if (transform := configuration.find("transform")) is not None:
        # A function of the data and of its settings, not one that makes it.
        model = Denoised(model, functools.partial(transform.factory, **transform.settings))
    if section.dynamic_threshold is not None:
        if section.clip_denoised:
            raise ValueError(
                "sampling.dynamic_threshold and clip_denoised both bring data into their range: set one."
            )
        model = Denoised(model, DynamicThreshold(section.dynamic_threshold, low=limits[0], high=limits[1]))
    return Denoised(model, Clip(*limits)) if section.clip_denoised else model


def _times(section: ConfigDict, process: Process, grid: Grid, num_steps: int) -> torch.Tensor:
    """The sampler's times: ``respacing``'s levels where it is set, else ``num_steps`` times of the grid."""
    if section.respacing is None:
        return grid.times(process, num_steps)
    levels = _kept(section, process)
    if section.grid != "uniform":
        raise ValueError(
            f"sampling.respacing={section.respacing!r} takes the place of num_steps and grid; leave grid "
            f"'uniform', or unset respacing."
        )
    return levels


def _kept(section: ConfigDict, process: Process) -> torch.Tensor:
    """The levels of ``sampling.respacing``, falling."""
    need(process, DiscreteDiffusion, f"sampling.respacing={section.respacing!r}")
    chain: DiscreteDiffusion = process  # type: ignore[assignment]
    return torch.tensor(kept_levels(chain.num_levels, section.respacing)[::-1])


def grid_times(configuration: Configuration, process: Process, num_steps: int | None) -> torch.Tensor:
    """The times that ``sampling.grid`` gives for ``num_steps``; None: for those of ``sampling``.

    Raises:
        ValueError: another number of steps and ``respacing``, which says how many.
    """
    section = configuration.values.sampling
    grid = choose_named(ROLES["grid"], configuration.values, section.grid).build()
    need(process, grid.needs, f"grid {section.grid!r}")
    if num_steps is not None and section.respacing is not None:
        raise ValueError(
            f"num_steps={num_steps} and sampling.respacing={section.respacing!r} both say how many steps "
            f"to take: unset one."
        )
    return _times(section, process, grid, section.num_steps if num_steps is None else num_steps)


def pick_sampler(configuration: Configuration, process: Process) -> Picked | None:
    """The predictor of ``sampling.predictor='auto'`` and its times; None: a configuration names its own.

    Raises:
        ValueError: a corrector, which would clear the memory of the predictor at every step.
    """
    section = configuration.values.sampling
    if not picks_sampler(configuration.values):
        return None
    if section.corrector != "none":
        raise ValueError(
            f"sampling.predictor='auto' goes on from earlier evaluations, which corrector {section.corrector!r} would "
            f"clear at every step: with a corrector name a predictor, such as ancestral_sampling or heun."
        )
    if section.respacing is None:
        chosen = choose(process, section.num_steps)
        return Picked(chosen.predictor, chosen.grid.times(process, section.num_steps), str(chosen))
    times = _kept(section, process)
    chosen = choose(process, len(times))
    return Picked(chosen.predictor, times, chosen.without_grid)


def build_sampler(
    configuration: Configuration, model: Model, picked: Picked | None
) -> PCSampler | ODESampler:
    """The sampler of a model.

    Args:
        configuration: complete.
        model: guided, its predictions transformed.
        picked: of ``pick_sampler``.
    """
    method = configuration.choose("method").build()
    return BUILDERS[type(method)](configuration, model, method, picked)


def _flow(
    configuration: Configuration, model: Model, method: ProbabilityFlow, picked: Picked | None
) -> ODESampler:
    need(model.process, SDE, "sampling.method='ode'")
    return ODESampler(model, method.rtol, method.atol, method.ode_method, method.noise_removal)


def _loop(
    configuration: Configuration, model: Model, method: PredictorCorrector, picked: Picked | None
) -> PCSampler:
    corrector = configuration.choose("corrector").build()
    need(model.process, corrector.needs, f"corrector {configuration.values.sampling.corrector!r}")
    along = picked or _named(configuration, model.process)
    return PCSampler(
        model=model,
        predictor=along.predictor,
        corrector=corrector,
        times=along.times,
        n_steps_each=method.n_steps_each,
        corrector_first=method.corrector_first,
        noise_removal=method.noise_removal,
        stepping=Steps(),
    )


def _named(configuration: Configuration, process: Process) -> Picked:
    """The predictor and the grid that a configuration names."""
    section = configuration.values.sampling
    predictor, grid = (configuration.choose(role).build() for role in ("predictor", "grid"))
    for what, component in (("predictor", predictor), ("grid", grid)):
        need(process, component.needs, f"{what} {section[what]!r}")
    # An optimised grid's times are loaded with the weights; until then they are where its search begins.
    times = _times(section, process, LogSNR() if section.grid == "optimised" else grid, section.num_steps)
    if predictor.encodes:
        raise ValueError(
            f"predictor {section.predictor!r} encodes data into noise; to sample take another, such as ddim."
        )
    if section.predictor == section.corrector == "none":
        raise ValueError("sampling needs a predictor or a corrector: both are 'none'.")
    return Picked(predictor, times)


BUILDERS: dict[type, Callable[..., PCSampler | ODESampler]] = {
    PredictorCorrector: _loop,
    ProbabilityFlow: _flow,
}
