"""The entry points of score_sde_pytorch, with its names and arguments."""

from samplers.score_sde.conditional import get_pc_conditional_sampler
from samplers.score_sde.control import get_pc_colorizer, get_pc_inpainter
from samplers.score_sde.unconditional import get_ode_sampler, get_pc_sampler

__all__ = [
    "get_ode_sampler",
    "get_pc_colorizer",
    "get_pc_conditional_sampler",
    "get_pc_inpainter",
    "get_pc_sampler",
]
