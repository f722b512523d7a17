"""What a mode of the program is."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sde_lib.registry import Registry

if TYPE_CHECKING:
    from run_lib.config.configuration import Configuration
    from run_lib.run import Run


class Mode(abc.ABC):
    """One kind of work, ``--mode NAME``. Implementations are frozen dataclasses of their settings, ``config.mode``.

    Attributes:
        needs_configuration: whether ``--config`` must be given; otherwise ``configs/base.py`` is taken without it.
        takes_arguments: whether words may follow the flags; otherwise they are refused.
        many_processes: whether torchrun may start it as several processes.
        uses_workdir: whether it works in the work directory, which is made. What others print is their result, which
            ``--quiet`` does not hold back.
        tells: whether what was chosen by ``auto`` is part of what it prints, and not said before.
        logs: whether what it says is kept in the work directory, ``log.txt``, where it works there.
        workdir: the work directory where none is named; None: one of the configuration's name.
        kept: what an interruption leaves and how to go on, as a sentence without its full stop.
    """

    needs_configuration: ClassVar[bool] = True
    takes_arguments: ClassVar[bool] = False
    many_processes: ClassVar[bool] = False
    uses_workdir: ClassVar[bool] = True
    logs: ClassVar[bool] = True
    tells: ClassVar[bool] = False
    workdir: ClassVar[Path | None] = None
    kept: ClassVar[str] = "the same command begins anew"

    @abc.abstractmethod
    def plan(self, configuration: Configuration) -> Any:
        """What the work needs, built and checked: a frozen dataclass."""

    @abc.abstractmethod
    def work(self, plan: Any, run: Run) -> None:
        """Do it. Nothing reads the configuration any more."""

    def writes(self, plan: Any, run: Run) -> Iterable[Path]:
        """The folders that it writes to, which no two runs do at a time; the whole work directory unless declared.

        Modes that write to different folders may run beside one another, such as an evaluation beside a training.
        """
        return (run.workdir,) if self.uses_workdir else ()


register_mode: Registry[type[Mode]] = Registry("mode")
