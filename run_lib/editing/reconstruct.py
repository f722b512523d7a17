"""Images to noise and back, and how far from themselves they return (DIRE, Wang et al. 2023)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from run_lib.config.experiment import Experiment
from run_lib.data.images import Fitting
from run_lib.data.inputs import (
    Inputs,
    Skipped,
    finish,
    image_labels,
    load,
    open_inputs,
    output_names,
)
from run_lib.editing.error_table import ErrorTable
from run_lib.editing.output_folder import claim
from run_lib.files import write_json
from run_lib.fingerprint import fingerprint
from run_lib.pictures import eight_bits, save_png
from run_lib.run import Run
from run_lib.sample import batches

SECTION = "config.reconstruct"
DECIDING = ("data", "model", "guidance", "sampling", "reconstruct", "plugins")
"""Parts of a configuration on which reconstructions depend; of training, the process alone."""
_NO_EFFECT = {
    "sampling": {"num_samples", "batch_size", "seed", "grid_size", "trajectory", "predictor", "corrector"},
    "reconstruct": {"output", "num_images", "batch_size"},
}
"""Fields of them on which none depends."""


def reconstruct(run: Run) -> None:
    """Write each image's reconstruction and |difference| as PNG, and ``table.csv`` of (image, error).

    The error is the mean of |reconstruction - image| over pixels and channels, in units of white, before
    either is rounded to 8 bits. What is done already is left as it is; unreadable images are listed, and make the
    exit status 1.
    """
    e, settings = run.experiment, run.experiment.edits.reconstruct
    folder = Path(settings.output or run.workdir / "reconstruct")
    inputs = _checked_inputs(e, folder)
    inversion = e.edits.inversion(
        e.sampler.model,
        SECTION,
        method=settings.method,
        num_steps=settings.num_steps,
        noise_removal=settings.noise_removal,
    )
    state = run.trained_state()
    started, nfe = time.perf_counter(), 0
    skipped: list[Skipped] = []
    with state.ema.average(e.network), torch.no_grad():
        claim(folder, f"{SECTION}.output", _settings(e))
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
            x = loaded.images.to(e.device)
            cond = e.task.conditions(
                x, image_labels(e.num_classes, inputs, loaded.rows, SECTION, settings.label)
            )
            encoded = inversion.encode(x, **cond)
            decoded = inversion.decode(encoded.x, **cond)
            nfe = encoded.nfe + decoded.nfe
            errors = _write(e, folder, [files[row] for row in loaded.rows], x, decoded.x)
            table.add([inputs.names[row] for row in loaded.rows], errors)
        table.sort(inputs.names)
    _report(
        run,
        folder,
        table,
        inputs,
        {"nfe": nfe, "seconds": time.perf_counter() - started},
        skipped,
        state.step,
    )
    finish(skipped, len(inputs))


def _checked_inputs(e: Experiment, folder: Path) -> Inputs:
    """The images.

    Raises:
        ValueError: none are named, the model cannot take them, or the output would be among them.
    """
    settings = e.edits.reconstruct
    if not e.task.generates:
        raise ValueError(
            "a classifier reconstructs nothing: take a configuration whose training.task generates."
        )
    if not settings.input:
        raise ValueError(
            f"which images? Set --{SECTION}.input to a folder, an .npz, or test for the test split."
        )
    source = Path(settings.input).resolve()
    if source.is_dir() and folder.resolve().is_relative_to(source):
        raise ValueError(
            f"the output {folder} lies in {SECTION}.input={settings.input}, so it would be read as input next "
            f"time: take another folder by --{SECTION}.output."
        )
    inputs = open_inputs(
        settings.input,
        f"{SECTION}.input",
        e.data,
        Fitting(settings.resize, settings.convert),
        settings.num_images,
    )
    image_labels(e.num_classes, inputs, range(len(inputs)), SECTION, settings.label)
    return inputs


def _paths(folder: Path, file: str) -> tuple[Path, Path]:
    return folder / "reconstruction" / file, folder / "difference" / file


def _written(folder: Path, file: str) -> bool:
    return all(path.is_file() for path in _paths(folder, file))


def _write(e: Experiment, folder: Path, files: Sequence[str], x: Tensor, back: Tensor) -> list[float]:
    if not bool(back.isfinite().all()):
        raise ValueError(
            "the reconstruction is not finite: the model's output is not, or too few steps diverge; try more "
            "steps."
        )
    image, back = e.data.intensity(x).cpu(), e.data.intensity(back).clamp(0, 1).cpu()
    for file, a, b in zip(files, image, back, strict=True):
        reconstruction, difference = _paths(folder, file)
        save_png(eight_bits(b), reconstruction)
        # Of the rounded images: an input of 8 bits, its reconstruction and their difference agree to the bit.
        rounded = (eight_bits(a).astype(int) - eight_bits(b).astype(int)).__abs__()
        save_png(rounded.astype("uint8"), difference)
    errors: list[float] = (back - image).abs().flatten(1).double().mean(1).tolist()
    return errors


def _settings(e: Experiment) -> dict[str, object]:
    """All on which a reconstruction depends."""
    parts: dict[str, Any] = {}
    for section in DECIDING:
        value, ignored = e.config[section], _NO_EFFECT.get(section)
        parts[section] = {k: v for k, v in value.items() if k not in ignored} if ignored else value
    source = e.edits.reconstruct.input
    where = source if source in ("test", "train") else str(Path(source).resolve())
    return {
        **parts,
        "reconstruct": {**parts["reconstruct"], "input": where},
        "training": {name: e.config["training"][name] for name in ("sde", "continuous")},
        "weights": fingerprint(e.network),
    }


def _report(
    run: Run,
    folder: Path,
    table: ErrorTable,
    inputs: Inputs,
    cost: dict[str, float],
    skipped: Sequence[Skipped],
    step: int,
) -> None:
    errors = [table[name] for name in inputs.names if name in table]
    mean = sum(errors) / max(len(errors), 1)
    write_json(
        folder / "report.json",
        {
            "count": len(errors),
            "mean_error": mean,
            **cost,
            "step": step,
            "config_hash": run.experiment.config_hash,
            "skipped": [{"image": s.image, "reason": s.reason} for s in skipped],
        },
    )
    print(
        f"{len(errors)} images, mean |difference| {mean:.5f} of white\n"
        f"  reconstructions  {folder / 'reconstruction'}\n  differences      {folder / 'difference'}\n"
        f"  table            {folder / 'table.csv'}"
    )
