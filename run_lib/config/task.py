"""training.task -> what the network is told, in training and of samples."""

from __future__ import annotations

from run_lib.config.configuration import Configuration
from run_lib.config.subject import Subject
from run_lib.training.labels import RequestedClasses
from run_lib.training.tasks import TrainingTask


def build_task(configuration: Configuration, subject: Subject, requested: RequestedClasses) -> TrainingTask:
    """The training task.

    Args:
        configuration: complete.
        subject: the network and its data.
        requested: the classes that samples are asked for.

    Raises:
        ValueError: an unknown task, or one that does not go with the network.
    """
    chosen, network, values = configuration.choose("task"), subject.network, configuration.values
    if network.classifies != (chosen.name == "classifier"):
        raise ValueError(
            f"training.task={chosen.name!r} does not go with the network {values.model.name!r}, which "
            f"{'classifies' if network.classifies else 'does not classify'}: set training.task to "
            f"{'classifier' if network.classifies else 'diffusion or superres'}, or take another model.name."
        )
    if chosen.name == "superres" and not network.sees_low_res:
        raise ValueError(
            f"training.task='superres' needs a network that sees the small image, such as adm_superres; "
            f"{values.model.name!r} does not."
        )
    task: TrainingTask = chosen.build(num_classes=subject.num_classes, requested=requested, data=subject.data)
    return task
