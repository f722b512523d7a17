"""What the fields of ``configs/base.py`` and the settings of components may be: refused is what nobody declared."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from configs import base as basic
from configs.base import get_config as base
from run_lib.config.command_line import configure, parse
from run_lib.config.configuration import base_fields, read
from run_lib.config.fields import HINTS, declared_fields
from run_lib.config.files import load_config_file
from run_lib.config.plans import description, make_plan
from run_lib.config.roles import ROLES
from sde_lib.settings import Setting
from tests.run_lib.program import TINY, program, written

FIELDS = {path: s for path, s in declared_fields().items() if not path.startswith("mode.")}
COMPONENTS = {
    f"{name}'s {setting.name} ({path})": setting
    for role in ROLES.values()
    for name in role.choices
    for path, setting in role.settings(role.choices[name])
}


def kinds(setting: Setting) -> set[Any]:
    """Types of its values, those of a sequence's elements included."""
    found = set(get_args(setting.type) or (setting.type,))
    return found | set(get_args(setting.element) or (setting.element,)) if tuple in found else found


def allows(setting: Setting, value: Any) -> bool:
    """The value itself, or in a sequence."""
    for form in (value, (value,)):
        try:
            setting.check(form)
        except ValueError:
            continue
        return True
    return False


def test_every_field_that_is_a_number_has_its_range_declared() -> None:
    assert declared_fields().keys() == base_fields()
    assert HINTS.keys() <= base_fields()
    numbers = {path for path, s in FIELDS.items() if kinds(s) & {int, float}}
    assert numbers and numbers <= HINTS.keys()


@pytest.mark.parametrize("path", FIELDS)
def test_fields_refuse_what_is_absurd(path: str) -> None:
    """NaN and infinity of numbers, negative counts and sizes, names that a choice has not, other types."""
    setting = FIELDS[path]
    if kinds(setting) & {int, float}:
        assert not any(allows(setting, value) for value in (math.nan, math.inf, -math.inf))
        assert allows(setting, "a word") == (str in kinds(setting))
    if kinds(setting) & {int} and setting.choices is None:
        assert not allows(setting, -1)
        assert not allows(setting, 1.5)
    if setting.choices is not None:
        assert not allows(setting, "foreign")
    section, _, field = path.partition(".")
    default = base()[section][field] if field else base()[section]
    setting.check(default)
    assert setting.optional == (default is None)


@pytest.mark.parametrize(
    "name", [n for n, s in COMPONENTS.items() if kinds(s) & {float} and s.choices is None]
)
def test_components_refuse_what_is_not_finite(name: str) -> None:
    """Unless infinity is declared; NaN never is."""
    setting = COMPONENTS[name]
    assert not allows(setting, math.nan)
    infinite = setting.range is not None and not setting.range.finite
    assert allows(setting, math.inf) == infinite


@pytest.mark.parametrize("name", [n for n, s in COMPONENTS.items() if kinds(s) & {int} and s.choices is None])
def test_components_refuse_negative_sizes(name: str) -> None:
    assert not allows(COMPONENTS[name], -(2**40))


@pytest.mark.parametrize("name", [n for n, s in COMPONENTS.items() if s.choices is not None])
def test_components_refuse_foreign_names(name: str) -> None:
    assert not allows(COMPONENTS[name], "foreign")


def test_choices_are_those_that_the_basic_configuration_lists() -> None:
    """Beside a field that is a choice of names stand all of them, as ``a | b | c``, and no other."""
    listed = {}
    for line in Path(basic.__file__).read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r" *(\w+)\.(\w+) = .*?  # (.* \| .*)", line):
            section, field, names = found.groups()
            path = field if section == "config" else f"{section.replace('evaluation', 'eval')}.{field}"
            listed[path] = [re.match(r"\w+", name)[0] for name in names.split(" | ")]  # type: ignore[index]
    chosen = {path: setting.choices for path, setting in FIELDS.items() if setting.choices is not None}
    assert {"convert.to", "training.precision", "eval.bpd_method", "model.output"} < chosen.keys()
    for path in chosen.keys() & listed.keys():
        assert listed[path] == list(chosen[path]), path
    assert chosen.keys() - listed.keys() == {"eval.dataset"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optim.grad_clip", "nan", "config.optim.grad_clip must be a finite number, got nan."),
        ("optim.lr", "inf", "config.optim.lr must be a finite number, got inf."),
        ("control.noise_std", "inf", "config.control.noise_std must be a finite number, got inf."),
        ("model.ch_mult", "(1.5,2.33)", "config.model.ch_mult"),
        ("model.num_res_blocks", "-1", "config.model.num_res_blocks"),
        ("model.dropout", "-0.5", "config.model.dropout"),
        ("training.log_freq", "-3", "config.training.log_freq must be at least 1, got -3."),
    ],
)
def test_wrong_values_that_were_accepted(field: str, value: str, message: str, tmp_path: Path) -> None:
    """In a mode that does not read the field, too."""
    outcome = program(
        "--config", TINY, "--mode", "sample", "--workdir", tmp_path, f"--config.{field}={value}"
    )
    assert message in outcome.error
    assert written(tmp_path) == []


def test_an_empty_work_directory() -> None:
    outcome = program("--config", TINY, "--mode", "train", "--workdir=")
    assert outcome.error == "--workdir is empty: name a folder, or leave the flag out."


@pytest.mark.parametrize(
    ("mode", "field"),
    [
        ("convert", "convert.path"), ("control", "control.output"), ("reconstruct", "reconstruct.output"),
        ("pack", "pack.path"), ("extractor", "extractor.path"), ("tune", "tune.folder"), ("train", "data.root"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("blank", [" ", "\t\n"])
def test_a_place_of_blanks(
    mode: str, field: str, blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be a file or a folder that nobody sees, in the current folder."""
    monkeypatch.chdir(tmp_path)
    outcome = program("--config", TINY, "--mode", mode, f"--config.{field}={blank}")
    assert outcome.error == (
        f"config.{field} holds blanks alone, {blank!r}: give it a value, or leave it out."
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("blank", ["", " "])
def test_a_folder_of_an_evaluation_of_blanks(
    blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = program("--config", TINY, "--mode", "eval", f"--eval_folder={blank}")
    assert outcome.error.startswith(f"--eval_folder={blank!r} must be the name of a folder in the work")
    assert not any(tmp_path.iterdir())


def test_all_that_is_wrong_is_said_at_once() -> None:
    config = base()
    with config.ignore_type():
        config.optim.lr, config.seed, config.training.precision = -1.0, 2**40, "float8"
    with pytest.raises(ValueError) as refused:
        read(config)
    for field in ("optim.lr", "seed", "training.precision"):
        assert f"config.{field} " in str(refused.value)
    config = base()
    config.sampling.predictor, config.sampling.corrector, config.sampling.snr = "ddim", "langevin", 2.0
    config.sampling.eta = 3.0
    with pytest.raises(ValueError, match=r"ddim's eta .*langevin's snr"):
        read(config)


def test_height_and_width_from_the_command_line() -> None:
    line = parse(["main.py", "--config.data.image_size=(24,32)"])
    values, given = configure(load_config_file("ddpm/digits"), line)
    assert make_plan(values, description, given=given).shape == (1, 24, 32)


def test_every_field_keeps_its_own_name() -> None:
    assert all(dataclasses.replace(s).name == f"config.{path}" for path, s in declared_fields().items())
