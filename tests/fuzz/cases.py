"""Cases: command lines drawn from what is declared, the files that they name, and what lies in the work directory."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st

from run_lib.config.mode import register_mode
from run_lib.config.roles import ROLES
from tests.fuzz import places
from tests.fuzz.files import OddFile
from tests.fuzz.small import NAMES
from tests.fuzz.values import FIXED, legal, settings, unlikely

SMALL = Path(__file__).with_name("small.py")
TRAINED = tuple(name for name in NAMES if not name.startswith("toy/"))
SECTIONS = {
    "train": ("training", "optim", "model", "data"),
    "check": ("training", "optim", "model", "data"),
    "sample": ("sampling", "guidance"),
    "eval": ("eval", "sampling"),
    "all": ("sampling", "eval", "training", "optim"),
    "tune": ("tune", "sampling"),
    "control": ("control", "sampling"),
    "reconstruct": ("reconstruct", "model"),
    "describe": ("model", "data", "training"),
    "convert": ("convert", "model"),
}
"""Where settings of a mode lie."""
MAKES_NETWORK = {"network", "sde", "preconditioning", "task", "data set", "mode"}
"""Roles whose choices no trained work directory survives."""


@dataclass(frozen=True)
class Case:
    """A command line without the program, run in ``here/`` beside ``run/``, ``inputs/``, ``outside/`` and ``out/``.

    Attributes:
        config: a name of ``small.NAMES``.
        fields: path and value of each, in order.
        flags: further arguments, as they are.
        files: written before.
        trained: whether the work directory is a copy of a trained one.
        workdir: as it is given; None: the flag is left out.
    """

    config: str
    mode: str
    fields: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    files: tuple[OddFile, ...] = ()
    trained: bool = True
    workdir: str | None = "../run"

    @property
    def arguments(self) -> list[str]:
        place = [] if self.workdir is None else ["--workdir", self.workdir]
        fields = [f"--config.{path}={value}" for path, value in self.fields]
        return ["--config", f"{SMALL}:{self.config}", "--mode", self.mode, *place, *fields, *self.flags]

    @property
    def written(self) -> str | None:
        """The work directory that the arguments name: the last that they give."""
        place = self.workdir
        for name, value in pairwise((*self.flags, "")):
            if name.startswith("--workdir="):
                place = name.partition("=")[2]
            elif name == "--workdir":
                place = value
        return place

    def __str__(self) -> str:
        files = "".join(f"\n  {file}" for file in self.files)
        return f"  python main.py {shlex.join(self.arguments)}{'  (trained)' if self.trained else ''}{files}"


@dataclass
class _Drawn:
    """A case that is being drawn."""

    config: str
    mode: str
    trained: bool
    fields: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    files: list[OddFile] = field(default_factory=list)
    workdir: str | None = "../run"

    def case(self) -> Case:
        fields, files = tuple(self.fields.items()), tuple(self.files)
        return Case(self.config, self.mode, fields, tuple(self.flags), files, self.trained, self.workdir)


def _modes_of(config: str) -> list[str]:
    """Modes that have work to do for a configuration; those that take long less often."""
    if config == "adm/digits_classifier":
        return ["train", "eval", "all", "describe", "convert"]
    if config == "toy/gaussian_image":
        return ["sample", "eval", "all", "tune", "control", "control", "reconstruct", "convert"]
    if config.startswith("toy/"):
        return ["sample", "eval", "all", "tune", "describe"]
    modes = [
        "train",
        "train",
        "sample",
        "sample",
        "eval",
        "all",
        "control",
        "control",
        "reconstruct",
        "convert",
        "describe",
    ]
    return [m for m in modes if (config, m) != ("adm/digits_superres", "control")]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """About a third right, a third with an odd file, the others with an odd value or an odd flag."""
    aim = draw(st.sampled_from(("right", "right", "right", "value", "value", "file", "file", "file", "flag")))
    if aim == "file":
        return draw(_with_files())
    config = draw(st.sampled_from(NAMES))
    modes = (
        [m for m in register_mode if m not in ("list", "compare")]
        if draw(st.integers(0, 9)) == 0
        else _modes_of(config)
    )
    drawn = _Drawn(config, draw(st.sampled_from(modes)), trained=draw(st.integers(0, 5)) > 0)
    known = settings()
    _touch(draw, drawn, known, draw(st.sampled_from((0, 1, 1, 2))))
    if aim == "value":
        path = draw(st.sampled_from(sorted(_near(drawn, known)) if draw(st.booleans()) else sorted(known)))
        drawn.fields[path] = draw(unlikely(known[path]))
    elif aim == "flag":
        _odd_flag(draw, drawn)
    return drawn.case()


def _near(drawn: _Drawn, known: dict[str, object]) -> set[str]:
    sections = SECTIONS.get(drawn.mode, ("sampling",))
    return {path for path in known if path.partition(".")[0] in sections or path == "seed"}


def _touch(draw: st.DrawFn, drawn: _Drawn, known: dict[str, object], count: int) -> None:
    """Legal values of fields of the mode's sections: of components with settings of theirs, and of others."""
    sections = SECTIONS.get(drawn.mode, ("sampling",))
    makes_network = drawn.mode in ("train", "describe") or drawn.config.startswith("toy/")
    if makes_network and drawn.mode == "train":
        drawn.trained = drawn.trained and count == 0
    roles = [
        role for name, role in ROLES.items()
        if not role.switch and list(role.choices) and role.field.partition(".")[0] in sections and role.field in known
        and (name not in MAKES_NETWORK or (makes_network and draw(st.integers(0, 3)) == 0))
    ]  # fmt: skip
    for _ in range(count):
        if roles and draw(st.booleans()):
            role = draw(st.sampled_from(roles))
            name = draw(st.sampled_from(sorted(role.choices)))
            drawn.fields[role.field] = name
            own = [
                (path, s)
                for path, s in role.settings(role.choices[name])
                if path in known and path not in FIXED
            ]
            for path, setting in draw(st.lists(st.sampled_from(own), max_size=2)) if own else ():
                drawn.fields[path] = draw(legal(setting))
        else:
            path = draw(st.sampled_from(sorted(_plain(drawn, known, sections))))
            drawn.fields[path] = draw(legal(known[path]))


