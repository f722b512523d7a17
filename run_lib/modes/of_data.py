"""The modes of the program that work with data, images and finished runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from run_lib.config.configuration import Configuration
from run_lib.config.mode import Mode, register_mode
from run_lib.processes import Processes

if TYPE_CHECKING:
    from run_lib.config import plans
    from run_lib.config.extractor import ExtractorPlan
    from run_lib.config.preparing import PreparationPlan
    from run_lib.config.scoring import ScorePlan
    from run_lib.run import Run


@register_mode(name="pack")
@dataclass(frozen=True)
class Pack(Mode):
    """Writes a data set as one mapped file for each split, with labels and names; several processes share the work."""

    many_processes: ClassVar[bool] = True
    kept: ClassVar[str] = "the blocks that are written are kept, and the same command writes the rest"

    def plan(self, configuration: Configuration) -> PreparationPlan:
        from run_lib.config import plans

        return plans.preparation(configuration)

    def writes(self, plan: PreparationPlan, run: Run) -> Iterable[Path]:
        return (plan.path or run.folder("packed"),) if Processes.from_environment().is_main else ()

    def work(self, plan: PreparationPlan, run: Run) -> None:
        from run_lib.preparation.pack import pack

        pack(plan, run)


@register_mode(name="stats")
@dataclass(frozen=True)
class Stats(Mode):
    """Measures a data set: classes, levels, moments, the largest distance; several processes share the work."""

    many_processes: ClassVar[bool] = True

    def plan(self, configuration: Configuration) -> PreparationPlan:
        from run_lib.config import plans

        return plans.preparation(configuration)

    def writes(self, plan: PreparationPlan, run: Run) -> Iterable[Path]:
        from run_lib.preparation.stats import parts_folder

        processes = Processes.from_environment()
        if not processes.is_main:
            return ()
        parts = (parts_folder(run),) if processes.world_size > 1 else ()
        if plan.statistics is None:
            return parts
        return (*parts, run.folder(plan.statistics.extraction.folder, "config.eval.features"))

    def work(self, plan: PreparationPlan, run: Run) -> None:
        from run_lib.preparation.stats import stats

        stats(plan, run)


@register_mode(name="score")
@dataclass(frozen=True)
class Score(Mode):
    """Scores images of whatever program against a reference: FID and others; several processes share the work."""

    needs_configuration: ClassVar[bool] = False
    many_processes: ClassVar[bool] = True
    workdir: ClassVar[Path | None] = Path("runs/score")
    kept: ClassVar[str] = "features that are made are kept, and the same command makes the rest"

    def plan(self, configuration: Configuration) -> ScorePlan:
        from run_lib.config import plans

        return plans.scoring(configuration)

    def writes(self, plan: ScorePlan, run: Run) -> Iterable[Path]:
        features = run.folder(plan.scoring.extraction.folder, "config.eval.features")
        folders = (run.folder("score"), features)
        return folders if Processes.from_environment().is_main else ()

    def work(self, plan: ScorePlan, run: Run) -> None:
        from run_lib.pages.page import reported
        from run_lib.scoring.score import score

        with reported(run.workdir):
            score(plan, run)


@register_mode(name="extractor")
@dataclass(frozen=True)
class TrainExtractor(Mode):
    """Trains a small classifier on the labelled data, in whose features sets of images are compared."""

    def plan(self, configuration: Configuration) -> ExtractorPlan:
        from run_lib.config import plans

        return plans.extractor(configuration)

    def writes(self, plan: ExtractorPlan, run: Run) -> Iterable[Path]:
        return () if plan.path else (run.workdir,)

    def work(self, plan: ExtractorPlan, run: Run) -> None:
        from run_lib.preparation.extractor import train_extractor

        train_extractor(plan, run)


@register_mode(name="compare")
@dataclass(frozen=True)
class Compare(Mode):
    """Writes a page of several runs, ``--mode compare RUN RUN ...``: numbers, curves, samples, settings that differ."""

    needs_configuration: ClassVar[bool] = False
    takes_arguments: ClassVar[bool] = True
    logs: ClassVar[bool] = False  # its work directory is wherever one is
    workdir: ClassVar[Path | None] = Path()

    def plan(self, configuration: Configuration) -> plans.ComparisonPlan:
        from run_lib.config import plans

        return plans.comparison(configuration)

    def writes(self, plan: plans.ComparisonPlan, run: Run) -> Iterable[Path]:
        return ()  # a page is one file, and whole at any time

    def work(self, plan: plans.ComparisonPlan, run: Run) -> None:
        from run_lib.pages.compare import compare

        compare(plan.runs, run)
