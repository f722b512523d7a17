"""``--mode completion``: what bash and zsh complete a command line with, by their own functions."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from run_lib.config.completing import SHELLS
from run_lib.config.configuration import known_fields
from run_lib.config.mode import register_mode
from run_lib.config.roles import ROLES
from tests.run_lib.program import ROOT, program

COMPLETED = """
source "$1"
COMP_LINE="$2" COMP_POINT=${#2}
if [ -n "$3" ]; then COMP_WORDBREAKS=" =:"; else COMP_WORDBREAKS=" "; fi
_score_pc_python
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""A line that is completed at its end, as readline calls the function."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The script of each shell, made by the program."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        made = program("--mode", "completion", shell)
        assert made.status == 0, made.err
        (folder / shell).write_text(made.out)
    return {shell: folder / shell for shell in SHELLS}


def completed(script: Path, line: str, *, breaks: bool = True) -> list[str]:
    """What bash offers at the end of a line.

    Args:
        breaks: whether = ends a word, as it does unless the user says otherwise.
    """
    command = ["bash", "--norc", "-c", COMPLETED, "bash", str(script), line, "1" if breaks else ""]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return sorted(done.stdout.split())


def test_modes(scripts: dict[str, Path]) -> None:
    assert completed(scripts["bash"], "python main.py --mode ") == sorted(register_mode)
    assert completed(scripts["bash"], "python main.py --mode re") == ["reconstruct"]
    assert completed(scripts["bash"], "score-pc main.py --mode=sc") == ["score"]


def test_configurations(scripts: dict[str, Path]) -> None:
    """By their short names, without what they share."""
    found = completed(scripts["bash"], "python main.py --config ")
    files = {path for path in (ROOT / "configs").glob("*/*.py") if path.stem != "__init__"}
    files = {path for path in files if path.parent.name != "shared"}
    assert found == sorted(f"{path.parent.name}/{path.stem}" for path in files)
    assert completed(scripts["bash"], "python main.py --config ddpm/dig") == ["ddpm/digits"]


def test_sections_then_fields_then_choices(scripts: dict[str, Path]) -> None:
    bash = scripts["bash"]
    first = completed(bash, "python main.py --config.")
    assert {"--config.sampling.", "--config.seed=", "--config.data."} <= set(first)
    assert len(first) == len(set(first))
    fields = completed(bash, "python main.py --config.sampling.")
    assert fields == sorted(f"--config.sampling.{name}=" for name in known_fields()["sampling"])
    assert completed(bash, "python main.py --config.sampling.predictor=uni") == ["unipc"]
    whole = completed(bash, "python main.py --config.sampling.predictor=", breaks=False)
    assert "--config.sampling.predictor=ddim" in whole
    assert completed(bash, "python main.py --config.sampling.predictor ") == sorted(
        ROLES["predictor"].choices
    )
    assert completed(bash, "python main.py --config.sampling.png=") == ["False", "True"]


def test_words_that_follow_a_mode(scripts: dict[str, Path]) -> None:
    assert completed(scripts["bash"], "python main.py --mode describe la") == ["layers"]
    assert completed(scripts["bash"], "python main.py --mode completion ") == ["bash", "zsh"]
    assert "unipc" in completed(scripts["bash"], "python main.py --mode=list uni")


def test_files_are_left_to_the_shell(scripts: dict[str, Path]) -> None:
    """Of other programs of Python's, and where a folder is meant."""
    for line in (
        "python other.py --mode ",
        "python main.py --workdir ru",
        "python main.py --mode compare ru",
    ):
        assert completed(scripts["bash"], line) == []


def test_a_completion_takes_less_than_the_blink_of_an_eye(scripts: dict[str, Path]) -> None:
    """0.3 s, of the longest list, the start of the shell included; the best of three."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        completed(scripts["bash"], "python main.py --config.sampling.")
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.3


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here: apt-get install zsh")
def test_zsh_has_the_same_candidates(scripts: dict[str, Path]) -> None:
    code = 'compdef() { :; }; source "$1"; _score_pc_candidates "$2" "$3" "$4"'
    for mode, before, word in (("", "--mode", "re"), ("list", "list", "uni"), ("", "main.py", "--config.optim.l"),
                               ("", "x", "--config.sampling.predictor=d")):  # fmt: skip
        found = [
            subprocess.run([*shell, code, shell[0], scripts[shell[0]], mode, before, word],
                           capture_output=True, text=True, check=True).stdout
            for shell in (["zsh", "-f", "-c"], ["bash", "--norc", "-c"])
        ]  # fmt: skip
        assert found[0] == found[1] != ""


def test_another_shell_is_refused() -> None:
    assert "unknown shell 'fish'; registered: bash, zsh" in program("--mode", "completion", "fish").error
    assert "--mode completion bash >" in program("--mode", "completion").error
