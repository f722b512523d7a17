"""Encodes images to noise, decodes them, and measures the reconstruction error (DIRE, Wang et al. 2023)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from run_lib.editing.lost_results import LostResult, report_results, skipped_in, skipped_of, where_finite
from run_lib.editing.output_folder import check_apart, open_output_folder
from run_lib.files import read_json, write_json
from run_lib.fingerprint import basis_of
from run_lib.output.progress import Progress
from run_lib.pictures import eight_bits, save_png
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import batches
from run_lib.sharing.parts import Part, Parts
from run_lib.stopping import Stop, finishing
from samplers.pc import SampleResult
from sde_lib.finite import finite_rows

SECTION = "config.reconstruct"


def reconstruct(plan: ReconstructionPlan, run: Run) -> None:
    """Write each image's reconstruction and |difference| as PNG, and ``table.csv`` of (image, error).

    The error is the mean of |reconstruction - image| over pixels and channels, in units of white, before
    either is rounded to 8 bits. Images that have their files already are skipped. Unreadable images are listed, and
    make the exit status 1. Those whose reconstruction is not finite have none, are listed, and make it 3.
    """
    processes = Processes.from_environment()
    with processes.process_group():
        _reconstruct(plan, run, processes)


def _reconstruct(plan: ReconstructionPlan, run: Run, processes: Processes) -> None:
    settings, sampling = plan.settings, plan.sampling
    folder = output_folder(plan, run)
    inputs = _checked_inputs(plan, folder)
    weights = run.weights(sampling.subject)
    plan, inputs = numbered((plan, inputs), weights.numbering)
    sampling = plan.sampling
    started = time.perf_counter()
    skipped: list[Skipped] = []
    lost: list[LostResult] = []
    with weights.averaged(), torch.no_grad(), sampling.arithmetic.used():
        of = basis_of(sampling.subject, task=sampling.task, guide=sampling.guidance.guide)
        files = output_names(inputs.names)
        with Progress("reading", len(inputs), "image") as bar:
            found = [inputs.fingerprint(row) for row in bar.over(range(len(inputs)))]
        with processes.main_first():
            open_output_folder(folder, f"{SECTION}.output", {**plan.depends_on, **of.parts})
            table = ImageTable(folder / "table.csv", "error", float)
            contents = ImageTable(folder / "inputs.csv", "content", str)
        done = [
            name in table and contents.get(name) == content and _written(folder, file)
            for name, file, content in zip(inputs.names, files, found, strict=True)
        ]
        other = sum(n in table and contents.get(n) != c for n, c in zip(inputs.names, found, strict=True))
        if other and processes.is_main:
            print(f"note: {other} images are not those of {table.path}; they are made anew", file=sys.stderr)
        nfe = _reported_nfe(folder)
        # Whole batches, whatever is done of them: in other company an image differs in its last bits.
        every = list(batches(len(inputs), settings.batch_size))
        todo = [batch for batch in every if not all(done[row] for row in batch)]
        if nfe is None and not todo:  # stopped just before the report, which the last batch completes
            todo = every[-1:]
        if not todo:
            print(f"reconstructing: nothing is left to do: {table.path} has all {len(inputs)} images")
        depends_on = {**plan.depends_on, "images": [*zip(inputs.names, found)], "size": settings.batch_size}
        parts = Parts.unfinished(
            folder, of.key(depends_on, sampling.arithmetic.on(sampling.device)), processes
        )

        def compute(batch: range) -> Part:
            loaded = load(inputs, batch)
            part = skipped_in(loaded.skipped)
            # One process alone computes nothing for images that are done; what several keep is of whole batches.
            idle = nfe is not None and not parts.writes and all(done[row] for row in loaded.rows)
            if not loaded.rows or idle:
                return {**part, "rows": np.zeros(0, dtype=np.int64), "finite": np.zeros(0, dtype=bool)}
            x = loaded.images.to(sampling.device)
            labels = image_labels(sampling.num_classes, inputs, loaded.rows, SECTION, settings.label)
            back, used = _there_and_back(plan, x, sampling.task.conditions(x, labels))
            finite = finite_rows(back).cpu().numpy()
            part |= {"rows": np.array(loaded.rows), "finite": finite, "nfe": np.array(used)}
            return {**part, **_outputs(sampling.data.shown, x, back)}

        names = None if processes.is_main else ("rows", "finite", "skipped", "reasons")
        with parts.until_written(), _whole_batches(processes) as stop:
            for part in parts.each("reconstructing", todo, compute, names=names):
                skipped += skipped_of(part)
                rows, finite = part["rows"].tolist(), part["finite"].tolist()
                lost += [LostResult(inputs.names[r]) for r, f in zip(rows, finite, strict=True) if not f]
                if not rows or not processes.is_main:
                    continue
                nfe = int(part["nfe"]) or nfe
                if good := [place for place, row in enumerate(rows) if finite[place] and not done[row]]:
                    kept = [rows[place] for place in good]
                    _write(folder, [files[row] for row in kept], part["pixels"][good])
                    contents.add([inputs.names[row] for row in kept], [found[row] for row in kept])
                    table.add([inputs.names[row] for row in kept], part["errors"][good].tolist())
                stop.leave()
            if processes.is_main:
                table.sort(inputs.names)
                facts = {
                    "nfe": nfe or 0,
                    "seconds": time.perf_counter() - started,
                    "step": weights.step,
                    "config_hash": sampling.subject.record.hash,
                }
                _report(folder, table, inputs, facts, skipped)
    report_results(skipped, len(inputs), lost)


def _whole_batches(processes: Processes) -> AbstractContextManager[Stop]:
    """In which a signal waits for a batch to be written; several processes write theirs to their parts at once."""
    return finishing("the batch") if processes.world_size == 1 else nullcontext(Stop())


def _there_and_back(plan: ReconstructionPlan, x: Tensor, cond: dict[str, Tensor]) -> tuple[Tensor, int]:
    """Images encoded and decoded, of a codec by way of their latents, NaN where that is not possible; and the
    evaluations of each."""
    data = plan.sampling.data

    def both_ways(rows: list[int]) -> SampleResult:
        given = {name: value[rows] for name, value in cond.items()}
        encoded = plan.inversion.encode(data.seen(x[rows]), **given)
        decoded = plan.inversion.decode(encoded.x, **given)
        return SampleResult(data.decoded(decoded.x), encoded.nfe + decoded.nfe)

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
        plan.sampling.device,
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


def _outputs(data: DataSpec, x: Tensor, back: Tensor) -> Part:
    """Reconstructions and |differences| of images in 8 bits, (B, 2, H, W) or (B, 2, H, W, 3), and the errors (B,)."""
    image, back = data.intensity(x).cpu(), data.intensity(back).clamp(0, 1).cpu()
    pixels = []
    for a, b in zip(image, back, strict=True):
        # Of the rounded images: an input of 8 bits, its reconstruction and their difference agree to the bit.
        difference = (eight_bits(a).astype(int) - eight_bits(b).astype(int)).__abs__()
        pixels.append([eight_bits(b), difference.astype("uint8")])
    errors = (back - image).abs().flatten(1).double().mean(1)
    return {"pixels": np.array(pixels), "errors": errors.numpy()}


def _write(folder: Path, files: Sequence[str], pixels: np.ndarray) -> None:
    for file, both in zip(files, pixels, strict=True):
        for path, one in zip(_paths(folder, file), both, strict=True):
            save_png(one, path)


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
