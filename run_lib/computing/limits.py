"""What the system allows this process of its machine: memory and cores, within Linux's control groups, and disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

UNIFIED = "0"
"""Number of the one hierarchy of control groups, version 2."""


def main_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may have: the machine's, or the least limit of its control groups.

    Args:
        root: of the file system, in which Linux says the limits.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder, version in _control_groups(root, "memory"):
        text = _written(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
        limits += [int(text)] if text.isdigit() else []
    return min(limits)


def free_memory(device: torch.device) -> int:
    """Bytes that a device still has: of a CPU, those that the system can give without swapping, and its control groups
    allow."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        if found:
            return min(int(found[1]) * 1024, main_memory())
    return main_memory()


def nearest_folder(folder: Path) -> Path:
    """The folder, or of those around it the first that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())


def free_disk(folder: Path) -> int:
    """Bytes that a folder has room for, which need not be there yet."""
    return shutil.disk_usage(nearest_folder(folder)).free


def usable_cores(root: Path = Path("/")) -> float:
    """Cores that this process may keep busy: those of its affinity mask, or the least quota of its control groups.

    Args:
        root: of the file system, in which Linux says the quotas.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux's alone
    limits = [float(len(affinity(0)) if affinity else os.cpu_count() or 1)]
    for folder, version in _control_groups(root, "cpu"):
        if version == 2:
            quota, _, period = _written(folder / "cpu.max").partition(" ")
        else:
            quota, period = (_written(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit():  # otherwise there is none: max, or -1
            limits.append(int(quota) / int(period))
    return min(limits)


def _control_groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of the process's groups and of those around them, each with the version of its layout."""
    groups = root / "proc/self/cgroup"
    for line in groups.read_text(encoding="utf-8").splitlines() if groups.is_file() else ():
        number, controllers, path = line.split(":", 2)
        if number == UNIFIED:
            top, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            top, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        # In a container the path may be the host's, which is not seen; the top is.
        own = Path(path.lstrip("/"))
        yield from ((top / folder, version) for folder in (own, *own.parents))


def _written(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
