"""Which processor this is, as Linux has it."""

from __future__ import annotations

import platform
import re
from pathlib import Path

TOLD = Path("/proc/cpuinfo")


def instructions(told: Path = TOLD) -> frozenset[str]:
    """Names of the sets of instructions that it has; none where the system does not say."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _text(told), re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def described(told: Path = TOLD) -> str:
    """Its name, with the instructions that decide how fast it multiplies."""
    name = re.search(r"^model name\s*:\s*(.+)$", _text(told), re.MULTILINE)
    known = instructions(told)
    return " ".join(
        [
            name[1] if name else platform.processor() or platform.machine(),
            *(one for one in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if one in known),
        ]
    )


def _text(told: Path) -> str:
    return told.read_text(encoding="utf-8", errors="replace") if told.is_file() else ""
