"""Data sets by the form of their files: whatever lies at ``data.root``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from run_lib.data.archives import read_archive
from run_lib.data.folders import FOLDERS, everything_below, read_split
from run_lib.data.held_out import part_of
from run_lib.data.idx import read_idx_split
from run_lib.data.images import Fitting, ImageReader
from run_lib.data.packed_split import open_packed
from run_lib.data.sources import register_dataset
from run_lib.data.split import Arrays, Split
from run_lib.data.zips import read_zip
from sde_lib.settings import Range

Fraction: TypeAlias = Annotated[float, Range(least=0, below=1)]


@register_dataset(name="folder")
def folder(
    root: Path,
    split: str,
    shape: tuple[int, ...],
    levels: int,
    test_fraction: Fraction = 0.1,
    convert: bool = False,
) -> Split:
    """Image files in ``data.root``, subfolders being classes; or in folders ``train`` and ``test`` (``val``) there.

    Args:
        test_fraction: share of the files that is the test split, where there is none: by the hashes of their names.
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).
    """
    if not (root / "train").is_dir():
        whole, names = everything_below(root, shape, levels=levels, convert=convert)
        return part_of(whole, split, test_fraction, names)
    if any((root / name).is_dir() for name in FOLDERS["test"]):
        return read_split(root, split, shape, levels=levels, convert=convert)
    whole, names = everything_below(root / "train", shape, levels=levels, convert=convert)
    return part_of(whole, split, test_fraction, names)


@register_dataset(name="zip")
def zip_archive(
    root: Path,
    split: str,
    shape: tuple[int, ...],
    levels: int,
    test_fraction: Fraction = 0.1,
    convert: bool = False,
) -> Split:
    """A zip of image files, ``data.root`` or ``train.zip`` and ``test.zip`` there, as the ``dataset_tool`` of StyleGAN
    and EDM writes it: labels in its ``dataset.json``, or else folders that are classes.

    Args:
        test_fraction: share of the files that is the test split, where there is none: by the hashes of their names.
        convert: read image files that are not exactly of the data's form: the first frame, transparency over white,
            colour as grey, CMYK as RGB, 16 bits as 8 or 8 as 16; otherwise they are refused (docs/images.md).
    """
    path, whole = _file_of(root, split, ".zip")
    found, names = read_zip(path, ImageReader(shape, Fitting(resize=True, convert=convert), levels))
    return found if whole else part_of(found, split, test_fraction, names)


@register_dataset(name="npz")
def npz(
    root: Path, split: str, shape: tuple[int, ...], levels: int, test_fraction: Fraction = 0.1
) -> Split | Arrays:
    """An ``.npz``, ``data.root`` or ``train.npz`` and ``test.npz`` there, as guided-diffusion's: images in ``arr_0``,
    (N, H, W, C) or (N, C, H, W), and labels in ``arr_1``.

    Args:
        test_fraction: share of the samples that is the test split, where there is none: by a fixed permutation.
    """
    path, whole = _file_of(root, split, ".npz")
    found = read_archive(path, f"config.data.root={path}", shape, levels)
    return found if whole else part_of(found.as_split(), split, test_fraction)


@register_dataset(name="npy")
def npy(root: Path, split: str, test_fraction: Fraction = 0.1) -> Split:
    """An ``.npy`` of any rank (N, ...), ``data.root`` or ``train.npy`` and ``test.npy`` there: what ``--mode pack``
    writes. It stays on disk; beside it may be ``train.labels.npy`` and ``train.json``, the names of the classes.

    Args:
        test_fraction: share of the samples that is the test split, where there is none: by a fixed permutation.
    """
    path, whole = _file_of(root, split, ".npy")
    found = open_packed(path)
    return found if whole else part_of(found, split, test_fraction)


@register_dataset(name="idx")
def idx(root: Path, split: str) -> Arrays:
    """MNIST's four files in ``data.root``, ``train-images-idx3-ubyte`` and the others, plain or ``.gz``."""
    return read_idx_split(
        root, split, hint=" Put the four files there, or point --config.data.root elsewhere."
    )


def _file_of(root: Path, split: str, ending: str) -> tuple[Path, bool]:
    """The file of a split; and whether it is the split's own, and not of all samples.

    Raises:
        MissingSplitError, ValueError: there is none.
    """
    if root.is_file():
        return root, False
    own = root / f"{split}{ending}"
    if not (root / f"train{ending}").is_file():
        raise ValueError(
            f"there is no {root / 'train'}{ending}: put it there, and test{ending} beside it, or name one file of all "
            f"samples by --config.data.root."
        )
    if own.is_file() and (root / f"test{ending}").is_file():
        return own, True
    return root / f"train{ending}", False
