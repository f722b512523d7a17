"""A network of another run, by which a model is guided: its weights, and the configuration of their training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ml_collections import ConfigDict

from models.checkpoints.loader import load_content, read
from models.prediction.noise_model import NoiseModel
from run_lib.config.configuration import Configuration, complete, of_record
from run_lib.config.explaining import in_fields
from run_lib.config.fields import check_values
from run_lib.config.files import load_config_file
from run_lib.config.subject import Subject, build_subject
from run_lib.data.levels import DataSpec
from run_lib.files import of_json
from run_lib.training.checkpoints import Checkpoints, read_checkpoint
from run_lib.training.warm_start import check_recorded
from sde_lib.base import GaussianProcess, Process


@dataclass(frozen=True)
class OtherRun:
    """Where the network of another run is.

    Attributes:
        weights: a checkpoint, or published weights.
        what: it is called in messages: ``the classifier runs/x``.
        field: of the guidance section that names it; ``FIELD_config`` names the configuration of published weights.
        file: that configuration; None: it is in the checkpoint.
    """

    weights: Path
    what: str
    field: str
    file: str | None

    @classmethod
    def find(cls, named: str, file: str | None, *, kind: str, field: str, made: str) -> OtherRun:
        """From the work directory of a run, or a file of weights.

        Args:
            named: the directory or the file.
            file: see the class.
            kind: of network, for messages.
            field: see the class.
            made: the configuration of the command that makes one.

        Raises:
            ValueError: it is neither.
        """
        path = Path(named)
        weights = path if path.is_file() else Checkpoints(path / "checkpoints").latest()
        if weights is None:
            raise ValueError(
                f"guidance.{field}={str(path)!r} is no checkpoint and no work directory that has one. Make one "
                f"with\n  python main.py --config {made} --mode train --workdir {path}"
            )
        return cls(weights, f"the {kind} {named}", field, file)

    def configuration(self, ours: ConfigDict) -> ConfigDict:
        """The configuration that it was trained with, evaluated at the model's times on the model's device.

        Its checkpoint has it, unless it is another's. A file never names code: plugins belong on the command line.
        """
        if self.file is None:
            try:
                theirs = of_record(of_json(read_checkpoint(self.weights)["config"]))
            except ValueError as error:
                raise ValueError(
                    f"{error} Of published weights, guidance.{self.field}_config is needed too."
                ) from error
        else:
            theirs = load_config_file(self.file, f"guidance.{self.field}_config")
        try:
            theirs = complete(theirs)
        except ValueError as error:
            raise ValueError(self._of_a_plugin(error, theirs)) from error
        theirs.init_from, theirs.resume_from, theirs.device = "", "", ours.device
        theirs.resume_anyway = ours.resume_anyway
        theirs.sampling.chain, theirs.sampling.t_end = ours.sampling.chain, None
        return theirs

    def build(self, theirs: ConfigDict) -> Subject:
        """Its network, which has no weights yet, and its process."""
        try:
            check_values(theirs)
            return build_subject(Configuration(theirs, frozenset()))
        except ValueError as error:
            raise ValueError(self._of_a_plugin(error, theirs)) from error

    def check(self, found: Subject, theirs: ConfigDict, model: NoiseModel, data: DataSpec) -> None:
        """Refuse a network of another process or of other data than the model's."""
        if not _same(model.process, found.sampling.process):
            raise ValueError(
                f"{self.what} was trained with another process (training.sde={theirs.training.sde!r}, continuous="
                f"{theirs.training.continuous}, num_scales={theirs.model.num_scales}, beta_schedule="
                f"{theirs.model.beta_schedule or 'linear'!r}) than the model has: train one with the model's."
            )
        its = found.data
        if (its.shape, its.levels, its.centered) != (data.shape, data.levels, data.centered):
            raise ValueError(
                f"{self.what} was trained on other data, of shape {its.shape}, {its.levels} levels, centered="
                f"{its.centered}; the model's are of shape {data.shape}, {data.levels} levels, centered="
                f"{data.centered}."
            )

    def load(self, found: Subject) -> Any:
        """Load its averaged weights into the network; returns what the file holds."""
        content = read(self.weights)
        if self.file is not None:
            check_recorded(content, str(self.weights), found.agreement.check_use)
        fitting = f"Give the configuration that it was trained with as --config.guidance.{self.field}_config."
        with in_fields(architecture=fitting):
            load_content(found.network, content, self.weights)
        return content

    def _of_a_plugin(self, error: ValueError, theirs: ConfigDict) -> str:
        if not theirs.get("plugins"):
            return str(error)
        return (
            f"{self.what} was made with plugins, and a file names none: where you trust it, give them on the command "
            f"line, --config.plugins={theirs.plugins}. Without them: {error}"
        )


def _same(ours: Process, theirs: Process) -> bool:
    """Whether two processes have the same times and, where they have any, the same noise levels."""
    if type(ours) is not type(theirs) or (ours.start, ours.clean) != (theirs.start, theirs.clean):
        return False
    if not isinstance(ours, GaussianProcess) or not isinstance(theirs, GaussianProcess):
        return True
    times = ours.time(torch.linspace(0.01, 1, 64, dtype=torch.float64) * ours.start)
    a, b = ours.marginal(times), theirs.marginal(times)
    return torch.allclose(a.alpha, b.alpha, rtol=1e-6) and torch.allclose(a.sigma, b.sigma, rtol=1e-6)
