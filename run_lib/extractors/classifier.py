"""The last hidden layer of a classifier that ``--mode extractor`` has trained on the labelled data."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from run_lib.extractors.base import Extractor, register_extractor
from run_lib.extractors.blocks import in_blocks
from run_lib.extractors.convolutional import Classifier
from run_lib.extractors.levels import check_samples, in_words
from run_lib.extractors.weights import OPTION, Weights
from run_lib.files import atomic, of_json
from run_lib.metrics.base import Output

FILE = "extractor.safetensors"
"""Its name in a work directory."""
KEY = "score_pc.classifier"
"""Of what it was trained on, the only one in the file's metadata: safetensors writes several in a random order, and the
same training is to make the same file."""
TITLE = "a classifier that --mode extractor has trained"


@dataclass(frozen=True)
class Training:
    """What a classifier is and was trained on.

    Attributes:
        data: name of the data set.
        hash: of its training split.
        shape: of an image.
        levels: of an image; 0: continuous data.
        features: width of the hidden layer.
        classes: number of classes.
        images: labelled ones that it was trained on.
        n_iters: steps of its training.
        seed: of its first weights, the order and the shifts.
        accuracy: share of the test split that it tells right; None: there is no labelled one.
        test_images: labelled ones of that split.
    """

    data: str
    hash: str
    shape: tuple[int, ...]
    levels: int
    features: int
    classes: int
    images: int
    n_iters: int
    seed: int
    accuracy: float | None
    test_images: int

    def network(self) -> Classifier:
        """With fresh weights."""
        return Classifier(self.shape, self.features, self.classes)

    @classmethod
    def of(cls, path: Path) -> Training:
        """As a file states it, which ``Weights.read`` has found to be whole.

        Raises:
            ValueError: the file is no such classifier.
        """
        from safetensors import safe_open

        if path.suffix != ".safetensors":
            raise ValueError(f"{path} is no file of {TITLE}, which is a safetensors file.")
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
        if KEY not in metadata:
            raise ValueError(f"{path} is no file of {TITLE}: make one of these data with --mode extractor.")
        try:
            stated = of_json(metadata[KEY])
            return cls(**{**stated, "shape": tuple(stated["shape"])})
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} states other facts than {TITLE} does; train it again.") from error


def write(path: Path, network: Classifier, training: Training) -> None:
    """Write a classifier with what it was trained on, atomically."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with atomic(path) as partial:
        save_file(tensors, partial, metadata={KEY: json.dumps(asdict(training))})


@register_extractor(name="classifier")
class ClassifierFeatures(Extractor):
    """The last hidden layer, and the scores, of a classifier that ``--mode extractor`` has trained on these data.

    Args:
        shape: of an image.
        levels: of an image; 0: continuous data.
        device: to compute on.
        weights: the classifier's file, or the work directory that has it.

    Raises:
        ValueError: there is no such file, or it is of images of another shape or levels.
    """

    title: ClassVar[str] = "classifier"

    def __init__(
        self, shape: tuple[int, ...], levels: int, device: torch.device, weights: Path | None
    ) -> None:
        path = weights / FILE if weights is not None and weights.is_dir() else weights
        if path is None or not path.is_file():
            where = "" if path is None else f" at {path}"
            raise ValueError(
                f"extractor 'classifier' is {TITLE}, and there is none{where}: train one with --mode extractor, and "
                f"name its file or work directory by {OPTION}."
            )
        found = Weights.read(path, TITLE)
        self._training = training = Training.of(path)
        if (training.shape, training.levels) != (tuple(shape), levels):
            raise ValueError(
                f"{path} was trained on {training.data}, of shape {training.shape}, {in_words(training.levels)}, and "
                f"these data are of shape {tuple(shape)} and {in_words(levels)}: train another with --mode extractor."
            )
        network = training.network()
        found.load_into(network, TITLE)
        self._network = network.requires_grad_(False).eval().to(device)
        self._weights = found
        self._device = device

    @property
    def dimensions(self) -> Mapping[Output, int]:
        return {"features": self._training.features, "logits": self._training.classes}

    @property
    def protocol(self) -> Mapping[str, str]:
        held = self._training
        tested = "test accuracy not known"
        if held.accuracy is not None:
            tested = f"test accuracy {held.accuracy:.4f} ({held.test_images} images)"
        return {
            "network": f"classifier of {held.classes} classes, {tested}",
            "weights": self._weights.words,
            "trained on": f"{held.images} images of {held.data}, {held.hash}",
            "resize": "none",
            "range": in_words(held.levels),
        }

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        check_samples(images, self._training.shape, self._training.levels, "classifier")
        return in_blocks(self._outputs, images, outputs, self._device)

    def _outputs(self, images: Tensor) -> dict[Output, Tensor]:
        hidden = self._network.hidden(images)
        return {"features": hidden, "logits": self._network.scores(hidden)}
