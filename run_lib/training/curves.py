"""The curves of a training: an event file that TensorBoard reads."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch import Tensor

from run_lib.faults import naming

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event


class Curves:
    """An event file, written record by record as they come.

    TensorBoard's own writer works in a thread, where a full disk is noticed late or never. Here it ends the training
    at the step where it happens, and leaves no half of a record.

    Args:
        folder: of all event files of the training.
        purge_step: what earlier files hold of this step and later ones is void.
        written: whether there is a file; else nothing is done.

    Raises:
        ValueError, MachineError: as for ``naming``.
    """

    def __init__(self, folder: Path, purge_step: int, *, written: bool = True) -> None:
        self._file: io.FileIO | None = None
        if not written:
            return
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / name
        with naming(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = file = self.path.open("ab", buffering=0)
        try:
            self._begin(purge_step)
        except BaseException:
            file.close()
            raise

    def _begin(self, purge_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """A point of a curve."""
        from torch.utils.tensorboard.summary import scalar

        self._add(scalar(tag, value), step)

    def add_text(self, tag: str, text: str, step: int) -> None:
        """A text, as markdown."""
        from torch.utils.tensorboard.summary import text as summary

        self._add(summary(tag, text), step)

    def add_image(self, tag: str, pixels: Tensor, step: int) -> None:
        """A picture, uint8 (3, H, W)."""
        from torch.utils.tensorboard.summary import image

        self._add(image(tag, pixels, dataformats="CHW"), step)

    def _add(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(summary=summary, step=step))

    def _write(self, event: Event) -> None:
        if self._file is None:
            return
        from tensorboard.summary.writer.record_writer import RecordWriter

        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        whole = self._file.seek(0, os.SEEK_END)
        with naming(self.path):
            try:
                rest = memoryview(record.getvalue())
                while rest:  # a disk that is nearly full takes a part and says so the next time
                    rest = rest[self._file.write(rest) or 0 :]
            except OSError:
                self._file.truncate(whole)
                raise
