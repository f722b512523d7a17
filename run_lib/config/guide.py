"""guidance.guide -> the worse model of another run."""

from __future__ import annotations

from dataclasses import dataclass

from models.prediction.noise_model import NoiseModel
from run_lib.config.chosen import generates
from run_lib.config.configuration import Configuration
from run_lib.config.other_run import OtherRun
from run_lib.data.levels import DataSpec


@dataclass(frozen=True)
class HeldGuide:
    """A worse model, and how many classes it is told."""

    model: NoiseModel
    num_classes: int


def build_guide(configuration: Configuration, model: NoiseModel, data: DataSpec) -> HeldGuide:
    """The model that ``guidance.guide`` names, with its averaged weights.

    Raises:
        ValueError: none is named, or one of another process, of other data or of other classes.
    """
    ours, section = configuration.values, configuration.values.guidance
    if section.guide is None:
        raise ValueError(
            "guidance.name='autoguidance' needs a worse model of the same data: set guidance.guide to the work "
            "directory of a run of a smaller network, or to an early checkpoint of this one."
        )
    run = OtherRun.find(
        section.guide, section.guide_config, kind="guide", field="guide", made="SMALLER_CONFIG"
    )
    theirs = run.configuration(ours)
    if not generates(theirs):
        raise ValueError(
            f"{run.what} is a run with training.task={theirs.training.task!r}, and no model of data: it guides by "
            f"guidance.name='classifier'."
        )
    found = run.build(theirs)
    run.check(found, theirs, model, data)
    if found.num_classes not in (0, ours.model.num_classes):
        raise ValueError(
            f"{run.what} is told {found.num_classes} classes, the model {ours.model.num_classes}: they must be the "
            f"same classes, or the guide has none."
        )
    run.load(found)
    return HeldGuide(found.sampling.requires_grad_(False).eval(), found.num_classes)
