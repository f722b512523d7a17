"""Which metrics are asked for: papers' names, and ``metric@extractor``."""

from __future__ import annotations

import pytest

from run_lib.scoring.asked import Asked, asked


def test_papers_names_are_of_one_extractor_and_each_pair_counts_once() -> None:
    found = asked("fid, frechet@inception precision_recall@dinov2")
    assert found == (Asked("frechet", "inception", "fid"), Asked("precision_recall", "dinov2"))
    assert asked(("fid", "precision_recall@dinov2")) == found


def test_pixels_are_no_metric_of_an_extractor() -> None:
    assert asked("pixels") == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("fidd", "unknown metric 'fidd'.*Did you mean 'fid'"),
        ("frechet", "write frechet@EXTRACTOR, with one of .*inception"),
        ("frechet@incepton", "unknown extractor 'incepton'.*Did you mean 'inception'"),
    ],
)
def test_wrong_names_are_told(names: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asked(names)
