"""Predictors by name. Importing this package registers ours."""

from samplers.predictors import ancestral_sampling, ddim, euler_maruyama, none, reverse_diffusion

__all__ = ["ancestral_sampling", "ddim", "euler_maruyama", "none", "reverse_diffusion"]
