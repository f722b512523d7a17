"""Statistics of the features of data, as references of ``--mode score`` and of other programs."""

from __future__ import annotations

from pathlib import Path

from run_lib.config.preparing import PreparationPlan
from run_lib.data.facts import place_of
from run_lib.extractors.base import Extractor
from run_lib.fingerprint import of_split
from run_lib.metrics.base import Output
from run_lib.metrics.moments import Moments
from run_lib.processes import Processes
from run_lib.references.statistics import ABOUT, write_score_sde, write_statistics
from run_lib.run import Run
from run_lib.scoring.features import FeatureStore, Images

FOLDER = "statistics"


def statistics(plan: PreparationPlan, run: Run, processes: Processes) -> None:
    """Write the statistics of each split by each extractor that is asked for, ours and in score_sde's form.

    Raises:
        ValueError: weights that are missing, images that an extractor does not take.
    """
    if plan.statistics is None:
        return
    data, extraction = plan.data, plan.statistics.extraction
    store = FeatureStore(run.folder(extraction.folder), processes, extraction.batch_size)
    train = data.load("train")
    built = extraction.build(data.shape, data.levels, train.rows, plan.statistics.placement.device)
    folder = place_of(plan.root).parent / FOLDER
    for split in ("train", "test"):
        if not data.has(split):
            continue
        images = Images.of_split(data.load(split), f"the {split} split of {data.name}", of_split(data, split))
        for name, extractor in built.items():
            with plan.statistics.placement.evaluation.used():
                _write(images, name, extractor, store, folder / f"{data.name}_{split}_{name}", processes)


def _write(
    images: Images, name: str, extractor: Extractor, store: FeatureStore, path: Path, processes: Processes
) -> None:
    outputs = tuple(extractor.dimensions)
    view = store.view(images, extractor, outputs)
    if not processes.is_main:
        return
    moments: dict[Output, Moments] = {o: view.moments(o) for o in outputs if o != "logits"}
    ours = path.with_name(f"{path.name}.npz")
    write_statistics(ours, name, moments, {ABOUT: images.title, **extractor.protocol}, images.labels)
    theirs = path.with_name(f"{path.name}_stats.npz")
    write_score_sde(theirs, view.rows("features"), view.rows("logits") if "logits" in outputs else None)
    print(f"statistics: {ours}\n            {theirs} (as score_sde has them)")
