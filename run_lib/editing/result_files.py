"""The files that ``--mode control`` writes: results, a picture of them beside their inputs, and the report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from run_lib.data.inputs import Skipped, output_names
from run_lib.data.layouts import as_written
from run_lib.data.levels import DataSpec
from run_lib.editing.output_folder import FILE
from run_lib.evaluation.fidelity import Fidelity, fidelity, mean
from run_lib.files import atomic, write_json
from run_lib.ours import check_links, check_unused, mark, record_of, somebody_elses
from run_lib.pictures import eight_bits, rows_of_images, save_png
from sde_lib.words import digits

_UNMARKED = ("task", "control", "sampling", "config_hash", "step")
"""By these entries records are recognised that were written before records were marked."""


@dataclass(frozen=True)
class Scores:
    """The scores and the cost of one result.

    Attributes:
        psnr, ssim: of the result to the input, as in ``Fidelity``.
        residual: root mean square of A x - y, in the network's range; None without a measurement.
        nfe: network evaluations.
        pullbacks: vector-Jacobian products of the network, which ``nfe`` does not count.
        seconds: time of its batch, divided by the number of results in the batch.
    """

    psnr: float | None
    ssim: float | None
    residual: float | None
    nfe: float
    pullbacks: float
    seconds: float


@dataclass(frozen=True)
class Cost:
    """The cost of one result, as in ``Scores``."""

    nfe: int
    pullbacks: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """An input and its results: a row of the picture.

    Attributes:
        name: the input's name.
        before, after: images on either side of the results in the picture, in the network's range.
        baseline: PSNR and SSIM of the measurement as it is shown; None where nothing is measured.
    """

    name: str
    before: list[Tensor]
    after: list[Tensor]
    baseline: Fidelity | None
    results: list[Tensor] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)


class ResultFiles:
    """A folder of results. The results of an earlier run are replaced; a folder of other files is refused.

    Args:
        folder: the folder.
        option: the configuration's field that names the folder, for messages.
        data: the data set of the images.
        names: the names of all inputs.
        digits: digits of the number at the end of a result's name; 0 where an input has one result, without number.
        most_rows: largest number of rows in the picture.

    Raises:
        ValueError: the folder holds other files.
    """

    def __init__(
        self, folder: Path, option: str, data: DataSpec, names: Sequence[str], digits: int, most_rows: int
    ) -> None:
        check_links(folder)
        self._earlier, self._option = record_of(folder / FILE, "control", _UNMARKED), option
        if self._earlier is None:
            check_unused(folder, option)
        self.folder, self.data, self.digits, self.most_rows = folder, data, digits, most_rows
        self._stems = dict(
            zip(names, (name.removesuffix(".png") for name in output_names(names)), strict=True)
        )
        self._rows: dict[str, Row] = {}

    def begin(self, settings: dict[str, Any], count: int) -> None:
        """Remove the results of an earlier run, and write the settings of this one and the names of its results.

        Args:
            settings: plain data.
            count: results of each input.

        Raises:
            ValueError: a file of somebody else's has the name of a result.
        """
        files = [self._file(name, number) for name in self._stems for number in range(count)]
        earlier = set(self._earlier_files())
        if theirs := [f for f in files if f not in earlier and os.path.lexists(self.folder / f)]:
            raise somebody_elses(self.folder, self._option, f"files, such as {theirs[0]},")
        reports = ("report.json", "grid.png", "results.npz") if self._earlier is not None else ()
        for path in (self.folder / file for file in (*earlier, *reports)):
            if path.is_file() or path.is_symlink():
                path.unlink()
        write_json(self.folder / FILE, {**mark("control"), **settings, "files": files})

    def _earlier_files(self) -> Iterator[str]:
        """Results that an earlier run wrote, by its record or, before records listed them, by its report."""
        if self._earlier is None:
            return
        listed = self._earlier.get("files")
        if listed is None and (report := record_of(self.folder / "report.json", "control", ("images",))):
            rows = [image.get("results") for image in report["images"] if isinstance(image, dict)]
            listed = [one.get("file") for row in rows if isinstance(row, list) for one in row]
        for file in listed if isinstance(listed, list) else ():
            path = PurePosixPath(str(file))
            if path.parts[:1] == ("results",) and ".." not in path.parts and path.suffix == ".png":
                yield str(path)

    def _file(self, name: str, number: int) -> str:
        """The file of a result, relative to the folder."""
        ending = f"_{number:0{self.digits}d}" if self.digits else ""
        return f"results/{self._stems[name]}{ending}.png"

    def row(self, name: str, before: list[Tensor], after: list[Tensor], baseline: Fidelity | None) -> None:
        """Add a row for an input, unless it has one."""
        self._rows.setdefault(name, Row(name, before, after, baseline))

    def add(
        self, name: str, x: Tensor, truth: Tensor, residual: float | None, cost: Cost, place: int = 0
    ) -> None:
        """Write the result number ``place`` of an input, ``x`` in the network's range, and its scores.

        They are against ``truth``.
        """
        row, levels = self._rows[name], self.data.to_levels(x).cpu()
        file = self._file(name, place)
        save_png(eight_bits(self._intensity(levels)), self.folder / file)
        found = fidelity(self._intensity(levels), self.data.intensity(truth))
        row.results.append(levels)
        row.files.append(file)
        row.scores.append(Scores(found.psnr, found.ssim, residual, cost.nfe, cost.pullbacks, cost.seconds))

    def finish(self, facts: dict[str, Any], skipped: Sequence[Skipped]) -> None:
        """Write ``results.npz``, ``grid.png`` and ``report.json``."""
        rows = list(self._rows.values())
        if not rows:
            return
        with atomic(self.folder / "results.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                arr_0=as_written(torch.stack([x for row in rows for x in row.results]).numpy()),
                images=np.array([row.name for row in rows for _ in row.results]),
            )
        save_png(self._picture(rows[: self.most_rows]), self.folder / "grid.png")
        total = _means([score for row in rows for score in row.scores])
        baseline = [row.baseline for row in rows if row.baseline]
        write_json(
            self.folder / "report.json",
            {
                **facts,
                "count": sum(len(row.scores) for row in rows),
                "mean": asdict(total),
                "measurement": {
                    "psnr": mean([b.psnr for b in baseline]),
                    "ssim": mean([b.ssim for b in baseline]),
                },
                "images": [
                    {
                        "image": row.name,
                        **asdict(_means(row.scores)),
                        "results": [
                            {"file": file, **asdict(score)}
                            for file, score in zip(row.files, row.scores, strict=True)
                        ],
                    }
                    for row in rows
                ],
                "skipped": [asdict(one) for one in skipped],
            },
        )
        print(_sentence(total, len(rows)))
        for what, name in (("results", "results"), ("picture", "grid.png"), ("report", "report.json")):
            print(f"  {what:9} {self.folder / name}")

    def _intensity(self, levels: Tensor) -> Tensor:
        """Intensities of results, given as levels of the data."""
        if not self.data.levels:
            return self.data.intensity(levels)
        return levels.float() / (self.data.levels - 1)

    def _picture(self, rows: Sequence[Row]) -> np.ndarray:
        shown = [
            [
                *(self.data.intensity(x).cpu() for x in row.before),
                *(self._intensity(x) for x in row.results),
                *(self.data.intensity(x).cpu() for x in row.after),
            ]
            for row in rows
        ]
        return rows_of_images(shown)


def _means(scores: Sequence[Scores]) -> Scores:
    """The mean of each field, over the results that have it."""
    return Scores(
        psnr=mean([score.psnr for score in scores]),
        ssim=mean([score.ssim for score in scores]),
        residual=mean([score.residual for score in scores]),
        nfe=mean([score.nfe for score in scores]) or 0.0,
        pullbacks=mean([score.pullbacks for score in scores]) or 0.0,
        seconds=mean([score.seconds for score in scores]) or 0.0,
    )


def _sentence(scores: Scores, images: int) -> str:
    parts = [
        f"{images} image{'s' if images > 1 else ''}",
        *(["PSNR infinite"] if scores.psnr is None else [f"PSNR {scores.psnr:.2f} dB"]),
        *([] if scores.ssim is None else [f"SSIM {scores.ssim:.3f}"]),
        *([] if scores.residual is None else [f"residual {digits(scores.residual, 2)}"]),
        f"{scores.nfe:g} network evaluations",
        *([f"{scores.pullbacks:g} of its derivative"] if scores.pullbacks else []),
        f"{scores.seconds:.3f} s each",
    ]
    return ", ".join(parts)
