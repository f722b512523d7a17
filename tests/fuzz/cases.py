"""Command lines drawn from what is declared: modes, fields, their values and values that they cannot have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from hypothesis import strategies as st

from run_lib.config.fields import declared_fields
from run_lib.config.mode import register_mode
from run_lib.config.roles import ROLES
from sde_lib.settings import Setting
from tests.run_lib.program import GAUSSIAN, ROOT, TINY

CONFIGS = (str(TINY), str(GAUSSIAN), str(ROOT / "configs/toy/mixture_2d.py"))
WORK = {
    str(TINY): {
        "training.n_iters": 2,
        "sampling.num_steps": 2,
        "tune.num_samples": 70,
        "eval.bpd_num_images": 2,
    },
    str(GAUSSIAN): {"sampling.num_steps": 2, "sampling.num_samples": 4},
    str(ROOT / "configs/toy/mixture_2d.py"): {"sampling.num_steps": 2, "sampling.num_samples": 4},
}
"""Little of it, so that many cases can be tried."""
ODD = ("", "nan", "inf", "-inf", "-1", "0", "1.5", "1e400", "None", "true", "foo", "(", "(1,", "(1,2)", "[]", "'", "é",
       "../x", "/", "a=b", "-", "0x10", "1_0", " ", "()", "(0,)", "(-1,2)", "{}", "99999999999999999999")  # fmt: skip
NAMES_CODE = ("plugins", "init_from", "resume_from", "guidance.classifier", "guidance.classifier_config")


@dataclass(frozen=True)
class Case:
    """A command line without the program and the work directory."""

    config: str
    mode: str
    fields: tuple[tuple[str, str], ...]

    @property
    def arguments(self) -> list[str]:
        return ["--config", self.config, "--mode", self.mode, *(f"--config.{f}={v}" for f, v in self.fields)]


def settings() -> dict[str, Setting]:
    """Path -> what a field may be, of every field of the program."""
    found = {
        path: setting
        for role in ROLES.values()
        for name in role.choices
        for path, setting in role.settings(role.choices[name])
    }
    names = {
        role.field: Setting(role.field, str, choices=tuple(role.choices))
        for role in ROLES.values()
        if not role.switch
    }
    switches = {role.field: Setting(role.field, bool) for role in ROLES.values() if role.switch}
    return {
        k: v
        for k, v in {**declared_fields(), **found, **names, **switches}.items()
        if "." in k or k == "seed"
    }


def values(setting: Setting) -> st.SearchStrategy[Any]:
    """Values of its type, small ones more often, whether or not in its range."""
    if setting.choices:
        return st.sampled_from(setting.choices)
    kinds = set(get_args(setting.type) or (setting.type,))
    if bool in kinds:
        return st.booleans()
    if int in kinds:
        return st.integers(-2, 9)
    if float in kinds:
        return st.floats(-2, 3, width=16)
    if tuple in kinds:
        return st.lists(st.integers(-1, 9), max_size=3).map(tuple)
    return st.sampled_from(ODD)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    known = settings()
    config = draw(st.sampled_from(CONFIGS))
    mode = draw(st.sampled_from([mode for mode in register_mode if mode != "list"]))
    paths = draw(
        st.lists(st.sampled_from(sorted(known.keys() - {*NAMES_CODE, "mode"})), max_size=4, unique=True)
    )
    fields = {path: str(value) for path, value in WORK[config].items()}
    if mode == "tune":
        fields |= {"tune.repeats": "2", "tune.processes": "1"}
    for path in paths:
        odd = draw(st.integers(0, 3)) == 0
        fields[path] = draw(st.sampled_from(ODD)) if odd else str(draw(values(known[path])))
    return Case(config, mode, tuple(fields.items()))
