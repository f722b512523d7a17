"""One checkpoint under evaluation, and what its tasks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from run_lib.evaluation.likelihood_errors import Spread
from run_lib.evaluation.report import Number, Report
from run_lib.files import atomic
from run_lib.processes import Processes
from run_lib.sample import NOT_FINITE, LostSamplesError, batches
from run_lib.sharing.parts import Finds, Part, Parts, joined
from run_lib.training.state import Weights

if TYPE_CHECKING:
    from run_lib.config.evaluation import EvaluationPlan


@dataclass(frozen=True)
class CheckpointTask:
    """One checkpoint under evaluation.

    ``parts`` holds what each batch gave, so that an interrupted evaluation goes on where it stopped. ``fingerprint``
    is that of all that its numbers depend on.
    """

    plan: EvaluationPlan
    weights: Weights
    report: Report
    parts: Path
    processes: Processes = field(default_factory=Processes)
    fingerprint: str = ""

    @property
    def step(self) -> int:
        """Of the checkpoint."""
        return self.weights.step

    @property
    def arithmetic(self) -> str:
        """In which networks are evaluated, and where."""
        placement = self.plan.subject.placement
        return placement.evaluation.on(placement.device)

    @property
    def config_hash(self) -> str:
        return self.plan.subject.record.hash

    def has(self, name: str) -> bool:
        """Whether the report has the number already."""
        return self.report.has(name, self.step, self.config_hash, self.fingerprint)

    @property
    def workdir(self) -> Path:
        """Of the run."""
        return self.report.path.parents[1]

    def has_measured(self, key: str) -> bool:
        """Whether the report has the numbers of a measurement, by the key in their protocols."""
        numbers = self.report.of(self.step, self.config_hash, self.fingerprint)
        return any(number.protocol.get("key") == key for number in numbers)

    def lose(self, name: str, reasons: dict[int, str], what: str = "image") -> None:
        """Say in the report which images or samples, by index, are missing from a number and why."""
        self.report.lose(name, self.step, self.config_hash, reasons, self.fingerprint, what)

    def lose_rows(self, name: str, data: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Say which images are missing from a number that is a mean over images; returns whether each is in it.

        Args:
            name: of the number.
            data: whether each image is finite, (N,).
            values: of each image, (N, ...).
        """
        good: np.ndarray = data & np.isfinite(values).reshape(len(values), -1).all(1)
        reasons = {
            int(i): NOT_FINITE if data[i] else "the image holds NaN or infinite values; mend or remove it."
            for i in np.flatnonzero(~good)
        }
        if reasons:
            self.lose(name, reasons)
        return good

    def samples(
        self, compute: Callable[[], dict[str, np.ndarray]], like: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """What a batch of samples gave, with ``lost``, the indices of those that are not finite.

        Args:
            compute: draws the samples.
            like: what it would give of no samples: a batch with lost samples gives no others.
        """
        try:
            return {**compute(), "lost": np.zeros(0, dtype=np.int64)}
        except LostSamplesError as error:
            return {**like, "lost": np.array(error.indices, dtype=np.int64)}

    def lose_samples(self, name: str, lost: np.ndarray) -> bool:
        """Say which samples are missing, and whether any is: then there is nothing to measure."""
        if lost.size:
            self.lose(name, dict.fromkeys(lost.tolist(), NOT_FINITE), what="sample")
        return bool(lost.size)

    def number(
        self,
        name: str,
        value: float,
        stderr: float | None,
        *,
        count: int,
        unit: str,
        nfe: float = 0,
        seconds: float = 0,
        note: str = "",
        errors: Spread | None = None,
    ) -> Number:
        number = Number(
            name, value, stderr, count, unit, nfe, seconds, self.plan.seed, self.config_hash, self.step, note,
            fingerprint=self.fingerprint,
            arithmetic=self.arithmetic,
        )  # fmt: skip
        if errors is None:
            return number
        return replace(
            number, stderr_images=errors.images, stderr_draws=errors.draws, stderr_probes=errors.probes
        )

    def save(self, name: str, **arrays: Any) -> None:
        """Arrays beside the report, written by the first process."""
        if self.processes.is_main:
            with atomic(self.report.path.parent / name) as partial, partial.open("wb") as file:
                np.savez(file, **arrays)

    def batches(
        self,
        name: str,
        total: int,
        size: int,
        compute: Callable[[range], dict[str, np.ndarray]],
        enough: Callable[[dict[str, np.ndarray]], bool] | None = None,
        finds: Finds | None = None,
    ) -> dict[str, np.ndarray]:
        """All batches of a task, joined; ``seconds`` is their sum. Processes share them.

        With ``enough`` they stop after the first batch that makes it true of those before it and itself:
        what other processes have computed beyond it is not used, so that the result is that of one process.
        """
        shared, found = Parts(self.parts, self.processes), list[Part]()
        # Without an end to look for nobody waits before all is done.
        for part in shared.each(
            name, list(batches(total, size)), compute, by_turns=enough is not None, finds=finds
        ):
            found.append(part)
            if enough is not None and enough(joined(found)):
                break
        return joined(found)
