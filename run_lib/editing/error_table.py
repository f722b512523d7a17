"""A CSV table of (image, error) to which rows are added as images are done, and which survives interruptions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from run_lib.faults import naming
from run_lib.files import atomic

HEADER = ("image", "error")


class ErrorTable:
    """The ``image,error`` rows of a CSV file.

    Rows are appended batch by batch, without rewriting the file. A last line that an interruption has cut short is
    dropped.

    Raises:
        ValueError: the file is another table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._errors: dict[str, float] = {}
        if path.is_file():
            try:
                with naming(path):
                    text = path.read_text(encoding="utf-8")
                whole = text[: text.rfind("\n") + 1]
                rows = list(csv.reader(io.StringIO(whole)))
                if tuple(rows[0]) != HEADER:
                    raise ValueError(f"its first line is {','.join(rows[0])}")
                self._errors = {image: float(error) for image, error in rows[1:]}
            except (ValueError, IndexError, csv.Error) as error:
                raise ValueError(
                    f"{path} is no table of images and errors ({error}); move it away, or take another folder by "
                    f"--config.reconstruct.output."
                ) from error
            if whole != text:
                self.sort(list(self._errors))

    def __contains__(self, image: str) -> bool:
        return image in self._errors

    def __getitem__(self, image: str) -> float:
        return self._errors[image]

    def add(self, images: Sequence[str], errors: Sequence[float]) -> None:
        """Append rows. Where an image has a row already, the new value replaces it when the table is sorted."""
        if not self.path.is_file():
            self.sort([])
        with naming(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(zip(images, errors, strict=True))
        self._errors.update(zip(images, errors, strict=True))

    def sort(self, images: Sequence[str]) -> None:
        """Rewrite the file with the given images first, in this order."""
        first = dict.fromkeys(image for image in images if image in self._errors)
        order = [*first, *(image for image in self._errors if image not in first)]
        with atomic(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows((image, self._errors[image]) for image in order)
