"""Published weights: a file per family, and the one loader. Importing this package registers ours."""

from models.checkpoints import diffusers, guided_diffusion, ncsn, ours, score_sde
from models.checkpoints.base import Family, register_family
from models.checkpoints.damage import DamagedCheckpointError
from models.checkpoints.diffusers import describe_folder, export_diffusers
from models.checkpoints.diffusers_model import load_diffusers
from models.checkpoints.loader import LoadedWeights, load_weights
from models.checkpoints.training import TrainingCheckpoint, load_training

__all__ = [
    "DamagedCheckpointError",
    "Family",
    "LoadedWeights",
    "TrainingCheckpoint",
    "describe_folder",
    "diffusers",
    "export_diffusers",
    "guided_diffusion",
    "load_diffusers",
    "load_training",
    "load_weights",
    "ncsn",
    "ours",
    "register_family",
    "score_sde",
]
