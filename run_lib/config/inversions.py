"""config.reconstruct, config.control -> the map from images to latents and back."""

from __future__ import annotations

from models.prediction.noise_model import Model
from run_lib.config.capabilities import need
from run_lib.config.components import Chosen, choose_named
from run_lib.config.configuration import Configuration
from run_lib.config.methods import ProbabilityFlow
from run_lib.config.roles import ROLES
from run_lib.config.sampler import grid_times
from samplers.editing import DDIMInversion, Inversion
from samplers.ode import ODESampler
from sde_lib.base import SDE, GaussianProcess


def build_inversion(
    configuration: Configuration, model: Model, chosen: Chosen, *, noise_removal: bool
) -> Inversion:
    """``ddim`` on the grid of the sampler, or ``ode``, the probability flow to its tolerances.

    Args:
        configuration: complete; its section ``sampling`` has the grid and the tolerances.
        model: what the sampler samples from.
        chosen: ``ddim`` or ``ode``.
        noise_removal: close the way back with an estimate of clean data.

    Raises:
        ValueError: the process, or the settings, do not allow it.
    """
    what = f"config.{chosen.role.field}={chosen.name!r}"
    if chosen.name == "ddim":
        need(model.process, GaussianProcess, what)
        times = grid_times(configuration, model.process, chosen.settings.get("num_steps"))
        return DDIMInversion(model, times, noise_removal)
    need(model.process, SDE, what)
    flow: ProbabilityFlow = choose_named(ROLES["method"], configuration.values, "ode").build()
    return ODESampler(model, flow.rtol, flow.atol, flow.ode_method, noise_removal)
