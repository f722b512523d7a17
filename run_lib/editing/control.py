"""``--mode control``: restores measured images, edits images, and interpolates between them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from run_lib.config.editing import MOST_SAMPLES, ControlPlan, Interpolation
from run_lib.data.classes import numbered
from run_lib.data.images import Fitting
from run_lib.data.inputs import Inputs, Skipped, image_labels, load, open_inputs
from run_lib.editing.interpolation import interpolations
from run_lib.editing.lost_results import LostResult, report_results, skipped_in, skipped_of
from run_lib.editing.output_folder import check_apart
from run_lib.editing.restorations import Restoration
from run_lib.editing.result_files import Cost, ResultFiles
from run_lib.evaluation.fidelity import fidelity
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import batches
from run_lib.seeds import Use, stream_seed
from run_lib.sharing.parts import Part, Parts
from run_lib.tuning.stored_grids import with_stored_grid
from samplers.pc import PCSampler
from sde_lib.finite import NotFiniteError, finite_rows
from sde_lib.noise import Noise

SECTION = "config.control"


def control(plan: ControlPlan, run: Run) -> None:
    """Write the results of ``config.control``, a picture of them beside their inputs, and ``report.json``.

    Result k of an image is a function of (seed, the image's place in the input, k). Unreadable images are left
    out and listed, and make the exit status 1. So are results that are not finite, and make it 3.
    """
    with Processes.from_environment().process_group():
        folder = output_folder(plan, run)
        check_apart(plan.settings.input, folder, SECTION)
        inputs = _checked_inputs(plan)
        lost: list[LostResult] = []
        if isinstance(plan.work, Interpolation):
            skipped = interpolations(plan, plan.work, run, inputs, folder, lost)
        else:
            skipped = _restore_all(plan, plan.work, run, inputs, folder, lost)
        report_results(skipped, len(inputs), lost)


def output_folder(plan: ControlPlan, run: Run) -> Path:
    """The folder of the results: ``control.output``, or one of the task's and the method's in the work directory."""
    settings = plan.settings
    restores = not isinstance(plan.work, Interpolation) and settings.method
    kind = f"{settings.task}/{settings.method}" if restores else settings.task
    return Path(settings.output) if settings.output else run.folder(f"control/{kind}")


def _checked_inputs(plan: ControlPlan) -> Inputs:
    """The images of ``control.input``.

    Raises:
        ValueError: the model cannot take them.
    """
    settings, sampling = plan.settings, plan.sampling
    inputs = open_inputs(
        settings.input,
        f"{SECTION}.input",
        sampling.data,
        Fitting(settings.resize, settings.convert),
        settings.num_images,
        sampling.device,
    )
    labels = image_labels(sampling.num_classes, inputs, range(len(inputs)), SECTION, settings.label)
    if "low_res" in sampling.task.conditions(torch.zeros(1, *sampling.data.shape), labels[:1]):
        raise ValueError(
            "training.task='superres' is told a small image of what it makes, so there is nothing to restore: take "
            "a model of training.task='diffusion'."
        )
    return inputs


def _restore_all(
    plan: ControlPlan,
    restoration: Restoration,
    run: Run,
    inputs: Inputs,
    folder: Path,
    lost: list[LostResult],
) -> Sequence[Skipped]:
    """Restore every readable image ``control.samples`` times; returns the images that could not be read.

    What is not finite is added to ``lost``.
    """
    settings, sampling = plan.settings, plan.sampling
    units = [(row, number) for row in range(len(inputs)) for number in range(settings.samples)]
    skipped: dict[str, Skipped] = {}
    weights = run.weights(sampling.subject)
    plan, inputs, restoration = numbered((plan, inputs, restoration), weights.numbering)
    sampling = plan.sampling
    placed = with_stored_grid(sampling, run.stored_grids(), weights).sampler
    if sampling.stored_grid and isinstance(placed, PCSampler):
        restoration = restoration.with_times(placed.times)
    facts = {**plan.facts, "step": weights.step}
    processes = Processes.from_environment()
    parts = Parts.unfinished(folder, "results", processes)
    with processes.main_first():
        files = ResultFiles(
            folder,
            f"{SECTION}.output",
            sampling.data.shown,
            inputs.names,
            digits=len(str(settings.samples - 1)) if settings.samples > 1 else 0,
            most_rows=max(1, sampling.settings.grid_size // settings.samples),
        )
        if processes.is_main:
            files.begin(facts, settings.samples)

    def compute(some: range) -> Part:
        batch = [units[at] for at in some]
        loaded = load(inputs, list(dict.fromkeys(row for row, _ in batch)))
        where = {row: place for place, row in enumerate(loaded.rows)}
        batch = [(row, number) for row, number in batch if row in where]
        if not batch:
            return {**skipped_in(loaded.skipped), **_nothing()}
        images = loaded.images[[where[row] for row, _ in batch]].to(sampling.device)
        return {**skipped_in(loaded.skipped), **_restore(plan, inputs, restoration, batch, images)}

    todo = list(batches(len(units), sampling.settings.batch_size))
    names = None if processes.is_main else ("lost", "skipped", "reasons")
    with weights.averaged(), sampling.arithmetic.used(), parts.until_written(anew=True):
        for part in parts.each(settings.task, todo, compute, names=names):
            skipped.update((one.image, one) for one in skipped_of(part))
            lost += [LostResult(inputs.names[row], number) for row, number in part["lost"].tolist()]
            if processes.is_main:
                _write(files, inputs.names, part)
        if processes.is_main:
            files.finish(facts, list(skipped.values()))
    return list(skipped.values())


def _nothing() -> Part:
    """Of a batch without results."""
    none = np.zeros((0, 2), dtype=np.int64)
    return {"results": none, "lost": none}


def _restore(
    plan: ControlPlan,
    inputs: Inputs,
    restoration: Restoration,
    batch: Sequence[tuple[int, int]],
    x: torch.Tensor,
) -> Part:
    """The results of a batch that are finite, with their costs, what they are of, and which are lost.

    Args:
        batch: (row of the image, number of the result) of each.
        x: the image of each, (B, C, H, W).
    """
    rows, sampling = [row for row, _ in batch], plan.sampling
    labels = image_labels(sampling.num_classes, inputs, rows, SECTION, plan.settings.label)
    streams = [row * MOST_SAMPLES + number for row, number in batch]
    # One noise stream for each image, so that all its results have the same measurement.
    y = restoration.measure(x, Noise(stream_seed(sampling.seed, Use.MEASUREMENT), rows, sampling.device))
    noise = Noise(stream_seed(sampling.seed, Use.CONTROL), streams, sampling.device)
    started, pullbacks = time.perf_counter(), restoration.pullbacks
    try:
        result = restoration.restore(y, noise, **sampling.task.conditions(x, labels))
    except NotFiniteError as error:
        bad = sorted(set(error.rows))
        kept = [place for place in range(len(batch)) if place not in bad]  # each depends on itself alone
        some = [batch[place] for place in kept]
        rest = _restore(plan, inputs, restoration, some, x[kept]) if kept else _nothing()
        lost = np.array([batch[place] for place in bad], dtype=np.int64).reshape(-1, 2)
        return {**rest, "lost": np.concatenate([lost, rest["lost"]])}
    each, finite = (time.perf_counter() - started) / len(batch), finite_rows(result.x).cpu()
    residual, shown = restoration.residual(result.x, y), restoration.shown(y)
    units, good = np.array(batch, dtype=np.int64), finite.numpy()
    found = {"x": result.x, "images": x, "shown": shown, "residuals": residual}
    return {
        "results": units[good],
        "lost": units[~good],
        "nfe": np.array(result.nfe),
        "pullbacks": np.array(restoration.pullbacks - pullbacks),
        "each": np.array(each),
        **{name: value.cpu()[finite].numpy() for name, value in found.items() if value is not None},
    }


def _write(files: ResultFiles, names: Sequence[str], part: Part) -> None:
    """Write the results of a batch, with what they are of."""
    if not len(part["results"]):
        return
    cost = Cost(int(part["nfe"]), int(part["pullbacks"]), float(part["each"]))
    for place, (row, number) in enumerate(part["results"].tolist()):
        image, x = (torch.from_numpy(part[name][place]) for name in ("images", "x"))
        seen = torch.from_numpy(part["shown"][place]) if "shown" in part else None
        distance = float(part["residuals"][place]) if "residuals" in part else None
        data, name = files.data, names[row]
        baseline = None if seen is None else fidelity(data.intensity(seen), data.intensity(image))
        files.row(name, [image] if seen is None else [image, seen], [], baseline)
        files.add(name, x, image, distance, cost, number)
