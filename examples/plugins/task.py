"""A training task: a model that is told a coarse class, a group of the data's classes."""

from dataclasses import dataclass
from typing import Annotated

from run_lib.data.labels import check_labels
from run_lib.training.labels import RequestedClasses
from run_lib.training.tasks import TrainingTask, register_task
from sde_lib import Range


@register_task
@dataclass(frozen=True)
class Coarse(TrainingTask):
    """A model of the data given floor(class / group).

    Args:
        group: number of consecutive classes that the network sees as one.
    """

    num_classes: int
    requested: RequestedClasses
    group: Annotated[int, Range(least=1)] = 2

    def network_conditions(self, x0, labels):
        return {"y": labels.to(x0.device) // self.group}

    def sampling_conditions(self, indices, device):
        return {"y": self.requested.of(indices).to(device)}

    def sampling_labels(self, count):
        return self.requested.of(range(count))

    def check(self, arrays, where):
        check_labels(arrays.labels // self.group, self.num_classes, where)
