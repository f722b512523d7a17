"""A small CIFAR-10 in the format of the real one."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write_cifar10(root: Path, set_checksums: Callable[..., Any]) -> None:
    """Pickled batches as torchvision reads them: five of ten images and one of ten test images.

    Image k, counted through the files, is filled with k, k + 1 and k + 2 in red, green and blue; its label is
    k mod 10. ``set_checksums`` is told the files and their MD5 sums, which torchvision has for the real ones.
    """
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    sums: dict[str, str] = {}

    def write(name: str, content: dict[str, Any]) -> None:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()

    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    for number, name in enumerate(names):
        which = np.arange(10 * number, 10 * number + 10)
        pixels = (which[:, None] + np.arange(3)).repeat(32 * 32, axis=1).astype(np.uint8)
        write(name, {"data": pixels, "labels": [int(k % 10) for k in which]})
    write("batches.meta", {"label_names": [f"class {k}" for k in range(10)]})
    set_checksums(
        train_list=[[n, sums[n]] for n in names[:5]],
        test_list=[[names[5], sums[names[5]]]],
        meta={"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]},
    )
