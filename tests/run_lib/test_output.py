"""What the program says on a terminal, in a pipe and in its log: bars, colours, ``--quiet``, and what is left to do."""

from __future__ import annotations

import ast
import contextlib
import errno
import io
import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from run_lib.output import progress, streams
from run_lib.output.log import FILE, Log
from run_lib.output.progress import Progress, within_unit
from run_lib.output.streams import Output
from tests.run_lib.program import ROOT, TINY, program, run

SPEAKS = """
    import sys, time
    from run_lib.output import progress
    from run_lib.output.progress import Progress
    from run_lib.output.streams import output
    progress.DELAY = 0.05
    with output.told():
        with Progress("counting", 4, "step") as bar:
            for k in bar.over(range(4)):
                time.sleep(0.15)
                bar.say(loss=k / 2)
                if k == 1:
                    print("warning: half of it", file=sys.stderr)
                    print("plain")
        print("error: the end", file=sys.stderr)
"""
"""A work of 0.6 s, which is more than the delay before anything is shown."""
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "


def in_a_terminal(**environment: str) -> str:
    """What a pseudo-terminal shows of both streams."""
    import pty

    main, other = pty.openpty()
    told = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    told = {key: value for key, value in told.items() if value}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SPEAKS)], stdin=other, stdout=other, stderr=other, env=told
    )
    os.close(other)
    found = b""
    with contextlib.suppress(OSError):  # that is how its end is told
        while part := os.read(main, 4096):
            found += part
    os.close(main)
    assert child.wait() == 0, found
    return found.decode().replace("\r\n", "\n")


def test_a_terminal_has_a_bar_with_rate_time_left_and_loss() -> None:
    """It is written over, lines between are whole, and the last bar stays."""
    shown = in_a_terminal(NO_COLOR="")
    bars = [part for part in shown.split("\r") if part.startswith("counting")]
    assert len(bars) >= 3
    assert re.search(r"2/4 \[00:00<00:00, +\d+\.\d+step/s, loss=0\.5\]", shown), shown
    assert re.search(r"4/4 \[.*loss=1\.5\]\n", shown), shown
    assert "\r\x1b[33mwarning: half of it\x1b[0m\n" in re.sub(r"\r +\r", "\r", shown)
    assert "\x1b[31merror: the end\x1b[0m\n" in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"NO_COLOR": "", "TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(environment: dict[str, str]) -> None:
    shown = in_a_terminal(**environment)
    assert "error: the end\n" in shown
    assert "\x1b[3" not in shown


def test_a_pipe_has_whole_lines() -> None:
    """One of progress at the beginning (30 s would bring the next), one at the end; no returns, no colours."""
    told = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(SPEAKS)]
    done = subprocess.run(command, capture_output=True, env=told, check=True)
    assert b"\r" not in done.stderr
    assert b"\x1b" not in done.stderr
    lines = done.stderr.decode().splitlines()
    assert [re.sub(r"[:%].*", "", line) for line in lines] == ["counting", "warning", "counting", "error"]
    assert "4/4" in lines[2]
    assert done.stdout == b"plain\n"


@contextlib.contextmanager
def heard(quiet: bool = False) -> Iterator[tuple[Output, io.StringIO, io.StringIO]]:
    """Streams of this process as pipes; what they were given."""
    out, err, spoken = io.StringIO(), io.StringIO(), Output(Log())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), spoken.told():
        if quiet:
            spoken.be_quiet()
        yield spoken, out, err


def test_lines_of_progress_are_seconds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's bar too: at 0, 10, ... 100 s those of 0, 30, 60 and 90 s are said, and the last one."""
    clock = [0.0]
    monkeypatch.setattr(streams.time, "monotonic", lambda: clock[0])
    with heard() as (_, _, err):
        for clock[0] in range(0, 101, 10):
            sys.stderr.write(f"\rfetching {int(clock[0])} %  ")
        sys.stderr.write("\n")
    assert err.getvalue().splitlines() == [f"fetching {k} %" for k in (0, 30, 60, 90, 100)]
    with heard() as (_, _, err):
        sys.stderr.write("\rall of it\n")  # the first is the last
    assert err.getvalue() == "all of it\n"


def test_a_bar_that_is_wiped_off_is_not_said_later() -> None:
    with heard() as (_, _, err):
        sys.stderr.write("\r1 of 2\r2 of 2\r      \r")
        print("\nnext", file=sys.stderr)
    assert err.getvalue() == "1 of 2\n\nnext\n"


def test_short_work_shows_nothing() -> None:
    with heard() as (_, _, err), Progress("short", 2) as bar:
        for _ in bar.over(range(2)):
            within_unit(0.5)
    assert err.getvalue() == ""


