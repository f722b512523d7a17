"""Published data sets by name, from the files that torchvision's readers take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from run_lib.data.folders import read_split
from run_lib.data.idx import read_idx_split
from run_lib.data.images import Fitting, ImageReader
from run_lib.data.labels import no_labels
from run_lib.data.places import Archive, Folder, Place
from run_lib.data.rows import ImageFiles
from run_lib.data.sources import register_dataset
from run_lib.data.split import Arrays, Split


@dataclass(frozen=True)
class Published:
    """A data set of torchvision's.

    Attributes:
        kind: its class there.
        title: its name, for messages.
        files: where they are, below the root.
    """

    kind: str
    title: str
    files: str

    def open(self, root: Path, download: bool, **arguments: Any) -> Any:
        """Torchvision's object.

        Raises:
            ValueError: the files are missing, damaged, or cannot be fetched.
        """
        import torchvision.datasets

        make: Callable[..., Any] = getattr(torchvision.datasets, self.kind)
        try:
            return make(str(root), download=download, **arguments)
        # Its readers raise what numpy, scipy, pickle and urllib raise of missing and of damaged files.
        except Exception as error:
            said = (
                ""
                if isinstance(error, RuntimeError) and not download
                else f" ({type(error).__name__}: {error})"
            )
            raise ValueError(f"{self.missing(root)}{said}") from error

    def missing(self, root: Path) -> str:
        """What to do where the files are not."""
        return (
            f"{self.title} is not under {root}/ (missing or damaged: {root / self.files}). Fetch it by "
            f"--config.data.download, or point --config.data.root to where it is."
        )


@register_dataset(name="cifar10")
def cifar10(root: Path, split: str, download: bool = False) -> Arrays:
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 in colour, of 10 classes.

    Args:
        download: fetch the files into ``data.root``, if they are not there.
    """
    data = Published("CIFAR10", "CIFAR-10", "cifar-10-batches-py").open(
        root, download, train=split == "train"
    )
    return _colour(data.data.transpose(0, 3, 1, 2), data.targets, data.classes)


@register_dataset(name="cifar100")
def cifar100(root: Path, split: str, download: bool = False) -> Arrays:
    """CIFAR-100: 50,000 training and 10,000 test images of 32x32 in colour, of 100 classes.

    Args:
        download: fetch the files into ``data.root``, if they are not there.
    """
    data = Published("CIFAR100", "CIFAR-100", "cifar-100-python").open(root, download, train=split == "train")
    return _colour(data.data.transpose(0, 3, 1, 2), data.targets, data.classes)


@register_dataset(name="svhn")
def svhn(root: Path, split: str, download: bool = False) -> Arrays:
    """Street View House Numbers: 73,257 training and 26,032 test images of 32x32 in colour, of 10 digits.

    Args:
        download: fetch the files into ``data.root``, if they are not there.
    """
    data = Published("SVHN", "SVHN", f"{split}_32x32.mat").open(root, download, split=split)
    return _colour(data.data, data.labels, map(str, range(10)))


@register_dataset(name="stl10")
def stl10(root: Path, split: str, unlabeled: bool = False, download: bool = False) -> Arrays:
    """STL-10: 5,000 training and 8,000 test images of 96x96 in colour, of 10 classes.

    Args:
        unlabeled: train on the 100,000 images without classes, too.
        download: fetch the files into ``data.root``, if they are not there.
    """
    part = "train+unlabeled" if unlabeled and split == "train" else split
    data = Published("STL10", "STL-10", "stl10_binary").open(root, download, split=part)
    return _colour(data.data, np.asarray(data.labels).astype(np.int64), data.classes)


@register_dataset(name="mnist")
def mnist(root: Path, split: str, download: bool = False) -> Arrays:
    """MNIST: 60,000 training and 10,000 test images of 28x28 in grey, of 10 digits.

    Args:
        download: fetch the files into ``data.root``, if they are not there.
    """
    return _of_idx(Published("MNIST", "MNIST", "MNIST/raw"), root, split, download)


