"""The command line: help, lists, names of configurations, and how values are written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from run_lib.config.command_line import configure, parse
from run_lib.config.files import load_config_file
from run_lib.config.mode import register_mode
from run_lib.config.roles import ROLES
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, Outcome, program
from tests.test_architecture import HEAVY

MODE = '''
from dataclasses import dataclass
from typing import ClassVar

from run_lib.config.mode import Mode, register_mode


@register_mode
@dataclass(frozen=True)
class Salute(Mode):
    """Salutes somebody."""

    needs_configuration: ClassVar[bool] = False
    uses_workdir: ClassVar[bool] = False
    whom: str = "nobody"

    def plan(self, configuration):
        return self.whom

    def work(self, plan, run):
        print("hail", plan)
'''


@pytest.fixture
def salute(tmp_path: Path) -> Iterator[Path]:
    """A plugin with a mode of its own, which no other test is to know."""
    path = tmp_path / "salute.py"
    path.write_text(MODE)
    yield path
    register_mode._entries.pop("salute", None)


def described(tmp_path: Path, *arguments: object) -> Outcome:
    return program("--mode", "describe", "--workdir", tmp_path, *arguments)


def values(*arguments: object, config: str = "ddpm/digits") -> Any:
    """The values of a configuration with what a command line sets."""
    line = parse(["main.py", *map(str, arguments)])
    return configure(load_config_file(config), line)[0]


# Help and lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help(flag: str) -> None:
    """Every mode in a line of its own, the flags that matter, three examples."""
    outcome = program(flag)
    assert outcome.status == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert {line[0] for line in lines if line} >= {
        *register_mode,
        "--config",
        "--config.FIELD=VALUE",
        "--workdir",
    }
    assert sum(line[:2] == ["python", "main.py"] for line in lines) == 3


def test_list_names_everything_that_can_be_chosen() -> None:
    """Without a configuration; a line of each component, under the flag that chooses it."""
    outcome = program("--mode", "list")
    assert outcome.status == 0, outcome.err
    sections: dict[str, set[str]] = {}
    flag = ""
    for line in outcome.out.splitlines():
        if line.startswith("--"):
            flag = line.split()[0]
            assert flag not in sections, f"{flag} has two lists"
        elif line.startswith("  "):
            sections.setdefault(flag, set()).add(line.split()[0])
    for role in ROLES.values():
        chosen_by = "--mode" if role.field == "mode" else f"--config.{role.field}"
        if role.switch:  # one heading for all
            chosen_by = "--config.eval.enable_NAME"
        assert set(role.choices) <= sections.get(chosen_by, set())


def test_list_of_a_component_has_its_settings() -> None:
    outcome = program("--mode", "list", "langevin", "DDIM")
    assert outcome.status == 0, outcome.err
    assert "--config.sampling.snr=0.16" in outcome.out
    assert "--config.sampling.corrector=langevin" in outcome.out
    assert "--config.sampling.predictor=ddim" in outcome.out
    assert "--config.sampling.ddim.<setting>" in outcome.out


def test_list_of_a_misspelt_component() -> None:
    assert program("--mode", "list", "unipcc").error.endswith("Did you mean 'unipc'?")


def test_list_shows_a_plugins_component(salute: Path) -> None:
    outcome = program("--mode", "list", "salute", "--config.plugins", salute)
    assert "Salutes somebody." in outcome.out
    assert "--config.mode.whom=nobody    str" in outcome.out


# Modes ---------------------------------------------------------------------------------------------


def test_a_plugins_mode_without_configuration(salute: Path) -> None:
    assert program("--mode", "salute", plugins=salute).out == "hail nobody\n"
    assert program("--mode", "salute", plugins=salute, mode__whom="thee").out == "hail thee\n"


def test_a_misspelt_mode_may_mean_a_plugins(salute: Path) -> None:
    for config in ((), ("--config", GAUSSIAN)):
        assert program("--mode", "slaute", *config, plugins=salute).error.endswith("Did you mean 'salute'?")


def test_a_misspelt_mode_without_configuration() -> None:
    assert program("--mode", "tarin").error.endswith("Did you mean 'train'?")


def test_a_mode_that_needs_a_configuration() -> None:
    assert program("--mode", "train").error.startswith("which configuration?")


@pytest.mark.parametrize("mode", ["doctor", "all"])
def test_words_are_refused_where_no_mode_takes_them(mode: str, tmp_path: Path) -> None:
    outcome = program("--config", TINY, "--mode", mode, "stray", "--workdir", tmp_path)
    assert outcome.error == "unexpected argument 'stray'; flags begin with --."
    assert not list(tmp_path.iterdir())


def test_words_are_refused_by_a_plugins_mode_too(salute: Path, tmp_path: Path) -> None:
    """Also where the configuration's own file names the plugin, which is known after it is read."""
    assert "unexpected argument 'stray'" in program("--mode", "salute", "stray", plugins=salute).error
    config = tmp_path / "own.py"
    config.write_text(
        f"from configs.toy import gaussian_2d\n\n\ndef get_config():\n"
        f"    config = gaussian_2d.get_config()\n    config.plugins = {str(salute)!r}\n    return config\n"
    )
    assert program("--config", config, "--mode", "salute").out == "hail nobody\n"
    assert "unexpected argument 'stray'" in program("--config", config, "--mode", "salute", "stray").error


