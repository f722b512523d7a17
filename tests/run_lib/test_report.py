"""The report: everything that is needed to trust a number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from run_lib.evaluation.report import Number, Report

NUMBER = Number("bpd/test", 1.5, 0.25, 10, "bits/dim", 80.0, 3.5, 42, "0123456789ab", 6, "ODE")


def test_a_report_reads_back_what_it_wrote(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.json")
    other = replace(NUMBER, name="frechet/pixels", stderr=None)
    report.add(NUMBER, other)
    again = Report(tmp_path / "report.json")
    assert list(again) == [NUMBER, other]
    assert json.loads(report.path.read_text())["numbers"][0]["value"] == 1.5


def test_a_number_is_of_a_checkpoint_and_a_configuration(tmp_path: Path) -> None:
    """The same again replaces; another checkpoint or another configuration stands beside it."""
    report = Report(tmp_path / "report.json")
    later, elsewhere = replace(NUMBER, step=12), replace(NUMBER, config_hash="ba9876543210")
    report.add(NUMBER, later, elsewhere)
    report.add(replace(NUMBER, value=2.0))
    assert [n.value for n in report] == [2.0, 1.5, 1.5]
    assert report.of(12, NUMBER.config_hash) == [later]
    assert report.has("bpd/test", 6, "ba9876543210")
    assert not report.has("bpd/test", 12, "ba9876543210")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"numbers": [{"name": "x"}]}'])
def test_a_file_that_is_no_report_is_not_overwritten(content: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(
        ValueError, match=r"report.json is no report of ours: .* choose another --eval_folder"
    ):
        Report(path)
    assert path.read_text() == content


def test_in_words() -> None:
    assert str(NUMBER) == "1.5 +- 0.25 bits/dim"
    assert str(replace(NUMBER, stderr=None, unit="")) == "1.5"
