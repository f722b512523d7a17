"""Training tasks: which conditioning (class labels, low-resolution images) goes with data and with samples."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from run_lib.data.base_images import BaseImages
from run_lib.data.labels import check_labels
from run_lib.data.levels import DataSpec
from run_lib.data.split import Arrays, Split
from run_lib.training.labels import LabelDropout, RequestedClasses
from sde_lib.noise import Noise
from sde_lib.registry import Registry
from sde_lib.settings import Range

Pixels = Annotated[int, Range(least=1, most=2**15)]

Conditions = dict[str, Tensor]
"""The network's conditioning by the names of its arguments."""


class TrainingTask(abc.ABC):
    """What a network is trained for: the conditioning that it gets in training and in sampling.

    Attributes:
        generates: whether the network models the data, and so has samples and likelihoods.
    """

    generates: ClassVar[bool] = True

    @abc.abstractmethod
    def network_conditions(self, x0: Tensor, labels: Tensor) -> Conditions:
        """The network's conditioning for data in training.

        Args:
            x0: data in the network's range, (B, ...).
            labels: their class labels, (B,).
        """

    def conditions(self, x0: Tensor, labels: Tensor) -> Conditions:
        """The model's conditioning for data. Guidance may need labels that the network itself does not take."""
        return self.network_conditions(x0, labels)

    @property
    def restores_test_images(self) -> bool:
        """Whether sample k restores test image k, so that the two can be compared."""
        return False

    def training_labels(self, labels: Tensor, noise: Noise) -> Tensor:
        """The labels (B,) that a training step sees, given those of the data."""
        return labels

    @abc.abstractmethod
    def sampling_conditions(self, indices: Sequence[int], device: torch.device) -> Conditions:
        """The conditioning of the samples with the given global indices."""

    def held_data(self) -> Sequence[Tensor]:
        """Data of the task's own that samples depend on, beside the data set."""
        return ()

    @abc.abstractmethod
    def sampling_labels(self, count: int) -> Tensor | None:
        """The class labels of the first ``count`` samples; None without classes."""

    @abc.abstractmethod
    def check(self, data: Split | Arrays, where: str) -> None:
        """Refuse data whose labels the network cannot take.

        Raises:
            ValueError: labels are missing or out of range.
        """


@dataclass(frozen=True)
class Diffusion(TrainingTask):
    """A model of the data, given their class where there are classes.

    Args:
        num_classes: number of classes that the network takes; 0 for none.
        requested: the classes requested of samples: the network's, or those of the classifier that guides it.
        dropout: replaces labels in training by the null label.
    """

    num_classes: int
    requested: RequestedClasses
    dropout: LabelDropout

    def network_conditions(self, x0: Tensor, labels: Tensor) -> Conditions:
        return {"y": labels.to(x0.device)} if self.num_classes else {}

    def conditions(self, x0: Tensor, labels: Tensor) -> Conditions:
        return {"y": labels.to(x0.device)} if self.requested else {}

    def training_labels(self, labels: Tensor, noise: Noise) -> Tensor:
        return self.dropout(labels, noise)

    def sampling_conditions(self, indices: Sequence[int], device: torch.device) -> Conditions:
        return {"y": self.requested.of(indices).to(device)} if self.requested else {}

    def sampling_labels(self, count: int) -> Tensor | None:
        return self.requested.of(range(count)) if self.requested else None

    def check(self, data: Split | Arrays, where: str) -> None:
        check_labels(data.labels, self.num_classes or self.requested.num_classes, where)


@dataclass(frozen=True)
class SuperResolution(TrainingTask):
    """A model of the data given a low-resolution image of the same and, where there are classes, their class.

    Super-resolution as in Nichol & Dhariwal 2021, section 4 and appendix A.

    Args:
        num_classes: number of classes that the network takes; 0 for none.
        size: (height, width) of the low-resolution images; in training they are means over areas.
        base: low-resolution images to sample from.
        dropout: replaces labels in training by the null label.
    """

    num_classes: int
    size: tuple[int, ...]
    base: BaseImages
    dropout: LabelDropout

    @property
    def restores_test_images(self) -> bool:
        return not self.base.path

    def training_labels(self, labels: Tensor, noise: Noise) -> Tensor:
        return self.dropout(labels, noise)

    def network_conditions(self, x0: Tensor, labels: Tensor) -> Conditions:
        return {**self._classes(labels.to(x0.device)), "low_res": F.interpolate(x0, self.size, mode="area")}

    def sampling_conditions(self, indices: Sequence[int], device: torch.device) -> Conditions:
        found = self.base.of(indices)
        return {**self._classes(found.labels.to(device)), "low_res": found.images.to(device)}

    def held_data(self) -> Sequence[Tensor]:
        held = self.base.all()
        return (held.images, held.labels)

    def sampling_labels(self, count: int) -> Tensor | None:
        return self.base.of(range(count)).labels if self.num_classes else None

    def check(self, data: Split | Arrays, where: str) -> None:
        check_labels(data.labels, self.num_classes, where)

    def _classes(self, labels: Tensor) -> Conditions:
        return {"y": labels} if self.num_classes else {}