# Names of configurations ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toy/gaussian_2d", "toy/gaussian_2d.py", "configs/toy/gaussian_2d"])
def test_shipped_configurations_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder, with and without ``.py``."""
    monkeypatch.chdir(tmp_path)
    assert described(tmp_path, "--config", name).status == 0


def test_a_file_of_ones_own_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy").mkdir()
    own = "from configs.toy.gaussian_2d import get_config as toy\n\n\ndef get_config(): raise ValueError('own file')\n"
    (tmp_path / "toy/gaussian_2d.py").write_text(own)
    monkeypatch.chdir(tmp_path)
    assert "own file" in described(tmp_path, "--config", "toy/gaussian_2d").error


def test_argument_of_a_configuration(tmp_path: Path) -> None:
    """What follows a colon; one whose ``get_config`` takes none refuses it."""
    config = tmp_path / "sized.py"
    config.write_text(
        "from configs.toy import gaussian_2d\n\n\ndef get_config(seed='1'):\n"
        "    config = gaussian_2d.get_config()\n    config.seed = int(seed)\n    return config\n"
    )
    assert load_config_file(f"{config}:25").seed == 25
    assert load_config_file(str(config)).seed == 1
    assert (
        "takes no argument, and 'x' follows its name"
        in described(tmp_path, "--config", f"{GAUSSIAN}:x").error
    )


def test_no_such_configuration(tmp_path: Path) -> None:
    assert described(tmp_path, "--config", "toy/gausian").error.startswith(
        "--config names no file: toy/gausian."
    )


# Values --------------------------------------------------------------------------------------------


def test_switches() -> None:
    assert values("--noconfig.model.ema_warmup").model.ema_warmup is False
    assert values("--config.data.random_flip").data.random_flip is True
    assert values("--config.data.random_flip=false").data.random_flip is False
    # A switch takes no word after it, so that the command of the README works whatever follows.
    line = parse(["main.py", "--config.eval.enable_bpd", "word"])
    assert line.arguments == ["word"]


def test_a_value_after_a_space() -> None:
    found = values("--config.model.nf", "48", "--config.sampling.predictor", "ddim")
    assert (found.model.nf, found.sampling.predictor) == (48, "ddim")


@pytest.mark.parametrize("text", ["-3", "-0.5", "-.5", "-1e-3", "-inf"])
def test_a_negative_number_after_a_space(text: str) -> None:
    assert values("--config.optim.grad_clip", text).optim.grad_clip == float(text)
    assert values(f"--config.optim.grad_clip={text}").optim.grad_clip == float(text)


def test_a_flag_is_no_value(tmp_path: Path) -> None:
    outcome = described(tmp_path, "--config", TINY, "--config.model.nf", "--config.seed=1")
    assert outcome.error == "--config.model.nf needs a value: --config.model.nf=..."
    assert (
        "Unknown command line flag 'x'"
        in described(tmp_path, "--config", TINY, "--config.model.nf", "-x").error
    )


def test_the_last_of_several_values_counts(tmp_path: Path) -> None:
    section = tmp_path / "best.json"
    section.write_text(json.dumps({"snr": 0.3}))
    file, first, last = (
        f"--config.sampling={section}",
        "--config.sampling.snr=0.1",
        "--config.sampling.snr=0.2",
    )
    assert values(first, last).sampling.snr == 0.2
    assert values(first, file).sampling.snr == 0.3
    assert values(file, last).sampling.snr == 0.2


def test_a_value_may_hold_what_separates() -> None:
    sweep = "snr=0.1,0.2; eta=0"
    assert values(f"--config.tune.sweep={sweep}").tune.sweep == sweep
    assert values("--config.init_from=a=b").init_from == "a=b"


def test_an_unknown_flag(tmp_path: Path) -> None:
    assert described(tmp_path, "--config", TINY, "--wrkdir=x").error.startswith(
        "Unknown command line flag 'wrkdir'"
    )


# Output --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_reader_that_has_seen_enough() -> None:
    """As of ``main.py --mode list | head -1``: no traceback, and the status that a shell gives for a closed pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, ROOT / "main.py", "--mode", "list"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    os.close(writing)
    assert process.stderr == ""
    assert process.returncode == 141


# Start ---------------------------------------------------------------------------------------------

LOADED = """
import sys
import torch
before = set(sys.modules)
import main
try:
    main.guarded(["main.py", "--config", "ddpm/digits", "--config.sampling.predctor=ddim"])
except SystemExit as stop:
    assert stop.code == 2
print(*(set(sys.modules) - before))
"""


@pytest.mark.slow
def test_a_misspelt_field_waits_for_no_heavy_library() -> None:
    """Half a second of loading libraries that the message does not need; ``benchmarks/startup.py`` has the times."""
    process = subprocess.run(
        [sys.executable, "-c", LOADED],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    loaded = process.stdout.split()
    assert "run_lib.config.roles" in loaded
    late = (*HEAVY, "scipy", "triton", "torch._dynamo", "torch._inductor", "torch.utils.flop_counter")
    assert not [name for name in loaded if f"{name}.".startswith(tuple(f"{library}." for library in late))]
