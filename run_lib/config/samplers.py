"""config.sampling -> the sampler."""

from __future__ import annotations

import torch

from models.prediction.denoised import Clip, Denoised, DynamicThreshold, register_denoised_fn
from models.prediction.noise_model import Model
from run_lib.config.fields import Section
from run_lib.config.objectives import need
from run_lib.data.levels import DataSpec
from run_lib.tuning import optimised_grid  # noqa: F401 - registers a grid
from samplers.base import register_corrector, register_predictor
from samplers.ode import ODESampler
from samplers.pc import PCSampler
from sde_lib.base import SDE, Process
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.grids import Grid, LogSNR, register_grid
from sde_lib.registry import unknown_name
from sde_lib.respacing import kept_levels


def denoised(section: Section, model: Model, data: DataSpec) -> Model:
    """The model with its predicted data transformed: by the hook first, then to the data's range."""
    values, limits = section.values, data.limits
    section.taken |= {"dynamic_threshold"}
    if values.denoised_fn:
        model = Denoised(model, register_denoised_fn[values.denoised_fn])
    if values.dynamic_threshold is not None:
        if values.clip_denoised:
            raise ValueError(
                "sampling.dynamic_threshold and clip_denoised both bring data into their range: set one."
            )
        model = Denoised(model, DynamicThreshold(values.dynamic_threshold, low=limits[0], high=limits[1]))
    return Denoised(model, Clip(*limits)) if values.clip_denoised else model


def _times(section: Section, process: Process, grid: Grid, num_steps: int) -> torch.Tensor:
    """The sampler's times: ``respacing``'s levels where it is set, else ``num_steps`` times of the grid."""
    values = section.values
    section.taken |= {"respacing"}
    if values.respacing is None:
        return grid.times(process, num_steps)
    need(process, DiscreteDiffusion, f"sampling.respacing={values.respacing!r}")
    if values.grid != "uniform":
        raise ValueError(
            f"sampling.respacing={values.respacing!r} takes the place of num_steps and grid; leave grid "
            f"'uniform', or unset respacing."
        )
    chain: DiscreteDiffusion = process  # type: ignore[assignment]
    return torch.tensor(kept_levels(chain.num_levels, values.respacing)[::-1])


def grid_times(section: Section, process: Process, num_steps: int | None) -> torch.Tensor:
    """The times that the section's grid gives for ``num_steps``; None: for those of the section.

    Raises:
        ValueError: another number of steps and ``respacing``, which says how many.
    """
    name = section.values.grid
    grid = section.construct(register_grid[name])
    need(process, grid.needs, f"grid {name!r}")
    if num_steps is not None and section.values.respacing is not None:
        raise ValueError(
            f"num_steps={num_steps} and sampling.respacing={section.values.respacing!r} both say how many steps "
            f"to take: unset one."
        )
    return _times(section, process, grid, section.values.num_steps if num_steps is None else num_steps)


def build_sampler(section: Section, model: Model) -> PCSampler | ODESampler:
    values, process = section.values, model.process
    if values.method == "ode":
        need(process, SDE, "sampling.method='ode'")
        section.taken |= {"t_end", "seed", "num_steps"}
        section.refuse_untaken("the ode sampler")
        if values.trajectory:
            raise ValueError("sampling.trajectory shows the steps of a predictor: set sampling.method='pc'.")
        return ODESampler(model, values.rtol, values.atol, values.ode_method, values.noise_removal)
    if values.method != "pc":
        raise ValueError(unknown_name("sampling method", values.method, ["ode", "pc"]))
    predictor = section.construct(register_predictor[values.predictor])
    corrector = section.construct(register_corrector[values.corrector])
    grid = section.construct(register_grid[values.grid])
    section.taken |= {"t_end", "seed", "num_steps"}
    for what, name, component in (
        ("predictor", values.predictor, predictor),
        ("corrector", values.corrector, corrector),
        ("grid", values.grid, grid),
    ):
        need(process, component.needs, f"{what} {name!r}")
    # An optimised grid's times are loaded with the weights; until then they are where its search begins.
    times = _times(section, process, LogSNR() if values.grid == "optimised" else grid, values.num_steps)
    if predictor.encodes:
        raise ValueError(
            f"predictor {values.predictor!r} encodes data into noise; to sample take another, such as ddim."
        )
    if values.predictor == values.corrector == "none":
        raise ValueError("sampling needs a predictor or a corrector: both are 'none'.")
    section.refuse_untaken(
        f"predictor {values.predictor!r}, corrector {values.corrector!r} and grid {values.grid!r}"
    )
    return PCSampler(
        model=model,
        predictor=predictor,
        corrector=corrector,
        times=times,
        n_steps_each=values.n_steps_each,
        corrector_first=values.corrector_first,
        noise_removal=values.noise_removal,
    )
