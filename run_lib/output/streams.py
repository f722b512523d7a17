"""Standard output and error as the program writes to them: to a terminal with bars and colours, to a pipe by lines.

Whatever is printed, by us, by a plugin or by a library, goes through here, and all of it into the log.

A bar of progress is text that begins with a carriage return and is written over the last one. A terminal is given it
as it is; a pipe and the log are given such a line at most every ``EVERY`` seconds, and the last one of each bar.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from run_lib.output.log import Log, log

EVERY = 30.0
"""Seconds between two lines of progress where they cannot be written over."""
_COLOURS = {"error:": 31, "incomplete:": 31, "stopped by": 31, "warning:": 33, "note:": 36}
"""ECMA-48's colours of lines that begin so: red, yellow, cyan."""
_IMPORTANT = re.compile(r"error:|incomplete:|stopped by |warning:")
_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Stream:
    """One of the two, in place of the interpreter's.

    Args:
        original: the interpreter's.
        log: of what is said.
    """

    def __init__(self, original: TextIO, log: Log) -> None:
        self.original, self.quiet = original, False
        self._log = log
        self._line, self._bar = "", ""
        self._fresh = False  # whether the last bar was not said yet
        self._said = -EVERY
        self._heard = False  # whether the last line was let through, which those that are indented belong to
        self._terminal = _is_terminal(original)
        self._coloured = (
            self._terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def write(self, text: str) -> int:
        with tqdm.get_lock():  # which bars hold while they write
            for piece in re.findall(r"\n|\r[^\r\n]*|[^\r\n]+", text):
                if piece.startswith("\r") or (piece.startswith("\x1b") and not self._line):
                    self._progress(piece)
                elif piece == "\n" and not self._line and self._bar:
                    self._end_of_bar()
                elif piece == "\n":
                    line, self._line = self._line, ""
                    self._whole(line)
                else:
                    self._line += piece
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with tqdm.get_lock():  # which bars hold while they write
            if self._line and self._terminal and not self.quiet:  # a question, which waits for its answer
                self.original.write(self._line)
                self._log.add(self._line)
                self._line = ""
            self.original.flush()

    def _progress(self, text: str) -> None:
        """A bar, which the next one is written over."""
        shown = self._terminal and not self.quiet
        if shown:
            self.original.write(text)
        self._bar = bar = _CODES.sub("", text).strip()
        self._fresh = True
        if bar and time.monotonic() - self._said >= EVERY:
            self._said, self._fresh = time.monotonic(), False
            self._log.add(bar)
            if not (self._terminal or self.quiet):
                self._out(f"{bar}\n")

    def _end_of_bar(self) -> None:
        bar, self._bar = self._bar, ""
        if self._fresh:
            self._log.add(bar)
        if not self.quiet and (self._terminal or self._fresh):
            self._out("\n" if self._terminal else f"{bar}\n")

    def _whole(self, line: str) -> None:
        self._log.add(line)
        if self.quiet and not (_IMPORTANT.match(line) or (self._heard and line[:1] == " ")):
            self._heard = False
            return
        self._heard = True
        colour = next((code for begin, code in _COLOURS.items() if line.startswith(begin)), 0)
        text = f"\x1b[{colour}m{line}\x1b[0m" if colour and self._coloured else line
        # Of an output that nobody takes the whole line is refused, as print has it.
        if self._terminal:
            with tqdm.external_write_mode(file=self):
                self._out(f"{text}\n")
        else:
            self._out(f"{text}\n")

    def _out(self, text: str) -> None:
        self.original.write(text)

    def finish(self) -> None:
        """What is left without its end is said as it is."""
        if self._line:
            self._log.add(self._line)
            if not self.quiet:
                self._out(self._line)
            self._line = ""


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):  # it is closed, or somebody's own
        return False


class Output:
    """The two streams of a process.

    Args:
        log: of what they say.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self._streams: list[Stream] = []

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """A block in which all that is printed goes through here; also the traceback with which it ends.

        Warnings of libraries, about which a user can do nothing, are said in the log alone.
        """
        before, self._streams = (sys.stdout, sys.stderr), []
        self.log.begin(self._complain)
        tqdm.set_lock(threading.RLock())  # without the one that processes share
        wrapped = [self._wrap(stream) for stream in before]
        with warnings.catch_warnings():
            warnings.showwarning = self._hold_back
            sys.stdout, sys.stderr = wrapped
            try:
                yield
            except SystemExit:
                raise
            except BaseException:
                for line in traceback.format_exc().splitlines():
                    self.log.add(line)
                raise
            finally:
                sys.stdout, sys.stderr = before
                with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
                    for stream in self._streams:
                        stream.finish()
                self.log.close()

    @contextlib.contextmanager
    def kept(self, folder: Path | None) -> Iterator[None]:
        """A block whose lines, and those before and after it, are kept in the log of a work directory.

        Args:
            folder: the work directory; None: there is no log.
        """
        if folder is None or os.environ.get("RANK", "0") != "0":
            self.log.close()
            yield
            return
        with self.log.kept(folder, " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])):
            yield

    def be_quiet(self) -> None:
        """From here on only warnings and errors are printed; the log has the rest."""
        for stream in self._streams:
            stream.quiet = True

    def _complain(self, line: str) -> None:
        if self._streams:
            print(line, file=self._streams[-1].original)

    def _wrap(self, stream: TextIO | None) -> Stream | None:
        if stream is None:  # a program without a console
            return None
        self._streams.append(Stream(stream, self.log))
        return self._streams[-1]

    def _hold_back(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self.log.add(f"{filename}:{lineno}: {category.__name__}: {message}")


output = Output(log)
"""Of this process."""
