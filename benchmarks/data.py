"""Data larger than memory: the memory and the seconds that training from a packed file takes; and what reading costs.

    python -m benchmarks.data large --gigabytes 40     a sparse file of 64x64 images, trained by the program
    python -m benchmarks.data share --root DIR         reading against computing, Fashion-MNIST (its four files in DIR)

``large`` prints the most anonymous memory (RssAnon) of the program and its workers together, and the seconds from the
start of the process to the end of the first step. ``share`` prints what part of a step its data take, from memory, from
image files and from a packed file.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
SHAPE = (3, 64, 64)


def sparse(path: Path, size: int) -> int:
    """An ``.npy`` of zeros that takes no space on the disk; returns how many images it has."""
    count = size // int(np.prod(SHAPE))
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * int(np.prod(SHAPE)))
    return count


def anonymous(process: int) -> int:
    """Bytes of RssAnon of a process and all below it."""
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        try:
            status = Path(f"/proc/{one}/status").read_text()
            waiting += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except OSError:  # it has ended
            continue
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        total += int(found[1]) * 1024 if found else 0
    return total


def large(gigabytes: float, steps: int, workers: int) -> None:
    """Train on a sparse file, and watch."""
    with tempfile.TemporaryDirectory() as folder:
        count = sparse(Path(folder) / "train.npy", int(gigabytes * 1e9))
        settings = {
            "data.dataset": "npy", "data.root": folder, "data.image_size": 64, "data.num_channels": 3,
            "data.levels": 256, "data.test_fraction": 0.0, "data.num_workers": workers, "model.nf": 16,
            "model.num_groups": 8, "training.n_iters": steps, "training.batch_size": 32, "training.log_freq": 1,
            "training.snapshot_sampling": False, "device": "cpu",
        }  # fmt: skip
        command = [sys.executable, "main.py", "--config", "configs/ddpm/digits.py", "--mode", "train", "--workdir",
                   f"{folder}/run", *(f"--config.{key}={value}" for key, value in settings.items())]  # fmt: skip
        begun, most = time.time(), 0
        with Path(folder, "said").open("w+") as said:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said)
            while process.poll() is None:
                most = max(most, anonymous(process.pid))
                time.sleep(0.02)
            if process.returncode:
                said.seek(0)
                raise SystemExit(said.read())
        told = EventAccumulator(f"{folder}/run/tensorboard").Reload().Scalars("train/loss")
        assert told[0].step == 1
        first, last = (told[k].wall_time - begun for k in (0, -1))
    print(f"{count} images of {gigabytes:g} GB, {workers} workers, {steps} steps")
    print(f"RssAnon at most {most / 1e9:.2f} GB, of {1 + workers} processes")
    print(f"first step after {first:.1f} s, all after {last:.1f} s")


def share(root: Path, steps: int) -> None:
    """Seconds a step for its data alone, beside those of its network: ADM's U-Net of 1.2 M parameters, batch 128."""
    from PIL import Image

    from run_lib.data.batches import Batches, Reading
    from run_lib.data.folders import everything_below
    from run_lib.data.formed import idx, npy
    from run_lib.data.split import Split

    held = idx(root, "train").as_split()
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/train.npy", held.images.numpy())
        for k in range(6000):
            Image.fromarray(held.images[k, 0].numpy()).save(f"{folder}/{k}.png")
        files, _ = everything_below(Path(folder), (1, 28, 28), levels=256, convert=False)
        sources: dict[str, Split] = {
            "memory": held,
            "packed": npy(Path(folder), "train", 0.0),
            "image files": files,
        }
        for name, split in sources.items():
            for workers in (0,) if name == "memory" else (0, 2):
                with Batches(split, 0, 128, reading=Reading(workers, cache=0)) as batches:
                    batches.take(0, range(128))
                    begun = time.perf_counter()
                    for step in range(1, steps + 1):
                        batches.take(step, range(128))
                    seconds = (time.perf_counter() - begun) / steps
                print(f"{name}, {workers} workers: {1e3 * seconds:.2f} ms a batch of 128")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["large", "share"])
    parser.add_argument("--gigabytes", type=float, default=40.0)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "large":
        large(given.gigabytes, given.steps, given.workers)
    else:
        share(given.root, given.steps)


if __name__ == "__main__":
    main()
