"""Which content each input of a folder of results had when its result was made."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path


class Contents:
    """A CSV file of (image, hash of its content), to which rows are appended; of several of one image the last counts.

    Args:
        path: of the file. A last line that an interruption has cut short is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        self._held = {row[0]: row[1] for row in csv.reader(io.StringIO(whole)) if len(row) == 2}
        if whole != text:
            path.write_text(whole, encoding="utf-8")

    def get(self, image: str) -> str | None:
        """The hash of an image's content; None: it has no result."""
        return self._held.get(image)

    def add(self, images: Sequence[str], hashes: Sequence[str]) -> None:
        """Append rows."""
        rows = list(zip(images, hashes, strict=True))
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        self._held.update(rows)
