"""Features of 28x28 grey images: the last hidden layer of a small classifier, trained on Fashion-MNIST's labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from run_lib.data.formed import idx

EPOCHS, BATCH = 4, 128
WIDTH = 64
"""Number of features."""


def images(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28), uint8, and labels (N,) of the four idx files in a folder."""
    held = idx(root, split).as_split()
    assert held.labels is not None
    return held.images, torch.as_tensor(held.labels)


class Classifier(nn.Module):
    """Two convolutions and two linear layers; the features are those between the last two."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 49, WIDTH), nn.ReLU(),
        )  # fmt: skip
        self.scores = nn.Linear(WIDTH, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.scores(self.features(pixels.float() / 255))
        return found

    @torch.no_grad()
    def of(self, pixels: Tensor) -> np.ndarray:
        """Features (N, 64) of images in levels."""
        parts = [self.features(part.float() / 255) for part in pixels.split(1000)]
        found: np.ndarray = torch.cat(parts).double().numpy()
        return found


def classifier(root: Path, file: Path) -> Classifier:
    """The classifier that a file has, trained first where there is none: a minute on two cores."""
    found = Classifier()
    if file.is_file():
        found.load_state_dict(torch.load(file, weights_only=True))
        return found.eval()
    torch.manual_seed(0)
    found = Classifier()
    pixels, labels = images(root, "train")
    steps = EPOCHS * len(pixels) // BATCH
    optimiser = torch.optim.AdamW(found.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    order = torch.cat([torch.randperm(len(pixels)) for _ in range(EPOCHS)])
    for rows in order[: steps * BATCH].split(BATCH):
        loss = nn.functional.cross_entropy(found(pixels[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(found.state_dict(), file)
    return found.eval()


@torch.no_grad()
def accuracy(network: Classifier, root: Path) -> float:
    """On the test split."""
    pixels, labels = images(root, "test")
    found = torch.cat([network(part).argmax(1) for part in pixels.split(1000)])
    return float((found == labels).double().mean())
