"""What a number belongs to: hashes of all that it depends on, by which results of anything else are recognised."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from run_lib.output.progress import Progress
from samplers.pc import PCSampler

if TYPE_CHECKING:
    from run_lib.config.sampling import SamplingPlan
    from run_lib.config.subject import Subject
    from run_lib.data.levels import DataSpec
    from run_lib.data.rows import Rows
    from run_lib.training.tasks import TrainingTask

DIGITS = 16
CHUNK = 2**26
"""Bytes of an array that are hashed at a time: one that stays on disk is never read whole."""
ROWS = 2**10
"""Rows that stand for an array on disk."""
PACKAGES = ("sde_lib", "models", "samplers", "losses", "likelihood", "run_lib")


@dataclass(frozen=True)
class Basis:
    """What numbers depend on.

    Attributes:
        parts: hash of each part, by its name in words.
    """

    parts: Mapping[str, str]

    @functools.cached_property
    def hash(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of all parts."""
        return _short(hashlib.sha256(json.dumps(dict(self.parts), sort_keys=True).encode()))

    def with_parts(self, **further: str) -> Basis:
        """The same with further parts, their names without spaces."""
        return Basis({**self.parts, **further})

    def key(self, settings: Mapping[str, Any], arithmetic: str) -> str:
        """A name for results of these parts and settings, computed in some arithmetic."""
        return self.with_parts(
            settings=json.dumps(settings, sort_keys=True, default=str), arithmetic=arithmetic
        ).hash

    def changed(self, other: Mapping[str, str]) -> list[str]:
        """The names of the parts that differ, or that only one of the two has."""
        return sorted(key for key in {**self.parts, **other} if self.parts.get(key) != other.get(key))


def basis_of(
    subject: Subject, *, task: TrainingTask, guide: nn.Module | None = None, splits: Iterable[str] = ()
) -> Basis:
    """Hashes of the program, of the user's components and of data; of the network's weights as they are now.

    Args:
        subject: the network, with the weights that are evaluated.
        task: whose own data, such as base samples, are counted.
        guide: a further network that the numbers depend on.
        splits: of the data set, that the numbers depend on.
    """
    parts = {"weights": fingerprint(subject.network), "program": of_program()}
    if subject.components:
        parts["components"] = subject.components
    if guide is not None:
        parts["classifier"] = fingerprint(guide)
    if subject.data.latents is not None:
        parts["codec"] = subject.data.latents.codec.fingerprint
    parts |= {f"data, {split}": of_split(subject.data, split) for split in sorted(set(splits))}
    if held := task.held_data():
        parts["base samples"] = of_arrays(*held)
    return Basis(parts)


def basis_of_samples(plan: SamplingPlan, splits: Iterable[str] = ()) -> Basis:
    """The same of whatever a sampler draws; of times that are stored beside a checkpoint, and of what a rule took."""
    found = basis_of(plan.subject, task=plan.task, guide=plan.guidance.guide, splits=splits)
    if plan.picked:
        found = found.with_parts(sampler=plan.picked)
    if plan.stored_grid and isinstance(plan.sampler, PCSampler):
        return found.with_parts(times=of_arrays(plan.sampler.times))
    return found


def fingerprint(network: nn.Module) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of a network's parameters and buffers.

    It depends on their names and values alone: not on the device, the memory format (channels last), the order in
    which layers were made, or a floating-point type wide enough to hold the values.
    """
    sha = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        sha.update(name.encode())
        # ``tobytes`` walks the elements in the order of their indices, wherever they lie.
        sha.update(value.detach().cpu().double().numpy().tobytes())
    return _short(sha)


@functools.lru_cache(maxsize=4)
def of_split(data: DataSpec, split: str) -> str:
    """Of the images and labels of a split; of one whose files are not there, that it is missing.

    Images that stay on disk are known by their number, shape and type, and by some of them (``of_rows``): to read all
    may take longer than the work.
    """
    try:
        found = data.load(split)
    except ValueError:  # whoever needs it says so; numbers without it are others than with it
        return "missing"
    sha = hashlib.sha256()
    if found.rows.whole is None:
        sha.update(of_rows(found.rows).encode())
    else:
        _begin(sha, found.rows.dtype, (len(found), *found.rows.shape))
        for _, images in found.rows.chunks():
            _update(sha, images)
    _begin(sha, found.labels.dtype, tuple(found.labels.shape))
    _update(sha, found.labels)
    return _short(sha)


def of_arrays(*arrays: Tensor) -> str:
    """Of the types, shapes and values of arrays."""
    sha = hashlib.sha256()
    for array in arrays:
        _begin(sha, array.dtype, tuple(array.shape))
        rows = array.detach().flatten(1) if array.ndim > 1 else array.detach().reshape(-1, 1)
        step = max(1, CHUNK // max(1, rows.shape[1] * rows.element_size()))
        for first in range(0, len(rows), step):
            _update(sha, rows[first : first + step])
    return _short(sha)


def of_rows(rows: Rows) -> str:
    """Of the type and shape of rows, of the first and last of them and of ``ROWS`` that a fixed seed draws.

    A change of one row of N is seen with a probability of about ``ROWS`` / N; other data, or data in another order,
    always are. Of ``ROWS`` rows or fewer, all are read. One that cannot be read counts as that; whoever needs it says
    so, or does without it (``data.max_corrupt``).
    """
    count = len(rows)
    drawn = np.random.default_rng(ROWS).choice(count, min(ROWS, count), replace=False)
    sha = hashlib.sha256()
    _begin(sha, rows.dtype, (count, *rows.shape))
    chosen = sorted({*range(min(1, count)), *drawn.tolist(), *range(count)[-1:]})
    with Progress("reading", len(chosen), "sample", shown=rows.whole is None) as bar:
        for row in chosen:
            try:
                _update(sha, rows.read([row]))
            except ValueError:
                sha.update(f"row {row} cannot be read;".encode())
            bar.add()
    return _short(sha)


def _begin(sha: hashlib._Hash, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    sha.update(f"{dtype} {shape};".encode())


def _update(sha: hashlib._Hash, rows: Tensor) -> None:
    part = rows.detach().cpu().contiguous()
    sha.update(part.view(torch.uint8).numpy().tobytes() if part.numel() else b"")


def of_files(files: Iterable[Path]) -> str:
    """Of the contents of files, in whatever order and wherever they lie."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return _short(hashlib.sha256("".join(digests).encode()))


@functools.cache
def of_program() -> str:
    """Of the source of this program, that of its modes and evaluations included."""
    root = Path(__file__).parents[1]
    return of_files(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def _short(sha: hashlib._Hash) -> str:
    return sha.hexdigest()[:DIGITS]
