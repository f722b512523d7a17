"""What showing a run needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from run_lib.computing.numerics import AS_THEY_ARE, Compilation
from run_lib.config.configuration import Configuration
from run_lib.config.sampling import SamplingPlan
from run_lib.config.subject import Subject
from run_lib.config.sweep import Candidate, Change
from run_lib.config.tuning import plan_changed
from samplers.pc import PCSampler

MOST_STEPS = 2000
"""That a page may ask for."""


@dataclass(frozen=True)
class ShowPlan:
    """What showing a run needs.

    Attributes:
        sampling: of the configuration as it is.
        values: the configuration as plain data, from which what is asked for is planned.
        steps: of the sampler; None: the configuration says at which levels it stops, and no other number can be asked.
        snr: of the corrector; None: it has none.
    """

    sampling: SamplingPlan
    values: Mapping[str, Any]
    steps: int | None
    snr: float | None

    def asked(self, subject: Subject, steps: int | None, snr: float | None) -> SamplingPlan:
        """The plan with other numbers, of the same network.

        Args:
            subject: whose network it is.
            steps, snr: None: as the configuration has it.

        Raises:
            ValueError: the sampler cannot have them.
        """
        given = (("num_steps", steps), ("snr", snr))
        changes = tuple(Change(field, value) for field, value in given if value is not None)
        compiled: Compilation = self.sampling.subject.placement.sampling.compiled
        return plan_changed(self.values, Candidate(changes), compiled or AS_THEY_ARE, subject)


def plan_showing(configuration: Configuration, sampling: SamplingPlan) -> ShowPlan:
    """See what can be asked for.

    Raises:
        ValueError: a sampler whose steps cannot be followed.
    """
    section = configuration.values.sampling
    if not isinstance(sampling.sampler, PCSampler):
        raise ValueError(
            f"--mode show follows a sampler step by step, and sampling.method={section.method!r} takes its steps as "
            f"its tolerances have them: set sampling.method='pc'."
        )
    corrector = configuration.choose("corrector")
    return ShowPlan(
        sampling,
        configuration.plain(),
        None if section.respacing is not None or sampling.stored_grid else len(sampling.sampler.times),
        float(corrector.value("snr")) if "snr" in corrector.takes else None,
    )
