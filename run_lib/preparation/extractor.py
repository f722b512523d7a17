"""``--mode extractor``: a classifier of the data, for the features of its last hidden layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from run_lib.config.extractor import ExtractorPlan
from run_lib.data.split import Split
from run_lib.extractors.classifier import FILE, Training, write
from run_lib.extractors.convolutional import Classifier
from run_lib.fingerprint import of_split
from run_lib.output.progress import Progress
from run_lib.run import Run
from run_lib.seeds import Use, stream_seed
from run_lib.statistics import proportion
from sde_lib.finite import NotFiniteError

STATED = 2000
"""Images, spread evenly, from which mean and standard deviation are taken."""
TESTED = 500
"""Images that are classified at a time."""
WARM_UP = 0.2
"""Share of the steps in which the learning rate rises."""
SAID = 10
"""Times that the loss is printed."""


@dataclass(frozen=True)
class Labelled:
    """The images of a split whose class is known.

    Attributes:
        split: all of them.
        indices: of those with a class, (N,).
    """

    split: Split
    indices: np.ndarray

    @classmethod
    def of(cls, split: Split) -> Labelled:
        return cls(split, np.flatnonzero(split.labels.numpy() >= 0))

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, some: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and classes (B,) by their places among those with a class."""
        found = self.split.read(self.indices[some])
        return found.images.to(device), found.labels.to(device)


def train_extractor(plan: ExtractorPlan, run: Run) -> None:
    """Train it on the training split, print its accuracy on the test split, and write it with both.

    Raises:
        ValueError: the data have no classes, or only one.
        NotFiniteError: the training diverged.
    """
    train = Labelled.of(plan.data.load("train"))
    labels = train.split.labels[train.indices]
    found = len(labels.unique())
    if found < 2:
        what = "no labels" if not found else "one class"
        raise ValueError(
            f"{plan.data.name} has {what}, and --mode extractor trains a classifier: take data with classes (those of "
            f"single items are read where model.num_classes says how many there are), or the extractors pixels and pca."
        )
    classes = max(len(train.split.classes), int(labels.max()) + 1)
    with plan.placement.evaluation.used():
        network = fit(plan, train, classes)
    held_out = plan.data.load_if_any("test", "the accuracy on held-out images")
    test = None if held_out is None else Labelled.of(held_out)
    accuracy = None
    if test is not None and len(test):
        right = proportion(hits(network, test, plan.placement.device))
        accuracy = right.value
        print(f"accuracy     {right.value:.4f} +- {right.stderr:.2g} on {len(test)} test images")
    training = Training(
        data=plan.data.name,
        hash=of_split(plan.data, "train"),
        shape=plan.data.shape,
        levels=plan.data.levels,
        features=plan.settings.features,
        classes=classes,
        images=len(train),
        n_iters=plan.settings.n_iters,
        seed=plan.seed,
        accuracy=accuracy,
        test_images=0 if test is None else len(test),
    )
    path = plan.path or run.workdir / FILE
    write(path, network, training)
    print(f"extractor    {path}")


def fit(plan: ExtractorPlan, train: Labelled, classes: int) -> Classifier:
    """A classifier of the given images: AdamW, a rate that rises and falls, images shifted by a pixel or two."""
    settings, device = plan.settings, plan.placement.device
    torch.manual_seed(stream_seed(plan.seed, Use.EXTRACTOR))
    network = Classifier(plan.data.shape, settings.features, classes)
    some, _ = train.read(np.unique(np.linspace(0, len(train) - 1, STATED).astype(int)), torch.device("cpu"))
    network.mean.copy_(some.double().mean((0, 2, 3))[:, None, None])
    network.std.copy_(some.double().std((0, 2, 3)).clamp(min=1e-6)[:, None, None])
    network.to(device).train()
    rng = np.random.default_rng(stream_seed(plan.seed, Use.EXTRACTOR))
    optimiser = torch.optim.AdamW(network.parameters(), settings.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step / settings.n_iters))
    rows, said = (
        order(rng, len(train), min(settings.batch_size, len(train))),
        max(1, settings.n_iters // SAID),
    )
    losses: list[Tensor] = []
    with Progress("training the classifier", settings.n_iters, "step") as bar:
        for step in range(1, settings.n_iters + 1):
            images, labels = train.read(next(rows), device)
            loss = nn.functional.cross_entropy(network(shifted(images, rng)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.detach())
            if step % said == 0 or step == settings.n_iters:
                mean = float(torch.stack(losses).mean())
                if not math.isfinite(mean):
                    raise NotFiniteError(
                        f"the classifier's loss is not finite after {step} steps: lower config.extractor.lr."
                    )
                bar.say(loss=f"{mean:.4f}")
                losses = []
            bar.add()
    return network.eval()


def rate(done: float) -> float:
    """The learning rate over its highest, when a share of the steps is done: a line up, half a cosine down."""
    return min((done + 1e-3) / WARM_UP, (1 + math.cos(math.pi * done)) / 2)


def order(rng: np.random.Generator, count: int, batch: int) -> Iterator[np.ndarray]:
    """The rows of each step: all of them in a random order, but for the rest that makes no batch, again and again."""
    while True:
        whole = rng.permutation(count)
        for first in range(0, count - batch + 1, batch):
            yield whole[first : first + batch]


def shifted(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Each image (B, C, H, W) shifted by up to a fourteenth of its side either way, its border repeated."""
    height, width = images.shape[2:]
    most = max(1, min(height, width) // 14)
    count = len(images)
    down, right = (torch.from_numpy(rng.integers(-most, most + 1, count)).to(images.device) for _ in range(2))
    rows = (torch.arange(height, device=images.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right[:, None]).clamp(0, width - 1)
    each = torch.arange(count, device=images.device)[:, None, None]
    return images[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.inference_mode()
def hits(network: Classifier, images: Labelled, device: torch.device) -> np.ndarray:
    """Which of the given images it tells right, (N,) of booleans."""
    found = []
    for first in range(0, len(images), TESTED):
        levels, labels = images.read(np.arange(first, min(first + TESTED, len(images))), device)
        found.append((network(levels).argmax(1) == labels).cpu().numpy())
    return np.concatenate(found)
