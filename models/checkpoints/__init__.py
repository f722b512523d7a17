"""Published weights: a file per family, and the one loader. Importing this package registers ours."""

from models.checkpoints import guided_diffusion, ncsn, score_sde
from models.checkpoints.base import Family, register_family
from models.checkpoints.loader import LoadedWeights, load_weights

__all__ = [
    "Family",
    "LoadedWeights",
    "guided_diffusion",
    "load_weights",
    "ncsn",
    "register_family",
    "score_sde",
]
