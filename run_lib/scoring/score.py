"""``--mode score``: images of whatever program against a reference, by the same code as a model's samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from run_lib.evaluation.report import Number, Report
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.scoring.features import FeatureStore
from run_lib.scoring.measuring import Scored
from run_lib.scoring.nearest import show_nearest
from run_lib.scoring.references import open_images, open_reference

if TYPE_CHECKING:
    from run_lib.config.scoring import ScorePlan

FOLDER = "score"
"""In the work directory: the report, and what is not finished."""
LEVELS = 256


def score(plan: ScorePlan, run: Run) -> None:
    """Measure the images, print the numbers and add them to ``score/report.json``.

    Several processes share the images. Numbers that the report has of the same images, reference, extractor and metric
    are not made again.

    Raises:
        ValueError: images or statistics that cannot be read, or do not fit the metrics.
    """
    processes = Processes.from_environment()
    with processes.process_group(), plan.placement.evaluation.used():
        folder = run.folder(FOLDER)
        report = Report(folder / "report.json", processes.is_main)
        processes.barrier()  # until all have read what there is
        images = open_images(plan.samples)
        shape = images.rows.shape
        reference = None if plan.reference is None else open_reference(plan.reference, shape, LEVELS)
        rows = None if reference is None or reference.images is None else reference.images.rows
        scoring = plan.scoring.build(shape, LEVELS, rows, plan.placement.device)
        scoring.check(images.count, reference)
        extraction = plan.scoring.extraction
        key = scoring.key([images.fingerprint], reference)
        if not report.of(0, plan.config_hash, key):
            store = FeatureStore(run.folder(extraction.folder), processes, extraction.batch_size)
            found = scoring.score(images, reference, store, folder / "parts")
            report.add(*(_number(plan, one, key) for one in found))
            if processes.is_main:
                show_nearest(scoring, images, reference, store, LEVELS, folder / "nearest.png")
        else:
            print(f"scoring: nothing is left to do: {report.path} has every number")
        for number in report.of(0, plan.config_hash, key):
            print(f"{number.name:<28} {number}{'   ' + number.note if number.note else ''}")
        protocol = next(iter(report.of(0, plan.config_hash, key))).protocol
        for name, words in protocol.items():
            print(f"  {name}: {words}")
        print(f"report: {report.path}")


def _number(plan: ScorePlan, one: Scored, key: str) -> Number:
    held = one.number
    made = Number(
        one.title, held.value, held.stderr, one.count, held.unit, 0, 0.0, plan.scoring.seed, plan.config_hash, 0,
        held.note, fingerprint=key, arithmetic=plan.placement.evaluation.on(plan.placement.device),
    )  # fmt: skip
    return replace(made, protocol=dict(one.protocol), low=held.low, high=held.high)
