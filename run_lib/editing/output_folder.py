"""An output folder belongs to one set of settings. A run with the same settings continues in it; others are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from run_lib.files import write_json
from run_lib.ours import check_links, check_unused, record_of

FILE = "settings.json"


def check_apart(source: str, folder: Path, section: str) -> None:
    """Refuse a folder of results inside the folder of images, or the other way round.

    Args:
        source: of the images; it may be no folder.
        folder: of the results; it need not exist.
        section: whose fields ``input`` and ``output`` name them.

    Raises:
        ValueError: results would be read as images the next time, or images overwritten with results.
    """
    images, results = Path(source).resolve(), folder.resolve()
    if not images.is_dir():
        return
    if results.is_relative_to(images):
        raise ValueError(
            f"the output {folder} lies in {section}.input={source}, so it would be read as input next time: take "
            f"another folder by --{section}.output."
        )
    if images.is_relative_to(results):
        raise ValueError(
            f"{section}.input={source} lies in the output {folder}, whose results are overwritten: take another folder "
            f"by --{section}.output."
        )


def open_output_folder(folder: Path, field: str, settings: Mapping[str, Any]) -> None:
    """Create an output folder for the given settings, or check that an existing one was made with the same.

    Args:
        folder: the folder; it is created if it does not exist.
        field: the configuration's field that names the folder, for messages.
        settings: everything on which the outputs depend, as JSON values.

    Raises:
        ValueError: the folder holds other files, or outputs made with other settings.
    """
    path, ours = folder / FILE, json.loads(json.dumps(settings, default=str))
    check_links(folder)
    theirs = record_of(path, "reconstruct", ("reconstruct", "sampling", "weights"))
    if theirs is not None:
        if theirs != ours:
            differences = "; ".join(_differences(theirs, ours))
            raise ValueError(
                f"{folder} holds what was made with other settings ({differences}). Nothing is overwritten: take "
                f"another folder by --{field}, or move that one away."
            )
    else:
        check_unused(folder, field)
        write_json(path, ours)


def _differences(theirs: Any, ours: Any, name: str = "") -> Iterator[str]:
    """``name: there -> now`` of every value that differs."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            if theirs.get(key) != ours.get(key):
                yield from _differences(theirs.get(key), ours.get(key), f"{name}.{key}" if name else key)
    else:
        yield f"{name}: {theirs!r} there, {ours!r} now"
