"""A CSV table of one value for each image, to which rows are added as images are done, and which survives
interruptions."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from run_lib.faults import naming
from run_lib.files import atomic

V = TypeVar("V", float, str)


class ImageTable(Generic[V]):
    """The ``image,<column>`` rows of a CSV file.

    Rows are appended batch by batch, without rewriting the file. A last line that an interruption has cut short is
    dropped.

    Args:
        path: of the file; it need not exist.
        column: what the values are.
        parse: makes a value of its text.

    Raises:
        ValueError: the file is another table.
    """

    def __init__(self, path: Path, column: str, parse: Callable[[str], V]) -> None:
        self.path, self._header = path, ("image", column)
        self._values: dict[str, V] = {}
        if path.is_file():
            try:
                with naming(path):
                    text = path.read_text(encoding="utf-8")
                whole = text[: text.rfind("\n") + 1]
                rows = list(csv.reader(io.StringIO(whole)))
                if not rows or tuple(rows[0]) != self._header:
                    raise ValueError(f"its first line is {','.join(rows[0]) if rows else 'missing'}")
                if wrong := [row for row in rows if len(row) != 2]:
                    raise ValueError(f"a line has {len(wrong[0])} entries")
                self._values = {image: parse(value) for image, value in rows[1:]}
            except (ValueError, csv.Error) as error:
                reason = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else error
                raise ValueError(
                    f"{path} is no table of images and {column}s, whose first line is {','.join(self._header)} "
                    f"({reason}): move it away, or take another folder by --config.reconstruct.output."
                ) from error
            if whole != text:
                self.sort(list(self._values))

    def __contains__(self, image: str) -> bool:
        return image in self._values

    def __getitem__(self, image: str) -> V:
        return self._values[image]

    def get(self, image: str) -> V | None:
        """An image's value; None: it has none."""
        return self._values.get(image)

    def add(self, images: Sequence[str], values: Sequence[V]) -> None:
        """Append rows. Where an image has a row already, the new value replaces it when the table is sorted."""
        if not self.path.is_file():
            self.sort([])
        with naming(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(zip(images, values, strict=True))
        self._values.update(zip(images, values, strict=True))

    def sort(self, images: Sequence[str]) -> None:
        """Rewrite the file with the given images first, in this order."""
        first: list[str] = [image for image in images if image in self._values]
        order = dict.fromkeys([*first, *self._values])
        with atomic(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._header)
            writer.writerows((image, self._values[image]) for image in order)