@dataclass(frozen=True)
class Classification(TrainingTask):
    """A classifier of noisy data, which has no samples."""

    generates: ClassVar[bool] = False
    num_classes: int

    def network_conditions(self, x0: Tensor, labels: Tensor) -> Conditions:
        return {"y": labels.to(x0.device)}

    def sampling_conditions(self, indices: Sequence[int], device: torch.device) -> Conditions:
        raise ValueError(
            "a classifier has no samples: use --mode train or eval, or a training.task that generates."
        )

    def sampling_labels(self, count: int) -> Tensor | None:
        return None

    def check(self, data: Split | Arrays, where: str) -> None:
        check_labels(data.labels, self.num_classes, where)


def check_size(data: DataSpec, size: Sequence[int] | int | None) -> tuple[int, ...]:
    """The size (height, width) of the low-resolution images.

    Raises:
        ValueError: it is not set, the data are no images, or it is larger than theirs.
    """
    if size is None:
        raise ValueError(
            "training.task='superres' needs the size of the small images: set data.low_res_size."
        )
    sizes = (size,) * (len(data.shape) - 1) if isinstance(size, int) else tuple(size)
    if (
        len(data.shape) != 3
        or len(sizes) != 2
        or not all(0 < a <= b for a, b in zip(sizes, data.shape[1:], strict=True))
    ):
        raise ValueError(
            f"data.low_res_size={size} must be a height and width of at most the images' "
            f"{data.shape[1:]}, or one number for both."
        )
    return sizes


register_task: Registry[Callable[..., TrainingTask]] = Registry("training.task")
"""Functions that return a ``TrainingTask``, or such classes. The program gives the parameters of these names:
``num_classes``, the number of classes that the network takes; ``requested``, the classes requested of samples
(``RequestedClasses``); ``data``, the data set (``DataSpec``). Every other parameter is a setting."""


@register_task(name="diffusion")
def diffusion(
    num_classes: int,
    requested: RequestedClasses,
    label_dropout: Annotated[float, Range(least=0, below=1)] = 0.0,
) -> Diffusion:
    """A model of the data, given their class where the network has classes.

    Args:
        label_dropout: share of labels withheld in training, for classifier-free guidance; in [0, 1).
    """
    return Diffusion(num_classes, requested, LabelDropout(label_dropout, null_label=num_classes))


@register_task(name="superres")
def super_resolution(
    num_classes: int,
    data: DataSpec,
    low_res_size: Pixels | tuple[Pixels, ...] | None = None,
    base_samples: str = "",
    convert: bool = False,
    label_dropout: Annotated[float, Range(least=0, below=1)] = 0.0,
) -> SuperResolution:
    """A model of the data given a smaller image of the same (Nichol & Dhariwal 2021, section 4).

    Args:
        low_res_size: of the small images: a height and a width, or one number for both.
        base_samples: small images to sample from, an .npz or a folder; test images made small unless set.
        convert: read their files also where they are not exactly of the data's form (docs/images.md).
        label_dropout: share of labels withheld in training, in [0, 1).
    """
    size = check_size(data, low_res_size)
    dropout = LabelDropout(label_dropout, null_label=num_classes)
    base = BaseImages(base_samples, data, size, num_classes, convert)
    return SuperResolution(num_classes, size, base, dropout)


@register_task(name="classifier")
def classifier(num_classes: int) -> Classification:
    """The class of noisy data, for classifier guidance."""
    if num_classes < 2:
        raise ValueError(
            f"a classifier tells at least 2 classes apart: set model.num_classes, now {num_classes}."
        )
    return Classification(num_classes)