@register_dataset(name="fashion_mnist")
def fashion_mnist(root: Path, split: str, download: bool = False) -> Arrays:
    """Fashion-MNIST: 60,000 training and 10,000 test images of 28x28 in grey, of 10 kinds of clothes.

    Args:
        download: fetch the files into ``data.root``, if they are not there.
    """
    return _of_idx(Published("FashionMNIST", "Fashion-MNIST", "FashionMNIST/raw"), root, split, download)


@register_dataset(name="kmnist")
def kmnist(root: Path, split: str, download: bool = False) -> Arrays:
    """Kuzushiji-MNIST: 60,000 training and 10,000 test images of 28x28 in grey, of 10 Japanese characters.

    Args:
        download: fetch the files into ``data.root``, if they are not there.
    """
    return _of_idx(Published("KMNIST", "Kuzushiji-MNIST", "KMNIST/raw"), root, split, download)


@register_dataset(name="flowers102")
def flowers102(
    root: Path,
    split: str,
    shape: tuple[int, ...],
    levels: int,
    convert: bool = False,
    download: bool = False,
) -> Split:
    """Oxford's flowers of 102 classes: 2,040 images to train on (half of them torchvision's ``val``), 6,149 to test.

    Args:
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).
        download: fetch the files into ``data.root``, if they are not there.
    """
    known = Published("Flowers102", "Flowers-102", "flowers-102")
    parts = [
        known.open(root, download, split=part)
        for part in (("train", "val") if split == "train" else ("test",))
    ]
    folder = root / "flowers-102" / "jpg"
    names = tuple(Path(file).name for part in parts for file in part._image_files)
    labels = torch.tensor([int(label) for part in parts for label in part._labels])
    rows = ImageFiles(
        names, Folder(folder), ImageReader(shape, Fitting(resize=True, convert=convert), levels)
    )
    return Split(rows, labels, tuple(getattr(parts[0], "classes", ())))


@register_dataset(name="celeba")
def celeba(root: Path, split: str, shape: tuple[int, ...], levels: int, convert: bool = False) -> Split:
    """CelebA's aligned faces, of which score_sde keeps the central 140 pixels; smaller files are taken whole.

    ``<root>/celeba`` holds ``img_align_celeba`` (or ``.zip``) and ``list_eval_partition.txt``, as published and as
    torchvision has it; or folders ``train`` and ``test``.

    Args:
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).
    """
    folder, reader = (
        root / "celeba",
        ImageReader(shape, Fitting(resize=True, convert=convert, crop=140), levels),
    )
    partition, images = folder / "list_eval_partition.txt", folder / "img_align_celeba"
    if not partition.is_file():
        hint = f" As published, the files are {images}/ (or .zip) and {partition}."
        return read_split(folder, split, shape, levels=levels, convert=convert, crop=140, hint=hint)
    place: Place = Folder(images) if images.is_dir() else Archive(images.with_suffix(".zip"))
    inside = "" if images.is_dir() else "img_align_celeba/"
    lines = [line.split() for line in partition.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(line) != 2 or line[1] not in ("0", "1", "2") for line in lines):
        raise ValueError(
            f"{partition} must hold lines of a file's name and 0 (train), 1 (validation) or 2 (test)."
        )
    wanted = {"train": "0", "test": "2"}
    names = [f"{inside}{name}" for name, part in lines if part == wanted[split]]
    if not names:
        raise ValueError(
            f"{partition} names no files of the {split} split ({wanted[split]} behind the name): fetch it again."
        )
    return Split(ImageFiles(tuple(names), place, reader), no_labels(len(names)))


def _colour(images: np.ndarray, labels: Any, classes: Any) -> Arrays:
    """Images (N, C, H, W) of 8 bits."""
    return Arrays(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.as_tensor(np.asarray(labels), dtype=torch.int64),
        tuple(classes),
    )


def _of_idx(known: Published, root: Path, split: str, download: bool) -> Arrays:
    """The four files, unpacked or not. The names of the classes are torchvision's."""
    import torchvision.datasets

    if download:
        known.open(root, download, train=split == "train")
    folder = root / known.files
    classes = getattr(torchvision.datasets, known.kind).classes
    return read_idx_split(folder, split, tuple(classes), f" {known.missing(root)}")
