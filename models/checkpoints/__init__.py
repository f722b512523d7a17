"""Published weights: a file per family, and the one loader."""

from models.checkpoints import score_sde
from models.checkpoints.base import Family, register_family
from models.checkpoints.loader import LoadedWeights, load_weights

__all__ = ["Family", "LoadedWeights", "load_weights", "register_family", "score_sde"]
