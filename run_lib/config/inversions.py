"""config.sampling -> the map from images to latents and back."""

from __future__ import annotations

from models.prediction.noise_model import Model
from run_lib.config.fields import Section
from run_lib.config.objectives import need
from run_lib.config.samplers import grid_times
from samplers.editing import DDIMInversion, Inversion
from samplers.ode import ODESampler
from sde_lib.base import SDE, GaussianProcess
from sde_lib.registry import unknown_name


def build_inversion(
    section: Section, model: Model, field: str, *, method: str, num_steps: int | None, noise_removal: bool
) -> Inversion:
    """``ddim`` on the grid of the sampler, or ``ode``, the probability flow to its tolerances.

    Args:
        section: sampling.
        model: what the sampler samples from.
        field: of the configuration that holds ``method`` and ``num_steps``, for messages.
        num_steps: times of the grid; None: sampling.num_steps.
        noise_removal: close the way back with an estimate of clean data.

    Raises:
        ValueError: the process, or the settings, do not allow it.
    """
    what, values = f"{field}.method={method!r}", section.values
    if method == "ddim":
        need(model.process, GaussianProcess, what)
        return DDIMInversion(model, grid_times(section, model.process, num_steps), noise_removal)
    if method != "ode":
        raise ValueError(unknown_name(f"{field}.method", method, ["ddim", "ode"]))
    need(model.process, SDE, what)
    if num_steps is not None:
        raise ValueError(
            f"{field}.num_steps is set, but {what} takes as many steps as sampling.rtol and atol need; leave it "
            f"unset."
        )
    return ODESampler(model, values.rtol, values.atol, values.ode_method, noise_removal)
