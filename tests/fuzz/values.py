"""Values of declared settings: those that the declarations allow, small ones, and those that nothing allows."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from run_lib.config.fields import declared_fields
from run_lib.config.roles import ROLES
from sde_lib.ranges import Range
from sde_lib.settings import REQUIRED, Setting

ODD = (
    "", "nan", "inf", "-inf", "-1", "0", "1.5", "1e400", "None", "true", "foo", "(", "(1,", "(1,2)", "[]",
    "'", "é", "../x", "/", "a=b", "-", "0x10", "1_0", " ", "()", "(0,)", "(-1,2)", "{}",
    "99999999999999999999", "\n", "\0", "\udcff", "__import__('os').mkdir('../outside/ran')", "9" * 5000,
    "(" * 200, "x" * 300,
)  # fmt: skip
NAMES_FILES = {
    "plugins", "init_from", "resume_from", "guidance.classifier", "guidance.classifier_config",
    "guidance.guide", "guidance.guide_config",
    "control.input", "control.output", "reconstruct.input", "reconstruct.output", "convert.path",
    "tune.folder", "data.root", "control.mask", "sampling.base_samples", "data.tfrecords_path",
}  # fmt: skip
"""Fields that name code, files or places; files have strategies of their own."""
FIXED = {"tune.processes", "device", "training.n_iters", "tune.num_samples", "mode"}
"""Of these only odd values are drawn: the others are much work, or no work."""


def settings() -> dict[str, Setting]:
    """Path -> what a field may be, of every field of the program that names no file."""
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
    known = {**declared_fields(), **found, **names, **switches}
    return {
        k: v
        for k, v in known.items()
        if ("." in k or k in ("seed", "deterministic", "device")) and k not in NAMES_FILES
    }


def legal(setting: Setting) -> st.SearchStrategy[str]:
    """Values that are declared, small ones and the default's neighbours, as a command line has them."""
    if setting.choices:
        return st.sampled_from([str(choice) for choice in setting.choices])
    kinds = set(get_args(setting.type) or (setting.type,))
    near: list[st.SearchStrategy[Any]] = []
    if setting.default is not REQUIRED and setting.default is not None and setting.default != "":
        near.append(st.just(setting.default))
    if bool in kinds:
        near.append(st.booleans())
    if int in kinds:
        near.append(_whole(setting.range))
    if float in kinds:
        near.append(_real(setting.range, setting.default))
    if tuple in kinds:
        elements = _whole(setting.range) if setting.element is int else _real(setting.range, None)
        near.append(st.lists(elements, min_size=1, max_size=3).map(tuple))
    return st.one_of(near or [st.sampled_from(("foo", "2"))]).map(str)


def _whole(allowed: Range | None) -> st.SearchStrategy[int]:
    least = 0 if allowed is None or allowed.least is None else int(allowed.least)
    most = least + 5 if allowed is None or allowed.most is None else min(least + 5, int(allowed.most))
    return st.integers(least, max(least, most))


def _real(allowed: Range | None, default: Any) -> st.SearchStrategy[float]:
    low = next((b for b in (allowed and allowed.least, allowed and allowed.above) if b is not None), None)
    high = next((b for b in (allowed and allowed.most, allowed and allowed.below) if b is not None), None)
    if isinstance(default, float) and default:
        low, high = (
            max(default / 2, low or 0) if default > 0 else default,
            min(abs(default) * 2, high or float("inf")),
        )
    low = 0.0 if low is None else float(low)
    high = low + 2.0 if high is None else float(high)
    return st.floats(0.1, 0.9).map(lambda share: round(low + share * (min(high, low + 2.0) - low), 4))


def unlikely(setting: Setting) -> st.SearchStrategy[str]:
    """A value of its type in or out of the range, or what no setting takes."""
    kinds = set(get_args(setting.type) or (setting.type,))
    near: list[st.SearchStrategy[Any]] = [st.sampled_from(ODD)]
    if int in kinds:
        near.append(st.integers(-2, 9))
    if float in kinds:
        near.append(st.floats(-2, 3, width=16))
    if tuple in kinds:
        near.append(st.lists(st.integers(-1, 9), max_size=3).map(tuple))
    return st.one_of(near).map(str)
