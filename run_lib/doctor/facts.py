"""What there is: versions, devices, threads, memory, disk. Nothing here judges."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from run_lib.computing.compiling import obstacle
from run_lib.computing.limits import free_disk, free_memory, main_memory, nearest_folder, usable_cores
from run_lib.computing.processor import described

PACKAGES = ("numpy", "scipy", "ml_collections", "absl-py", "tensorboard")
"""Of our own needs, beside torch and torchvision."""
OPTIONAL = ("diffusers", "transformers", "torch-fidelity", "safetensors", "scikit-learn", "lmdb")
"""That some work needs."""
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Graphics:
    """A GPU that torch sees.

    Attributes:
        name: as its driver has it.
        capability: such as ``sm_90``.
        free, total: bytes of its memory.
    """

    name: str
    capability: str
    free: int
    total: int


@dataclass(frozen=True)
class Facts:
    """What a program finds here.

    Attributes:
        versions: of packages, by name, of those that are installed.
        torchvision_error: why it cannot be imported; empty: it can.
        processor: its name, and the instructions that decide its speed.
        cores: that this process may keep busy.
        threads: of torch's operations.
        load: cores that other work has kept busy in the last minute; None: the system does not say.
        memory, total_memory: bytes that can be had, and that there are.
        folder: to which a run would write.
        refused: why it cannot be written to; empty: it can.
        disk: bytes that are free there.
        shared_memory: bytes of it that are free; None: there is no such folder.
        graphics: the GPUs that torch sees.
        driver: version of NVIDIA's driver; empty: there is none.
        cuda: version for which torch was made; empty: for none.
        kernels: capabilities for which torch has kernels.
        no_compiler: why nothing can be compiled; empty: it can.
    """

    versions: dict[str, str]
    torchvision_error: str
    processor: str
    cores: float
    threads: int
    load: float | None
    memory: int
    total_memory: int
    folder: Path
    refused: str
    disk: int
    shared_memory: int | None
    graphics: tuple[Graphics, ...] = ()
    driver: str = ""
    cuda: str = ""
    kernels: tuple[str, ...] = ()
    no_compiler: str = ""


def gather(folder: Path) -> Facts:
    """The facts of this machine and installation.

    Args:
        folder: to which a run would write; nothing of it stays changed.
    """
    here = nearest_folder(folder)
    vision, error = _imported("torchvision")
    told = {"torch": str(torch.__version__), "torchvision": vision or _version("torchvision")}
    told |= {name: _version(name) for name in (*PACKAGES, *OPTIONAL)}
    versions = {name: version for name, version in told.items() if version}
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return Facts(
        versions=versions,
        torchvision_error=error,
        processor=described(),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        memory=free_memory(torch.device("cpu")),
        total_memory=main_memory(),
        folder=folder,
        refused=_refused(here),
        disk=free_disk(folder),
        shared_memory=shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None,
        graphics=_graphics(),
        driver=_driver(),
        cuda=torch.version.cuda or "",
        kernels=tuple(torch.cuda.get_arch_list()),
        no_compiler=obstacle(kind) or "",
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _imported(module: str) -> tuple[str, str]:
    """Its own version, which tells its build, and why it cannot be imported: one of the two is empty.

    In a process of its own: a failed import leaves torch half changed.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}; print({module}.__version__)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return done.stdout.strip(), ""
    lines = done.stderr.strip().splitlines()
    return "", lines[-1] if lines else f"exit status {done.returncode}"


def _refused(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _graphics() -> tuple[Graphics, ...]:
    def one(index: int) -> Graphics:
        found = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        return Graphics(found.name, f"sm_{found.major}{found.minor}", free, total)

    return (
        tuple(one(index) for index in range(torch.cuda.device_count())) if torch.cuda.is_available() else ()
    )


def _driver(told: Path = Path("/proc/driver/nvidia/version")) -> str:
    """Version of NVIDIA's driver: what Linux says of its module, else what its own tool does."""
    if told.is_file():
        found = re.search(r"Kernel Module[^\d]*([\d.]+)", told.read_text(encoding="utf-8"))
        return found[1] if found else "unknown"
    if tool := shutil.which("nvidia-smi"):
        query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""
    return ""
