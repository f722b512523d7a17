"""An experiment: what a configuration becomes, and what every loop is given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from losses import ClassifierLoss, Loss
from models.base import Network
from models.prediction.classifier import NoisyClassifier
from models.prediction.noise_model import Model, NoiseModel
from run_lib.config.editing import Edits
from run_lib.config.settings import (
    ConvertSettings,
    EvalSettings,
    OptimSettings,
    SampleSettings,
    TrainSettings,
    TuneSettings,
)
from run_lib.data.levels import DataSpec
from run_lib.training.labels import Asked
from run_lib.training.tasks import TrainingTask
from samplers.ode import ODESampler
from samplers.pc import PCSampler


@dataclass(frozen=True)
class Guidance:
    """What ``config.guidance`` makes of a model.

    Attributes:
        model: guided; the model itself for ``none``.
        asked: the classes that samples are asked for.
        likelihood_of: what the flow's likelihood is the likelihood of; empty for p(x).
        bound_of: the same of the variational bound, which sees the model without guidance.
    """

    model: Model
    asked: Asked
    likelihood_of: str = ""
    bound_of: str = ""


@dataclass(frozen=True)
class Experiment:
    """Everything a run needs, built and checked.

    ``model`` is what samplers and likelihoods evaluate, guided where ``guidance`` says so, ``training_model``
    what the loss does: the same network, on the chain for discrete training. ``bound_model`` is the latter as
    the variational bound has it, on levels cut from it for continuous training; ``loss_model`` is what the loss
    evaluates: ``training_model``, or a classifier.
    """

    network: Network
    model: Model
    guidance: Guidance
    training_model: NoiseModel
    loss_model: NoiseModel | NoisyClassifier
    bound_model: Model
    sampler: PCSampler | ODESampler
    task: TrainingTask
    loss: Loss | ClassifierLoss
    data: DataSpec
    num_classes: int
    ema_rate: float
    ema_rates: tuple[float, ...]
    used_ema_rate: float | None
    ema_warmup: bool
    init_from: str
    init_from_ema: bool
    resume_from: str
    training: TrainSettings
    optim: OptimSettings
    sampling: SampleSettings
    evaluation: EvalSettings
    convert: ConvertSettings
    tuning: TuneSettings
    stored_grid: bool
    edits: Edits
    device: torch.device
    seed: int
    config: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def trainable(self) -> bool:
        """Exact scores have nothing to train."""
        return any(p.requires_grad for p in self.network.parameters())

    @property
    def sampling_seed(self) -> int:
        return self.seed if self.sampling.seed is None else self.sampling.seed

    @property
    def config_hash(self) -> str:
        """Twelve hexadecimal digits of the resolved configuration's SHA-256."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:12]
