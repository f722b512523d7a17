"""Encodes images to noise, decodes them, and measures the reconstruction error (DIRE, Wang et al. 2023)."""

from __future__ import annotations

import json
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
from run_lib.stopping import finishing

SECTION = "config.reconstruct"


def reconstruct(plan: ReconstructionPlan, run: Run) -> None:
    """Write each image's reconstruction and |difference| as PNG, and ``table.csv`` of (image, error).

    The error is the mean of |reconstruction - image| over pixels and channels, in units of white, before
    either is rounded to 8 bits. Images that have their files already are skipped. Unreadable images are listed, and
    make the exit status 1.
    """
    settings, sampling = plan.settings, plan.sampling
    folder = output_folder(plan, run)
    inputs = _checked_inputs(plan, folder)
    weights = run.weights(sampling.subject)
    started = time.perf_counter()
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
                cond = sampling.task.conditions(x, labels)
                encoded = plan.inversion.encode(x, **cond)
                decoded = plan.inversion.decode(encoded.x, **cond)
                nfe = encoded.nfe + decoded.nfe
                new = [place for place, row in enumerate(loaded.rows) if not done[row]]
                rows = [loaded.rows[place] for place in new]
                errors = _write(sampling.data, folder, [files[row] for row in rows], x[new], decoded.x[new])
                table.add([inputs.names[row] for row in rows], errors)
                stop.leave()
        table.sort(inputs.names)
    facts = {
        "nfe": nfe or 0,
        "seconds": time.perf_counter() - started,
        "step": weights.step,
        "config_hash": sampling.subject.record.hash,
    }
    _report(folder, table, inputs, facts, skipped)
    report_skipped(skipped, len(inputs))


def output_folder(plan: ReconstructionPlan, run: Run) -> Path:
    """``reconstruct.output``, or a folder of the work directory."""
    return Path(plan.settings.output or run.workdir / "reconstruct")


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


def _reported_nfe(folder: Path) -> int | None:
    """The network evaluations of each image by the report of an earlier run; None without one."""
    try:
        nfe = json.loads((folder / "report.json").read_text())["nfe"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None
    return nfe if isinstance(nfe, int) else None


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
