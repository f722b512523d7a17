"""Predictors by name. Importing this package registers ours."""

from samplers.predictors import (
    adams,
    adaptive_sde,
    ancestral_sampling,
    bespoke,
    ddim,
    deis,
    dpm_solver,
    euler_maruyama,
    heun,
    interpolant,
    none,
    restart,
    reverse_diffusion,
    sa_solver,
    seeds,
    unipc,
)

__all__ = [
    "adams",
    "adaptive_sde",
    "ancestral_sampling",
    "bespoke",
    "ddim",
    "deis",
    "dpm_solver",
    "euler_maruyama",
    "heun",
    "interpolant",
    "none",
    "restart",
    "reverse_diffusion",
    "sa_solver",
    "seeds",
    "unipc",
]
