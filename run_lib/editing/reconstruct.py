"""Encodes images to noise, decodes them, and measures the reconstruction error (DIRE, Wang et al. 2023)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from run_lib.config.editing import ReconstructionPlan
from run_lib.data.images import Fitting
from run_lib.data.inputs import (
    Inputs,
    Skipped,
    image_labels,
    load,
    open_inputs,
    output_names,
    report_skipped,
)
from run_lib.data.levels import DataSpec
from run_lib.editing.error_table import ErrorTable
from run_lib.editing.output_folder import open_output_folder
from run_lib.files import write_json
from run_lib.fingerprint import fingerprint
from run_lib.pictures import eight_bits, save_png
from run_lib.run import Run
from run_lib.sample import batches

SECTION = "config.reconstruct"


def reconstruct(plan: ReconstructionPlan, run: Run) -> None:
    """Write each image's reconstruction and |difference| as PNG, and ``table.csv`` of (image, error).

    The error is the mean of |reconstruction - image| over pixels and channels, in units of white, before
    either is rounded to 8 bits. Images that have their files already are skipped. Unreadable images are listed, and
    make the exit status 1.
    """
    settings, sampling = plan.settings, plan.sampling
    folder = Path(settings.output) if settings.output else run.folder("reconstruct")
    inputs = _checked_inputs(plan, folder)
    weights = run.weights(sampling.subject)
    started, nfe = time.perf_counter(), 0
    skipped: list[Skipped] = []
    with weights.averaged(), torch.no_grad():
        open_output_folder(
            folder, f"{SECTION}.output", {**plan.depends_on, "weights": fingerprint(weights.network)}
        )
        table = ErrorTable(folder / "table.csv")
        files = output_names(inputs.names)
        done = [
            name in table and _written(folder, file) for name, file in zip(inputs.names, files, strict=True)
        ]
        todo = [row for row, is_done in enumerate(done) if not is_done]
        for rows in tqdm(list(batches(len(todo), settings.batch_size)), desc="reconstructing", unit="batch"):
            loaded = load(inputs, [todo[row] for row in rows])
            skipped.extend(loaded.skipped)
            if not loaded.rows:
                continue
            x = loaded.images.to(sampling.device)
            labels = image_labels(sampling.num_classes, inputs, loaded.rows, SECTION, settings.label)
            cond = sampling.task.conditions(x, labels)
            encoded = plan.inversion.encode(x, **cond)
            decoded = plan.inversion.decode(encoded.x, **cond)
            nfe = encoded.nfe + decoded.nfe
            errors = _write(sampling.data, folder, [files[row] for row in loaded.rows], x, decoded.x)
            table.add([inputs.names[row] for row in loaded.rows], errors)
        table.sort(inputs.names)
    facts = {
        "nfe": nfe,
        "seconds": time.perf_counter() - started,
        "step": weights.step,
        "config_hash": sampling.subject.record.hash,
    }
    _report(folder, table, inputs, facts, skipped)
    report_skipped(skipped, len(inputs))


def _checked_inputs(plan: ReconstructionPlan, folder: Path) -> Inputs:
    """The images of ``reconstruct.input``.

    Raises:
        ValueError: the model cannot take them, or the output folder lies inside the input folder.
    """
    settings = plan.settings
    source = Path(settings.input).resolve()
    if source.is_dir() and folder.resolve().is_relative_to(source):
        raise ValueError(
            f"the output {folder} lies in {SECTION}.input={settings.input}, so it would be read as input next "
            f"time: take another folder by --{SECTION}.output."
        )
    inputs = open_inputs(
        settings.input,
        f"{SECTION}.input",
        plan.sampling.data,
        Fitting(settings.resize, settings.convert),
        settings.num_images,
    )
    image_labels(plan.sampling.num_classes, inputs, range(len(inputs)), SECTION, settings.label)
    return inputs


def _paths(folder: Path, file: str) -> tuple[Path, Path]:
    return folder / "reconstruction" / file, folder / "difference" / file


def _written(folder: Path, file: str) -> bool:
    return all(path.is_file() for path in _paths(folder, file))


def _write(data: DataSpec, folder: Path, files: Sequence[str], x: Tensor, back: Tensor) -> list[float]:
    if not bool(back.isfinite().all()):
        raise ValueError(
            "the reconstruction is not finite: the model's output is not, or too few steps diverge; try more "
            "steps."
        )
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
    table: ErrorTable,
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
