"""Encodes images to noise, decodes them, and measures the reconstruction error (DIRE, Wang et al. 2023)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from run_lib.config.editing import ReconstructionPlan
from run_lib.data.classes import numbered
from run_lib.data.images import Fitting
from run_lib.data.inputs import (
    Inputs,
    Skipped,
    image_labels,
    load,
    open_inputs,
    output_names,
)
from run_lib.data.levels import DataSpec
from run_lib.editing.image_table import ImageTable
from run_lib.editing.lost_results import LostResult, report_results, where_finite
from run_lib.editing.output_folder import check_apart, open_output_folder
from run_lib.files import read_json, write_json
from run_lib.fingerprint import basis_of
from run_lib.pictures import eight_bits, save_png
from run_lib.run import Run
from run_lib.sample import batches
from run_lib.stopping import finishing
from samplers.pc import SampleResult
from sde_lib.finite import finite_rows

SECTION = "config.reconstruct"


def reconstruct(plan: ReconstructionPlan, run: Run) -> None:
    """Write each image's reconstruction and |difference| as PNG, and ``table.csv`` of (image, error).

    The error is the mean of |reconstruction - image| over pixels and channels, in units of white, before
    either is rounded to 8 bits. Images that have their files already are skipped. Unreadable images are listed, and
    make the exit status 1. Those whose reconstruction is not finite have none, are listed, and make it 3.
    """
    settings, sampling = plan.settings, plan.sampling
    folder = output_folder(plan, run)
    inputs = _checked_inputs(plan, folder)
    weights = run.weights(sampling.subject)
    plan, inputs = numbered((plan, inputs), weights.numbering)
    sampling = plan.sampling
    started = time.perf_counter()
    skipped: list[Skipped] = []
    lost: list[LostResult] = []
    with weights.averaged(), torch.no_grad():
        of = basis_of(sampling.subject, task=sampling.task, guide=sampling.guidance.classifier)
        open_output_folder(folder, f"{SECTION}.output", {**plan.depends_on, **of.parts})
        table = ImageTable(folder / "table.csv", "error", float)
        contents = ImageTable(folder / "inputs.csv", "content", str)
        files = output_names(inputs.names)
        found = [inputs.fingerprint(row) for row in range(len(inputs))]
        done = [
            name in table and contents.get(name) == content and _written(folder, file)
            for name, file, content in zip(inputs.names, files, found, strict=True)
        ]
        if other := sum(
            n in table and contents.get(n) != c for n, c in zip(inputs.names, found, strict=True)
        ):
            print(f"note: {other} images are not those of {table.path}; they are made anew", file=sys.stderr)
        nfe = _reported_nfe(folder)
        # Whole batches, whatever is done of them: in other company an image differs in its last bits.
        every = list(batches(len(inputs), settings.batch_size))
        todo = [batch for batch in every if not all(done[row] for row in batch)]
        if nfe is None and not todo:  # stopped just before the report, which the last batch completes
            todo = every[-1:]
        for batch in tqdm(todo, desc="reconstructing", unit="batch"):
            loaded = load(inputs, batch)
            skipped.extend(loaded.skipped)
            if not loaded.rows or (nfe is not None and all(done[row] for row in loaded.rows)):
                continue
            with finishing("the batch") as stop:
                x = loaded.images.to(sampling.device)
                labels = image_labels(sampling.num_classes, inputs, loaded.rows, SECTION, settings.label)
                back, used = _there_and_back(plan, x, sampling.task.conditions(x, labels))
                nfe = used or nfe
                finite = finite_rows(back).tolist()
                lost += [
                    LostResult(inputs.names[r]) for r, f in zip(loaded.rows, finite, strict=True) if not f
                ]
                good = [place for place, row in enumerate(loaded.rows) if finite[place] and not done[row]]
                if good:
                    kept = [loaded.rows[place] for place in good]
                    errors = _write(sampling.data, folder, [files[row] for row in kept], x[good], back[good])
                    contents.add([inputs.names[row] for row in kept], [found[row] for row in kept])
                    table.add([inputs.names[row] for row in kept], errors)
                stop.leave()
        table.sort(inputs.names)
    facts = {
        "nfe": nfe or 0,
        "seconds": time.perf_counter() - started,
        "step": weights.step,
        "config_hash": sampling.subject.record.hash,
    }
    _report(folder, table, inputs, facts, skipped)
    report_results(skipped, len(inputs), lost)


def _there_and_back(plan: ReconstructionPlan, x: Tensor, cond: dict[str, Tensor]) -> tuple[Tensor, int]:
    """Images encoded and decoded, NaN where that is not possible; and the evaluations of each."""

    def both_ways(rows: list[int]) -> SampleResult:
        given = {name: value[rows] for name, value in cond.items()}
        encoded = plan.inversion.encode(x[rows], **given)
        decoded = plan.inversion.decode(encoded.x, **given)
        return SampleResult(decoded.x, encoded.nfe + decoded.nfe)

    back = torch.full_like(x, torch.nan)
    rows, found = where_finite(both_ways, len(x))
    if found is None:
        return back, 0
    back[rows] = found.x
    return back, found.nfe


def output_folder(plan: ReconstructionPlan, run: Run) -> Path:
    """``reconstruct.output``, or a folder of the work directory."""
    output = plan.settings.output
    return Path(output) if output else run.folder("reconstruct")


def _checked_inputs(plan: ReconstructionPlan, folder: Path) -> Inputs:
    """The images of ``reconstruct.input``.

    Raises:
        ValueError: the model cannot take them, or one of the folders lies in the other.
    """
    settings = plan.settings
    check_apart(settings.input, folder, SECTION)
    inputs = open_inputs(
        settings.input,
        f"{SECTION}.input",
        plan.sampling.data,
        Fitting(settings.resize, settings.convert),
        settings.num_images,
    )
    image_labels(plan.sampling.num_classes, inputs, range(len(inputs)), SECTION, settings.label)
    return inputs


def _reported_nfe(folder: Path) -> int | None:
    """The network evaluations of each image by the report of an earlier run; None without one."""
    try:
        nfe = read_json(folder / "report.json")["nfe"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None
    return nfe if isinstance(nfe, int) else None


def _paths(folder: Path, file: str) -> tuple[Path, Path]:
    return folder / "reconstruction" / file, folder / "difference" / file


def _written(folder: Path, file: str) -> bool:
    return all(path.is_file() for path in _paths(folder, file))


def _write(data: DataSpec, folder: Path, files: Sequence[str], x: Tensor, back: Tensor) -> list[float]:
    image, back = data.intensity(x).cpu(), data.intensity(back).clamp(0, 1).cpu()
    for file, a, b in zip(files, image, back, strict=True):
        reconstruction, difference = _paths(folder, file)
        save_png(eight_bits(b), reconstruction)
        # Of the rounded images: an input of 8 bits, its reconstruction and their difference agree to the bit.
        rounded = (eight_bits(a).astype(int) - eight_bits(b).astype(int)).__abs__()
        save_png(rounded.astype("uint8"), difference)
    errors: list[float] = (back - image).abs().flatten(1).double().mean(1).tolist()
    return errors


def _report(
    folder: Path,
    table: ImageTable[float],
    inputs: Inputs,
    facts: Mapping[str, Any],
    skipped: Sequence[Skipped],
) -> None:
    errors = [table[name] for name in inputs.names if name in table]
    mean = sum(errors) / max(len(errors), 1)
    write_json(
        folder / "report.json",
        {
            "count": len(errors),
            "mean_error": mean,
            **facts,
            "skipped": [{"image": s.image, "reason": s.reason} for s in skipped],
        },
    )
    print(
        f"{len(errors)} images, mean |difference| {mean:.5f} of white\n"
        f"  reconstructions  {folder / 'reconstruction'}\n  differences      {folder / 'difference'}\n"
        f"  table            {folder / 'table.csv'}"
    )
