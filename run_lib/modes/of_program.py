"""The modes of the program that tell about itself and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from run_lib.config.configuration import Configuration
from run_lib.config.mode import Mode, register_mode

if TYPE_CHECKING:
    from run_lib.run import Run


@register_mode(name="list")
@dataclass(frozen=True)
class List(Mode):
    """Prints what can be chosen, or one component's settings: ``--mode list``, ``--mode list unipc``."""

    needs_configuration: ClassVar[bool] = False
    takes_arguments: ClassVar[bool] = True
    uses_workdir: ClassVar[bool] = False

    def plan(self, configuration: Configuration) -> str:
        from run_lib.config.listing import listing

        return listing(configuration.arguments)

    def work(self, plan: str, run: Run) -> None:
        print(plan)


@register_mode(name="completion")
@dataclass(frozen=True)
class Completion(Mode):
    """Prints a script by which a shell completes command lines: ``--mode completion bash``, or ``zsh``."""

    needs_configuration: ClassVar[bool] = False
    takes_arguments: ClassVar[bool] = True
    uses_workdir: ClassVar[bool] = False

    def plan(self, configuration: Configuration) -> str:
        from run_lib.config.completing import script

        return script(configuration.arguments)

    def work(self, plan: str, run: Run) -> None:
        print(plan)


@register_mode(name="doctor")
@dataclass(frozen=True)
class Doctor(Mode):
    """Prints versions, devices, threads, free memory and disk, and what is wrong with them."""

    needs_configuration: ClassVar[bool] = False
    uses_workdir: ClassVar[bool] = False
    workdir: ClassVar[Path | None] = Path("runs")

    def plan(self, configuration: Configuration) -> None:
        """Nothing: it looks at the work directory alone."""

    def work(self, plan: None, run: Run) -> None:
        from run_lib.doctor.facts import gather
        from run_lib.doctor.report import report

        print(report(gather(run.workdir)))