def _plain(drawn: _Drawn, known: dict[str, object], sections: tuple[str, ...]) -> set[str]:
    """Fields of the sections that are no component's, and switches of evaluations."""
    from run_lib.config.fields import declared_fields

    network = {"model", "data"} if drawn.trained else set()
    plain = {
        p for p in declared_fields() if p in known and p.partition(".")[0] in {*sections, "seed"} - network
    }
    switches = {role.field for role in ROLES.values() if role.switch and "eval" in sections}
    return (plain | switches | {"seed"}) - FIXED


def _odd_flag(draw: st.DrawFn, drawn: _Drawn) -> None:
    which = draw(st.sampled_from(("workdir", "eval_folder", "mode", "flags", "flags", "output", "list")))
    if which == "workdir":
        drawn.workdir = draw(st.sampled_from(places.WORKDIRS))
        drawn.trained = False
    elif which == "eval_folder":
        drawn.flags.append(f"--eval_folder={draw(st.sampled_from(places.EVAL_FOLDERS))}")
    elif which == "mode":
        drawn.mode = draw(st.sampled_from(places.MODES))
    elif which == "output":
        path, mode = draw(st.sampled_from(places.OUTPUTS))
        drawn.mode, drawn.fields[path] = mode, draw(st.sampled_from(places.OUTPUT_VALUES))
        drawn.config = "toy/gaussian_image"
        if draw(st.booleans()):
            drawn.files.append(draw(places.in_output()))
    elif which == "list":
        drawn.mode, drawn.workdir = "list", None
        drawn.fields.clear()
        drawn.flags += draw(st.lists(st.sampled_from(places.LISTED), max_size=2))
    else:
        drawn.flags += draw(st.lists(st.sampled_from(places.FLAGS), min_size=1, max_size=2))


@st.composite
def _with_files(draw: st.DrawFn) -> Case:
    place = draw(st.sampled_from(places.PLACES))
    config = draw(st.sampled_from([n for n in NAMES if place.fits(n)]))
    mode = draw(st.sampled_from(place.modes))
    drawn = _Drawn(config, mode, trained=place.trained)
    drawn.fields.update(place.fields)
    drawn.files.append(draw(place.file(config)))
    if draw(st.integers(0, 4)) == 0:
        drawn.files.append(
            draw(places.in_workdir("toy/gaussian_image" if config.startswith("toy/") else config))
        )
    if draw(st.integers(0, 3)) == 0:
        _touch(draw, drawn, settings(), 1)
        drawn.trained = place.trained
    return drawn.case()
