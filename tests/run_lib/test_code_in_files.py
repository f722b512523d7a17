"""Nothing read from a file names code, a plugin or a path to write to; the message says where these belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from run_lib.config.section_files import NOT_FROM_FILES
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, program, run

SPY = "from pathlib import Path\n\nPath({touched!r}).touch()\n\n\ndef get_config():\n    raise SystemExit\n"


@pytest.fixture
def spy(tmp_path: Path) -> Path:
    """Code that leaves a file when it runs."""
    path = tmp_path / "spy.py"
    path.write_text(SPY.format(touched=str(tmp_path / "ran")))
    return path


@pytest.mark.parametrize(
    ("mode", "section", "fields"),
    [
        ("sample", "guidance", {"name": "classifier", "classifier": "x.pt", "classifier_config": "SPY"}),
        ("sample", "guidance", {"classifier": {"classifier_config": "SPY"}}),
        ("sample", "sampling", {"plugins": "SPY"}),
        ("sample", "sampling", {"ddim": {"plugins": "SPY"}}),
        ("control", "control", {"output": "OUT"}),
        ("reconstruct", "reconstruct", {"input": "test", "output": "OUT"}),
        ("convert", "convert", {"path": "OUT"}),
        ("tune", "tune", {"folder": "OUT"}),
    ],
)
def test_a_section_file_names_neither_code_nor_places(
    mode: str, section: str, fields: dict[str, object], spy: Path, tmp_path: Path
) -> None:
    text = json.dumps(fields).replace("SPY", str(spy)).replace("OUT", str(tmp_path / "out"))
    (tmp_path / "mine.json").write_text(text)
    command = ("--config", GAUSSIAN, "--mode", mode, "--workdir", tmp_path / "run")
    error = program(*command, f"--config.{section}={tmp_path / 'mine.json'}").error
    assert "command line" in error or "has no field 'classifier_config'" in error
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "run").exists()


def test_fields_that_no_file_sets_are_fields() -> None:
    """A field that is renamed must not drop out of the rule."""
    from run_lib.config.configuration import known_fields

    for path in NOT_FROM_FILES:
        section, _, field = path.partition(".")
        assert field in known_fields()[section], path


def test_a_file_of_flags_is_not_taken(spy: Path, tmp_path: Path) -> None:
    (tmp_path / "flags").write_text(f"--config={spy}\n--workdir={tmp_path / 'out'}\n--mode=sample\n")
    for arguments in ((f"--flagfile={tmp_path / 'flags'}",), ("-flagfile", tmp_path / "flags")):
        assert "--flagfile is not taken" in program(*arguments).error
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("named", ["plugins", "component", "field"])
def test_a_checkpoint_of_plugins_asks_for_them(named: str, spy: Path, tmp_path: Path) -> None:
    """A classifier's checkpoint whose configuration has plugins, chooses a component or sets a field of theirs."""
    classifier = ROOT / "configs/adm/digits_classifier.py"
    small = {
        "device": "cpu", "model__nf": 8, "model__num_res_blocks": 1, "model__ch_mult": "(1,)", "model__num_groups": 4,
        "model__attn_resolutions": "(8,)", "model__num_head_channels": 4, "training__n_iters": 1,
        "training__batch_size": 4,
    }  # fmt: skip
    run(classifier, "train", tmp_path / "clf", **small)
    path = tmp_path / "clf/checkpoints/step_00000001.pt"
    held = torch.load(path, weights_only=True)
    config = json.loads(held["config"])
    config["plugins"] = f"{spy},antigravity"
    if named == "component":
        config["model"]["name"] = "theirs"
    elif named == "field":
        config["model"]["theirs"] = 1
    held["config"] = json.dumps(config)
    torch.save(held, path)
    guided = {"guidance__name": "classifier", "guidance__classifier": path, "sampling__num_samples": 2}
    fields = {**guided, "model__num_classes": 10}
    command = ("--config", TINY, "--mode", "sample", "--workdir", tmp_path / "run")
    error = program(*command, **fields).error
    if named != "plugins":
        assert (
            "was made with plugins, and a file names none: where you trust it, give them on the command line"
            in error
        )
        assert f"--config.plugins={spy},antigravity" in error
    assert not (tmp_path / "ran").exists()