def test_a_share_of_a_unit_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the second of two: 1.5, and never back; then 2."""
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with heard(), Progress("sampling", 2, "batch") as bar:
        bar.add()
        for share, place in ((0.5, 1.5), (0.25, 1.5), (1.0, 2.0)):
            within_unit(share)
            assert bar._bar.n == place
        bar.add()
        assert (bar.done, bar._bar.n) == (2, 2)


def test_quiet_has_warnings_and_errors_alone(tmp_path: Path) -> None:
    """With the lines that belong to them; the log has all, from before its beginning too."""
    with heard(quiet=True) as (spoken, out, err):
        print("told before")
        with spoken.kept(tmp_path):
            (tmp_path / "result").touch()
            print("a result")
            print("note: of no weight\n  nor this\nwarning: two files\n  a.png\n  b.png", file=sys.stderr)
        print("error: after it", file=sys.stderr)
    assert out.getvalue() == ""
    assert err.getvalue() == "warning: two files\n  a.png\n  b.png\nerror: after it\n"
    lines = (tmp_path / FILE).read_text().splitlines()
    assert all(re.match(STAMP, line) for line in lines)
    said = [re.sub(STAMP, "", line) for line in lines]
    assert said[0].startswith("$ ")
    assert said[1:] == ["told before", "a result", "note: of no weight", "  nor this", "warning: two files",
                        "  a.png", "  b.png", "error: after it"]  # fmt: skip


def test_a_log_is_appended_to_and_one_alone_is_removed(tmp_path: Path) -> None:
    """A new work directory in which nothing else was written is as it was; an old one keeps every run."""
    new = tmp_path / "a/b"
    for folder, kept in ((new, False), (tmp_path, True), (tmp_path, True)):
        with heard() as (spoken, _, _), spoken.kept(folder):
            print("said")
            if kept:
                (folder / "result").touch()
        assert (folder / FILE).exists() == kept
    assert not (tmp_path / "a").exists()
    assert (tmp_path / FILE).read_text().count("  said\n") == 2


def test_a_full_disk_ends_the_log_and_not_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said once, and printed lines are there as before."""
    with heard() as (spoken, out, err), spoken.kept(tmp_path):
        (tmp_path / "result").touch()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", _no_room)
            print("first")
        print("second")
    assert out.getvalue() == "first\nsecond\n"
    assert err.getvalue() == "warning: log.txt of the work directory ends here: No space left on device\n"
    assert "first" not in (tmp_path / FILE).read_text()


def _no_room(handle: int, text: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_log_is_no_link(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(ValueError, match=r"is a link to .*elsewhere.*take the link away"),
        Log().kept(tmp_path, ""),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_warnings_of_libraries_and_tracebacks_are_for_the_log(tmp_path: Path) -> None:

    def fails() -> None:
        with heard() as (spoken, _, err), spoken.kept(tmp_path), warnings.catch_warnings():
            (tmp_path / "result").touch()
            warnings.simplefilter("always")
            warnings.warn("nobody can help it", stacklevel=1)
            shown.append(err)
            raise ZeroDivisionError

    shown: list[io.StringIO] = []
    with pytest.raises(ZeroDivisionError):
        fails()
    text = (tmp_path / FILE).read_text()
    assert "UserWarning: nobody can help it" in text
    assert "ZeroDivisionError" in text
    assert shown[0].getvalue() == ""


def test_the_program_keeps_a_log_and_says_what_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trainings: the second has nothing to do and says it; ``--quiet`` prints nothing, and its log the same."""
    monkeypatch.setattr(progress, "DELAY", 0.0)
    first = run(TINY, "train", tmp_path)
    assert "training: 100%" in first.err
    assert "loss=" in first.err
    second = run(TINY, "train", tmp_path, "--quiet")
    assert (second.out, second.err) == ("", "")
    log = (tmp_path / FILE).read_text()
    assert "nothing is left to do: " in log
    assert len(re.findall(rf"^{STAMP}\$ main.py .*--mode train", log, re.MULTILINE)) == 2
    assert "training: 100%" in log
    refused = program("--config", TINY, "--mode", "train", "--workdir", tmp_path / "none", optim__lr=-1)
    assert refused.status == 2
    assert not (tmp_path / "none").exists()


def test_quiet_holds_back_no_result_that_was_asked_for() -> None:
    assert "unipc" in program("--mode", "list", "--quiet").out


def test_bars_are_made_in_one_place() -> None:
    """Nothing else of ours imports tqdm."""
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "run_lib").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if "tqdm" in (getattr(node, "module", None), *(alias.name for alias in getattr(node, "names", [])
                                                       if hasattr(alias, "name")))
    ]  # fmt: skip
    assert {str(Path(name).parent) for name in found} == {"run_lib/output"}
