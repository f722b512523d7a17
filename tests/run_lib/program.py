"""main.py as a user calls it, in this process: flags parsed, errors printed, an exit status."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

import main

ROOT = Path(main.__file__).parent
TINY = Path(__file__).with_name("tiny.py")
GAUSSIAN = ROOT / "configs/toy/gaussian_2d.py"


@dataclass(frozen=True)
class Outcome:
    """Exit status and what was printed."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The message of a run that failed as a user should see it fail: one error and nothing else."""
        assert self.status == 2, self.err
        assert "Traceback" not in self.err
        assert self.err.count("error: ") == 1
        return self.err.split("error: ")[1].strip()


def program(*arguments: object, **overrides: object) -> Outcome:
    """``python main.py ARGUMENTS --config.<field>=<value> ...``, fields written with ``__`` for the dot."""
    argv = ["main.py", *map(str, arguments)]
    argv += [f"--config.{field.replace('__', '.')}={value}" for field, value in overrides.items()]
    out, err, code = io.StringIO(), io.StringIO(), None
    with _fresh_flags(argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.guarded(argv)
        except SystemExit as stop:
            code = stop.code
    assert code is None or isinstance(code, int)
    return Outcome(code or 0, out.getvalue(), err.getvalue())


def run(config: Path, mode: str, workdir: Path, *arguments: object, **overrides: object) -> Outcome:
    """A run that must succeed."""
    outcome = program("--config", config, "--mode", mode, "--workdir", workdir, *arguments, **overrides)
    assert outcome.status == 0, outcome.err
    return outcome


def numbers(workdir: Path, folder: str = "eval") -> dict[str, dict[str, Any]]:
    """The numbers of a report by name; of several checkpoints, those of the last."""
    report = json.loads((workdir / folder / "report.json").read_text())
    return {number["name"]: number for number in report["numbers"]}


def written(folder: Path) -> list[str]:
    """Files in a folder but for the configuration, which says what was asked, and the log."""
    return sorted(
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if p.is_file() and p.name not in ("config.json", "log.txt")
    )


@contextlib.contextmanager
def _fresh_flags(argv: list[str]) -> Iterator[None]:
    """absl's flags are global: what one call defined (--config.x) or set must not reach the next."""
    known, own_argv = set(flags.FLAGS), sys.argv
    sys.argv = argv
    try:
        with warnings.catch_warnings():
            # ml_collections reads configurations in a way that Python is about to drop.
            warnings.filterwarnings("ignore", message="the load_module")
            yield
    finally:
        sys.argv = own_argv
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
        for name in known:
            flags.FLAGS[name].unparse()
