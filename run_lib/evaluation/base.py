"""What an evaluation of checkpoints is."""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sde_lib.registry import Registry

if TYPE_CHECKING:
    from run_lib.config.evaluation import EvaluationPlan
    from run_lib.evaluation.task import CheckpointTask
    from run_lib.run import Run


class Evaluation(abc.ABC):
    """Numbers of a checkpoint, switched on by ``eval.enable_NAME``.

    Implementations are frozen dataclasses of their settings, which are fields of ``config.eval``.

    Attributes:
        of_classifiers: whether it is an evaluation of what a classifier is for.
    """

    of_classifiers: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self, plan: EvaluationPlan) -> None:
        """Refuse what cannot be done, before any work.

        Raises:
            ValueError: what is evaluated lacks something; the message says what to change.
        """

    def splits(self, plan: EvaluationPlan) -> Collection[str]:
        """The splits of the data set that its numbers depend on; all, unless it says otherwise."""
        return ("train", "test")

    def needs(self, plan: EvaluationPlan) -> Collection[str]:
        """The splits without which it is left out; those that it depends on, unless it says otherwise."""
        return self.splits(plan)

    def writes(self, run: Run) -> Iterable[Path]:
        """The folders that it writes to beside that of the evaluation, which no two runs do at a time.

        Raises:
            ValueError: a setting names one outside the work directory.
        """
        return ()

    @abc.abstractmethod
    def evaluate(self, task: CheckpointTask) -> None:
        """Add the numbers of one checkpoint to ``task.report``, except for those that it has already."""


register_evaluation: Registry[type[Evaluation]] = Registry("evaluation")
"""Evaluations by name. The name ``x`` is switched on by ``eval.enable_x``."""
