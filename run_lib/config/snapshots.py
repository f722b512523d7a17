"""config.training.preview -> what draws samples while training."""

from __future__ import annotations

from dataclasses import replace

from ml_collections import ConfigDict

from run_lib.config.capabilities import need
from run_lib.config.components import choose
from run_lib.config.configuration import Configuration
from run_lib.config.previews import Fast
from run_lib.config.roles import ROLES
from run_lib.config.sampling import SamplingPlan
from samplers.base import Predictor, register_predictor
from samplers.pc import PCSampler, default_grid
from sde_lib.base import Process
from sde_lib.grids import Quadratic
from sde_lib.registry import unknown_name
from sde_lib.respacing import kept_levels


def plan_preview(configuration: Configuration, samples: SamplingPlan) -> SamplingPlan | None:
    """The samples of a snapshot; None: there are none.

    Args:
        configuration: complete.
        samples: those of ``config.sampling``, of the same weights.

    Raises:
        ValueError: a predictor that is unknown, that encodes, or that the process cannot have.
    """
    chosen = configuration.find("preview")
    if chosen is None:
        return None
    preview = chosen.build()
    settings = samples.settings
    if preview.images is not None:
        settings = replace(settings, grid_size=preview.images)
    samples = replace(samples, settings=settings)
    if draws_by_own(configuration.values):
        return samples
    model = samples.sampler.model
    predictor = _predictor(preview, model.process)
    steps, grid = preview.steps, default_grid(model.process)
    if (levels := model.process.num_levels) is not None:
        # UniPC on exact scores of a Gaussian: at equal steps in the root of the index the deviation is 1 to 3 % off, at
        # equal steps in the index 10 to 24 %. Those are as long next to the data as at the noise.
        steps = min(steps, levels)
        grid = Quadratic() if (steps - 1) ** 2 < levels else grid
    sampler = PCSampler.of(model, predictor, num_steps=steps, grid=grid)
    return replace(samples, sampler=sampler, picked="", stored_grid=False)


def _predictor(preview: Fast, process: Process) -> Predictor:
    if preview.predictor is None:
        return register_predictor[_fitting(process)]()
    if preview.predictor not in register_predictor:
        known = unknown_name("predictor", preview.predictor, list(register_predictor))
        raise ValueError(f"config.training.preview_predictor: {known}")
    found: Predictor = register_predictor[preview.predictor]()
    what = f"config.training.preview_predictor={preview.predictor!r}"
    need(process, found.needs, what)
    if found.encodes or found.evaluations == 0:
        raise ValueError(f"{what} does not sample: take another, such as unipc, or leave it unset.")
    return found


def _fitting(process: Process) -> str:
    """The name of a fast predictor for a process."""
    return "unipc" if isinstance(process, register_predictor["unipc"].needs) else "euler_maruyama"


def draws_by_own(config: ConfigDict) -> bool:
    """Whether previews are drawn by the sampler of ``config.sampling``: where that is asked for, or no dearer."""
    chosen = choose(ROLES["preview"], config)
    if chosen is None:
        return False
    steps = chosen.settings.get("steps", Fast.steps) if chosen.name == "fast" else None
    own = own_evaluations(config)
    return steps is None or (own is not None and own <= steps)


def own_evaluations(config: ConfigDict) -> int | None:
    """Evaluations of the network for a sample of ``config.sampling``; None: as many as it finds necessary."""
    section = config.sampling
    predictor, corrector = choose(ROLES["predictor"], config), choose(ROLES["corrector"], config)
    if predictor is None or corrector is None or (each := predictor.build().evaluations) is None:
        return None
    if corrector.name != "none":
        return None
    steps = section.num_steps
    if section.respacing is not None:
        steps = len(kept_levels(config.model.num_scales, section.respacing))
    last = section.noise_removal is not False
    return int((steps - 1) * each + last)
