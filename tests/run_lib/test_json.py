"""JSON that the program writes is read by strict readers, infinity and NaN included, and comes back as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from run_lib.files import as_json, of_json, read_json, write_json
from run_lib.sample_folder import EARLIER
from tests.run_lib.program import GAUSSIAN, TINY, run

HEUN = {"sampling__predictor": "heun", "sampling__churn_high": "inf"}
"""A predictor with a setting that is infinite."""


INFINITY = {"float": "Infinity"}


def as_earlier(text: str) -> str:
    """JSON as earlier versions wrote it."""
    return json.dumps(of_json(text))


def strict(text: str) -> Any:
    """What a reader makes of JSON that knows the standard alone (RFC 8259, section 6: no infinity, no NaN)."""

    def refused(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refused)


def test_every_number_comes_back(tmp_path: Path) -> None:
    """A text that reads like a number, such as the name of a class, comes back as a text."""
    content = {
        "a": [math.inf, {"b": -math.inf}, 1.5, "inf", None, True],
        "c": (2, math.inf),
        "NaN": "Infinity",
    }
    wanted = {
        "a": [{"float": "Infinity"}, {"b": {"float": "-Infinity"}}, 1.5, "inf", None, True],
        "c": [2, {"float": "Infinity"}],
        "NaN": "Infinity",
    }
    assert strict(as_json(content)) == wanted
    assert of_json(as_json(content)) == {**content, "c": [2, math.inf]}
    write_json(tmp_path / "a.json", content)
    assert strict((tmp_path / "a.json").read_text()) == wanted
    assert read_json(tmp_path / "a.json") == of_json(as_json(content))
    assert math.isnan(of_json(as_json([math.nan]))[0])
    assert strict(as_json([math.nan])) == [{"float": "NaN"}]


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They have the numbers bare, as Python writes them."""
    (tmp_path / "a.json").write_text('{"a": [Infinity, -Infinity, NaN]}')
    first, second, third = read_json(tmp_path / "a.json")["a"]
    assert (first, second) == (math.inf, -math.inf)
    assert math.isnan(third)


@pytest.mark.slow
def test_every_file_of_every_mode_is_strict(tmp_path: Path) -> None:
    """The records of a training, of samples, of an evaluation; a training goes on, and samples are those that were
    made, also where an earlier version wrote the records."""
    few = {**HEUN, "training__snapshot_sampling": False}
    run(TINY, "train", tmp_path, **few, training__n_iters=1)
    run(TINY, "sample", tmp_path, **few)
    run(
        TINY,
        "eval",
        tmp_path,
        **few,
        eval__enable_bpd=False,
        eval__enable_sampling=False,
        eval__enable_loss=True,
    )
    files = sorted(tmp_path.rglob("*.json"))
    names = {str(path.relative_to(tmp_path)) for path in files}
    assert {"config.json", "samples/settings.json", "eval/report.json"} <= names
    read = {path: strict(path.read_text()) for path in files}
    assert read[tmp_path / "config.json"]["sampling"]["churn_high"] == INFINITY
    checkpoint = tmp_path / "checkpoints/step_00000001.pt"
    held = torch.load(checkpoint, weights_only=True)
    assert strict(held["config"])["sampling"]["churn_high"] == INFINITY
    for path in files:
        path.write_text(as_earlier(path.read_text()))
    held["config"] = as_earlier(held["config"])
    torch.save(held, checkpoint)
    run(TINY, "sample", tmp_path, **few)
    assert not (tmp_path / "samples" / EARLIER).exists(), "samples of other settings are moved there"
    run(TINY, "train", tmp_path, **few, training__n_iters=2)
    assert strict((tmp_path / "config.json").read_text())["sampling"]["churn_high"] == INFINITY


def test_a_file_of_fields_may_hold_infinity(tmp_path: Path) -> None:
    """As the program writes it, and bare."""
    fields = {"sampling__num_samples": 3, "sampling__num_steps": 2, "sampling__predictor": "heun"}
    for place, word in enumerate((json.dumps(INFINITY), "Infinity")):
        (tmp_path / "mine.json").write_text(f'{{"churn_high": {word}}}')
        run(
            GAUSSIAN, "sample", tmp_path / str(place), f"--config.sampling={tmp_path / 'mine.json'}", **fields
        )
        record = read_json(tmp_path / str(place) / "samples/settings.json")
        assert record["sampling"]["churn_high"] == math.inf
