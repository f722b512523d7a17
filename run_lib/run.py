"""A run: its work directory, and the weights of its checkpoints."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.checkpoints.damage import DamagedCheckpointError
from models.ema import EMA
from run_lib.data.classes import Numbering
from run_lib.files import write_json
from run_lib.ours import check_links, inside, record_of
from run_lib.processes import Processes
from run_lib.training.checkpoints import Checkpoints
from run_lib.training.profiles import Snapshots
from run_lib.training.state import TrainState, Weights
from run_lib.training.team import Team
from run_lib.training.warm_start import load_published, resume, resume_weights

if TYPE_CHECKING:
    from run_lib.config.converting import ConversionPlan
    from run_lib.config.subject import Subject
    from run_lib.config.training import TrainingPlan


_RECORD = ("seed", "data", "model", "training", "sampling")
"""Sections by which the record of a training is recognised."""


@dataclass(frozen=True)
class Run:
    """The work directory of a run, from which weights are loaded and to which results are written.

    Args:
        workdir: the work directory.
        eval_folder: name of the folder in it to which ``eval`` writes.
        config_file: path of the configuration, for messages.

    Raises:
        ValueError: the folder of an evaluation lies outside the work directory.
    """

    workdir: Path
    eval_folder: str = "eval"
    config_file: str = ""

    def __post_init__(self) -> None:
        inside(self.workdir, self.eval_folder, "eval_folder")

    def folder(self, name: str, option: str = "workdir") -> Path:
        """A folder in the work directory to write to.

        Raises:
            ValueError: it lies outside, by its name or by a link.
        """
        return inside(self.workdir, name, option)

    def check_checkpoints(self) -> None:
        """Refuse folders of checkpoints and snapshots outside the work directory; single checkpoints may be links.

        Raises:
            ValueError: it is a link that leads there.
        """
        for folder in (self.checkpoints.folder, self.profiles.folder):
            check_links(folder, self.workdir, files=False)

    def keep_record(self, record: Mapping[str, Any]) -> None:
        """Write ``config.json``, how the weights of the work directory are trained. Only a training does so.

        Raises:
            ValueError: a file of that name is no such record.
        """
        path = self.workdir / "config.json"
        if os.path.lexists(path) and record_of(path, "train", _RECORD) is None:
            raise ValueError(
                f"{path} is no record of a training of ours, and is not overwritten: take another --workdir."
            )
        write_json(path, dict(record))

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.workdir / "checkpoints")

    @property
    def profiles(self) -> Snapshots:
        """The snapshots of the averages from which others are made."""
        return Snapshots(self.workdir / "profiles")

    @property
    def samples(self) -> Path:
        """The folder of ``--mode sample``."""
        return self.folder("samples")

    @property
    def evaluation(self) -> Path:
        """The folder of ``--mode eval``."""
        return self.folder(self.eval_folder, "eval_folder")

    def weights(self, subject: Subject, step: int | None = None) -> Weights:
        """The weights of a checkpoint, the latest unless a step is given. An exact score needs no checkpoint.

        Raises:
            ValueError: there is no such checkpoint; the message says how to make it.
        """
        with Processes.from_environment().notes_once():
            return self._weights(subject, step)

    def _weights(self, subject: Subject, step: int | None) -> Weights:
        path = self._checkpoint(subject, step)
        network, averages = subject.network, subject.averages
        average = EMA(network, averages.ema_rate, averages.ema_warmup)
        further = {rate: EMA(network, rate, averages.ema_warmup) for rate in averages.ema_rates}
        found = Weights(network, average, 0, further)
        if path is not None:
            if subject.start.given:
                given = subject.start.init_from or subject.start.resume_from
                print(
                    f"note: the weights are those of {path}, which the work directory holds; for those of {given} take "
                    f"another --workdir",
                    file=sys.stderr,
                )
            found.load(path, subject.agreement.check_use)
        elif subject.start.init_from:
            names = load_published(subject)
            found = Weights.fresh(network, averages.ema_rate, averages.ema_rates, averages.ema_warmup)
            found.classes = names
        elif subject.start.resume_from:
            resume_weights(found, subject)
        network.eval()
        if subject.num_classes:
            source = path or subject.start.init_from or subject.start.resume_from
            found.numbering = Numbering(found.classes, str(source))
        return found if averages.used_ema_rate is None else found.use(averages.used_ema_rate)

    def new_state(self, plan: TrainingPlan | ConversionPlan, team: Team | None = None) -> TrainState:
        """The state before training: fresh weights, or those of ``init_from`` or ``resume_from``.

        Args:
            plan: of the training.
            team: the processes that train; None: this one.
        """
        subject, optimisation = plan.subject, plan.optimisation
        averages = subject.averages
        names = load_published(subject) if subject.start.init_from else ()
        weights = Weights.fresh(
            subject.network, averages.ema_rate, averages.ema_rates, averages.ema_warmup, averages.ema_stds
        )
        weights.classes = names
        state = TrainState(
            weights,
            optimisation.make_optimizer(subject.network, plan.learned),
            scaler=optimisation.scaling.make_scaler(subject.placement.device),
            times=plan.times,
            team=team or Team(),
            learned=plan.learned,
        )
        if subject.start.resume_from:
            resume(state, subject)
        return state

    def resume(self, state: TrainState, subject: Subject) -> None:
        """Load the latest checkpoint that is whole, if there is one; damaged ones after it are set aside.

        Raises:
            DamagedCheckpointError: there are checkpoints, and all are damaged.
        """
        damaged: list[DamagedCheckpointError] = []
        for step in reversed(self.checkpoints.steps()):
            path = self.checkpoints.path(step)
            try:
                processes = state.load(path, subject.agreement.check_training)
            except DamagedCheckpointError as error:
                damaged.append(error)
                continue
            for found in damaged:
                aside = found.file.rename(found.file.with_suffix(".damaged"))
                print(f"warning: {found.file} {found.reason}; it is set aside as {aside}", file=sys.stderr)
            if processes != state.team.size:
                now = f"{state.team.size} process{'es' if state.team.size > 1 else ''}"
                print(f"continues with {now} (was {processes})", file=sys.stderr)
            print(f"continuing from {path}")
            return
        if damaged:
            raise damaged[0]

    def trained_state(self, plan: TrainingPlan | ConversionPlan) -> TrainState:
        """The training state of the latest checkpoint: weights, averages and optimiser.

        Raises:
            ValueError: there is none; the message says how to make it.
        """
        path = self._checkpoint(plan.subject, None)
        state = self.new_state(plan)
        if path is not None:
            state.load(path, plan.subject.agreement.check_state)
        return state

    def _checkpoint(self, subject: Subject, step: int | None) -> Path | None:
        """The checkpoint to load, or None where none exists and none is needed."""
        path = self.checkpoints.latest() if step is None else self.checkpoints.path(step)
        if path is not None and path.is_file():
            return path
        if step is None and (subject.start.given or not subject.trainable):
            return None
        what = "checkpoint" if step is None else f"checkpoint of step {step}"
        hint = (
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
            f"and the fields that you set here, or start from published weights with --config.init_from=PATH.{hint}"
        )

    def stored_grids(self, step: int | None = None) -> Path:
        """The file of a checkpoint's optimised time grids; of the latest unless a step is given."""
        path = self.checkpoints.latest() if step is None else self.checkpoints.path(step)
        if path is None:  # weights that are no checkpoint of ours
            return self.checkpoints.folder / "initial.grids.json"
        return self.checkpoints.grids(path)
