"""A run: an experiment, its folders, and the state that a mode works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from models.ema import EMA
from run_lib.config.experiment import Experiment
from run_lib.training.optimisers import make_optimizer, make_scaler
from run_lib.training.state import Checkpoints, TrainState
from run_lib.training.warm_start import load_published, resume
from run_lib.tuning.stored_grids import load_grid


@dataclass(frozen=True)
class Run:
    """What a mode is given.

    Args:
        experiment: built and checked.
        workdir: where everything lands.
        eval_folder: name of the folder of ``eval`` in it.
        config_file: path of the configuration, for messages.
    """

    experiment: Experiment
    workdir: Path
    eval_folder: str
    config_file: str

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.workdir / "checkpoints")

    @property
    def _given(self) -> bool:
        """Whether the configuration names weights to start from."""
        return bool(self.experiment.init_from or self.experiment.resume_from)

    def new_state(self) -> TrainState:
        """Step 0 on the device: fresh weights, or what ``init_from`` or ``resume_from`` says."""
        e = self.experiment
        for module in (e.model, e.training_model):
            module.to(e.device)
        if len(e.data.shape) == 3:
            e.network.to(memory_format=torch.channels_last)
        if e.init_from:
            load_published(e)
        state = TrainState(
            e.network,
            EMA(e.network, e.ema_rate, e.ema_warmup),
            make_optimizer(e.network, e.optim),
            averages={rate: EMA(e.network, rate, e.ema_warmup) for rate in e.ema_rates},
            scaler=make_scaler(e.device, e.training),
            times=e.loss.times,
        )
        if e.resume_from:
            resume(state, e.resume_from)
        return state

    def trained_state(self, step: int | None = None, *, grid: bool = True) -> TrainState:
        """The state of a checkpoint, the latest unless a step is given; exact scores need none.

        With ``sampling.grid=optimised`` the sampler takes the times stored beside it, unless ``grid`` is off.

        Raises:
            ValueError: there is no such checkpoint; the message says how to make it.
        """
        state = self.new_state()
        path = self.checkpoints.latest() if step is None else self.checkpoints.path(step)
        if path is not None and path.is_file():
            state.load(path)
        elif step is not None or (self.experiment.trainable and not self._given):
            what = "checkpoint" if step is None else f"checkpoint of step {step}"
            asked = (
                ""
                if step is None
                else (
                    "\nThat step was asked for by eval.checkpoints or eval.begin_ckpt (counted in "
                    "training.snapshot_freq); --config.eval.begin_ckpt=0 is the latest, or init_from's weights."
                )
            )
            raise ValueError(
                f"there is no {what} in {self.checkpoints.folder}/. Make one with\n"
                f"  python main.py --config {self.config_file} --mode train --workdir {self.workdir}\n"
                f"or start from published weights with --config.init_from=PATH.{asked}"
            )
        if self.experiment.used_ema_rate is not None:
            state.ema = state.averages[self.experiment.used_ema_rate]
        state.network.eval()
        if grid:
            load_grid(self.experiment, self.grids_path(path))
        return state

    def grids_path(self, checkpoint: Path | None) -> Path:
        """Where the optimised time grids of a checkpoint are; None: of weights that are no checkpoint of ours."""
        return (
            self.checkpoints.grids(checkpoint)
            if checkpoint
            else self.checkpoints.folder / "initial.grids.json"
        )
