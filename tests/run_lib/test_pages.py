"""The page of a run: what is on it, who writes it and when, and what it never does."""

from __future__ import annotations

import html.parser
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from run_lib.config.mode import register_mode
from run_lib.evaluation.report import IncompleteError, Number
from run_lib.files import write_json
from run_lib.ours import mark
from run_lib.pages.markup import Markup, escaped, tag
from run_lib.pages.numbers import families, interval, table_of
from run_lib.pages.page import MARK, reported, write_page
from run_lib.run import Run
from tests.run_lib.pages import coloured, controlled, evaluated, number, sampled, trained, tuned
from tests.run_lib.program import GAUSSIAN, TINY, numbers, program, run

VOID = {"meta", "img", "input", "br"}


class Elements(html.parser.HTMLParser):
    """The elements of a page, which must be nested as they are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), "an attribute twice"
        self.all.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.all if found == name]


def everything(workdir: Path) -> Elements:
    """The page of a run with results of every mode."""
    trained(workdir)
    evaluated(
        workdir, number("frechet/pixels", 174.25, 4.5), number("frechet/floor", 26.375, note="reference")
    )
    sampled(workdir, frames=3, classes=("cat", "dog"))
    tuned(workdir)
    controlled(workdir)
    return Elements(write_page(workdir).read_text(encoding="utf-8"))


# What is on it -------------------------------------------------------------------------------------


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    """No element names a place but inside the page, and the policy lets none be asked for."""
    page = everything(tmp_path)
    for name, attributes in page.all:
        for key in ("src", "href", "srcset", "poster", "action", "data"):
            if (value := attributes.get(key)) is not None:
                assert value.startswith(("data:image/", "#")), (name, value)
    policy = [
        meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy
    assert "default-src 'none'" in str(policy[0])
    text = (tmp_path / "report.html").read_text()
    assert "@import" not in text
    assert "url(" not in text


def test_headings_pictures_and_links_can_be_used_by_all(tmp_path: Path) -> None:
    """One h1; a picture has words for it; a link leads to an id that is there once; controls have names."""
    page = everything(tmp_path)
    assert len(page.of("h1")) == 1
    assert all(image["alt"] for image in page.of("img"))
    ids = [attributes["id"] for _, attributes in page.all if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {str(link["href"])[1:] for link in page.of("a")} == set(ids)
    assert all(control.get("aria-label") for control in page.of("input"))
    assert [main["lang"] for main in page.of("html")] == ["en"]


def test_every_part_of_a_run_has_its_section(tmp_path: Path) -> None:
    page = everything(tmp_path)
    ids = {str(h2["id"]) for h2 in page.of("h2")}
    assert ids == {
        "run",
        "numbers",
        "samples",
        "trajectory",
        "classes",
        "loss",
        "tuning",
        "control",
        "settings",
    }


def test_a_run_without_results_has_a_page_without_sections(tmp_path: Path) -> None:
    page = Elements(write_page(tmp_path).read_text())
    assert not page.of("h2")
    assert tmp_path.name in page.text


def test_references_stand_below_their_number() -> None:
    """They share what is before the slash; one of nothing stands for itself, at the end."""
    rows = [
        number("precision/test images", 0.9, note="reference: real test images"),
        number("frechet/pixels", 2.0),
        number("precision", 0.5),
        number("labels", 0.5, note="reference"),
        number("frechet/floor", 1.0, note="reference"),
    ]
    assert [[n.name for n in row] for row in families(rows)] == [
        ["frechet/pixels", "frechet/floor"],
        ["precision", "precision/test images"],
        ["labels"],
    ]


@dataclass(frozen=True)
class WithProtocol(Number):
    """A number that says how it was made."""

    protocol: dict[str, object] = field(default_factory=dict)


def test_a_number_opens_to_its_protocol() -> None:
    """Value, error, images, step, seed, fingerprint; and what a protocol says besides."""
    plain = number("precision", 0.205, 0.0128, fingerprint="ba72341c5a494f13")
    given = {name: value for name, value in vars(plain).items() if name != "protocol"}
    made = WithProtocol(**given, protocol={"extractor": "pixels, hash 1f2e", "split": "test"})
    text = Elements(table_of([made], "Numbers")).text
    for told in (
        "0.205",
        "0.0128",
        "ba72341c5a494f13",
        "pixels, hash 1f2e",
        "test",
        "60",
        "42",
        "\u00b1 0.025",
    ):
        assert told in text


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (174.27, 8.71, "174.3 \u00b1 8.7"),
        (0.11617, 0.01959, "0.116 \u00b1 0.020"),
        (-11.24, 1.147, "\u221211.2 \u00b1 1.1"),
        (1234.5, 250.0, "1230 \u00b1 250"),
        (3.0, 0.0, "3"),
        (0.5, float("inf"), "0.5 \u00b1 inf"),
    ],
)
def test_a_value_has_the_digits_that_its_interval_leaves(value: float, half: float, text: str) -> None:
    """Two digits of the half width, and as many places of the value."""
    assert interval(value, half) == text


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "<b>&\"'", tag("b", "x")) == "<p>&lt;b&gt;&amp;&quot;&#x27;<b>x</b></p>"
    assert tag("p", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"></p>'
    assert isinstance(escaped("a"), Markup)


def test_names_that_no_page_may_have_are_replaced(tmp_path: Path) -> None:
    """A file's name may have bytes that are no text, and control characters."""
    sampled(tmp_path, classes=("a\x00b\udce4\x1b",))
    assert "a\ufffdb\ufffd\ufffd" in write_page(tmp_path).read_text(encoding="utf-8")


def test_damaged_pictures_and_reports_are_named(tmp_path: Path) -> None:
    """The page has the rest."""
    evaluated(tmp_path, number("precision", 0.5))
    sampled(tmp_path)
    (tmp_path / "samples/samples.png").write_bytes(b"no picture")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/report.json").write_text("[]")
    text = Elements(write_page(tmp_path).read_text()).text
    assert "samples/samples.png cannot be shown" in text
    assert "report.json is no report of ours" in text
    assert "precision" in text


def test_large_pictures_stay_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled(tmp_path)
    monkeypatch.setattr("run_lib.pages.images.MOST_BYTES", 10)
    page = Elements(write_page(tmp_path).read_text())
    assert not page.of("img")
    assert "samples/samples.png is of 0 MB, too much for a page" in page.text


def test_another_run_below_is_not_of_this_page(tmp_path: Path) -> None:
    evaluated(tmp_path, number("precision", 0.5))
    trained(tmp_path / "sub")
    evaluated(tmp_path / "sub", number("somebody", 0.25))
    assert "somebody" not in write_page(tmp_path).read_text()


# When it is written --------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [False, True])
def test_somebody_elses_page_is_refused_before_the_work(link: bool, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    if link:
        (tmp_path / "elsewhere.html").write_text(MARK)
        path.symlink_to(tmp_path / "elsewhere.html")
    else:
        path.write_text("<html>mine</html>")
    before, worked = path.read_text(), False
    with pytest.raises(ValueError, match=r"no page of ours.*take another --workdir"), reported(tmp_path):
        worked = True
    assert (path.read_text(), worked) == (before, False)


def test_our_own_page_is_replaced(tmp_path: Path) -> None:
    write_page(tmp_path)
    evaluated(tmp_path, number("precision", 0.5))
    assert "precision" in write_page(tmp_path).read_text()


def test_incomplete_numbers_have_a_page(tmp_path: Path) -> None:
    """The run still ends as incomplete."""
    with pytest.raises(IncompleteError, match="images are missing"), reported(tmp_path):
        raise IncompleteError("images are missing")
    assert (tmp_path / "report.html").is_file()


def test_an_error_has_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mended"), reported(tmp_path):
        raise ValueError("to be mended")
    assert not (tmp_path / "report.html").exists()


def work_in_the_way(workdir: Path, error: Exception | None = None) -> None:
    """Work whose page cannot be written."""
    with reported(workdir):
        (workdir / "report.html").mkdir()
        (workdir / "result").touch()
        if error is not None:
            raise error


def test_a_page_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After the work; and beside what else went wrong, which decides the status."""
    with pytest.raises(ValueError, match="no page of ours"):
        work_in_the_way(tmp_path)
    assert (tmp_path / "result").exists()
    (tmp_path / "report.html").rmdir()
    with pytest.raises(IncompleteError):
        work_in_the_way(tmp_path, IncompleteError("images are missing"))
    assert "warning: there is no page of the run: " in capsys.readouterr().err


def test_the_first_process_alone_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with reported(tmp_path):
        pass
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("mode", "loop"),
    [
        ("eval", "run_lib.evaluation.evaluate.evaluate"),
        ("tune", "run_lib.tuning.tune.tune"),
        ("control", "run_lib.editing.control.control"),
    ],
)
def test_modes_write_the_page_after_their_work(
    mode: str, loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(plan: None, run: Run) -> None:
        evaluated(run.workdir, number("just made", 0.5))

    monkeypatch.setattr(loop, work)
    register_mode[mode]().work(None, Run(tmp_path))
    assert "just made" in (tmp_path / "report.html").read_text()


def test_a_page_of_somebody_elses_stops_a_training(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    outcome = program("--config", TINY, "--mode", "all", "--workdir", tmp_path)
    assert "report.html is no page of ours" in outcome.error
    assert not (tmp_path / "checkpoints").exists()


def test_all_writes_a_page(tmp_path: Path) -> None:
    """The numbers to the last digit, the samples, and the command."""
    few = {"sampling__num_samples": 10, "sampling__num_steps": 5, "eval__enable_bpd": False}
    run(GAUSSIAN, "all", tmp_path, eval__num_samples=50, **few)
    page = Elements((tmp_path / "report.html").read_text())
    found = numbers(tmp_path)
    assert found
    for one in found.values():
        assert repr(one["value"]) in page.text
    assert "--mode all" in page.text
    assert {"run", "numbers", "samples"} <= {h2.get("id") for h2 in page.of("h2")}


def test_samples_of_classes_have_a_picture_each(tmp_path: Path) -> None:
    """Classes are asked for in turn: of the twelve that are shown the first two have two."""
    run(TINY, "train", tmp_path, model__num_classes=10, training__n_iters=1)
    settings = {"model__num_classes": 10, "sampling__num_samples": 13, "sampling__grid_size": 12}
    run(TINY, "sample", tmp_path, **settings)
    page = Elements(write_page(tmp_path).read_text())
    alts = [str(image["alt"]) for image in page.of("img")]
    assert alts[1:11] == [f"Samples of class {k}" for k in range(10)]
    with np.load(tmp_path / "samples/samples.npz") as held:
        levels, labels = held["arr_0"].reshape(-1, 8, 8)[:12], held["arr_1"][:12]
    for k in range(10):
        with Image.open(tmp_path / f"samples/classes/class_{k:04d}.png") as image:
            shown = np.asarray(image)[..., 0]
        own = np.concatenate(
            np.round(levels[labels == k] / 16.0 * 255), axis=1
        )  # beside one another, of 16 levels
        if k < 2:  # two are framed, each by two pixels
            shown = np.concatenate([shown[2:50, 2:50], shown[2:50, 52:100]], axis=1)
        assert np.array_equal(shown[3::6, 3::6], own)


def test_nearest_neighbours_have_a_section(tmp_path: Path) -> None:
    evaluated(tmp_path, number("copies", 0.0))
    coloured(tmp_path / "eval/nearest_60.png", 0x123)
    page = Elements(write_page(tmp_path).read_text())
    assert re.search("nearest to them: nearest_60", " ".join(str(i["alt"]) for i in page.of("img")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("eval/report.json", '{"numbers": [{"name": 3}]}'),
        ("eval/report.json", '{"numbers": 5}'),
        ("samples/samples.json", '{"count": "many"}'),
        ("tune/table.json", '{"rows": []}'),
        ("tune/table.json", "[1"),
        ("control/inpaint/report.json", '{"mean": 3}'),
    ],
)
def test_odd_contents_are_named(name: str, content: str, tmp_path: Path) -> None:
    """The page has everything else."""
    everything(tmp_path)
    (tmp_path / name).write_text(content)
    text = Elements(write_page(tmp_path).read_text()).text
    assert re.search(rf"Not read {re.escape(str(tmp_path / name))} ", text.replace("  ", " "))


def test_numbers_of_odd_kinds_are_not_shown(tmp_path: Path) -> None:
    evaluated(tmp_path, number("precision", 0.5, count="many"))
    text = Elements(write_page(tmp_path).read_text()).text
    assert "report.json has numbers whose entries are of another kind" in text


def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    evaluated(tmp_path, number("precision", 0.5))
    os.mkfifo(tmp_path / "eval/samples_60.png")
    os.mkfifo(tmp_path / "config.json")
    assert (
        "samples_60.png cannot be shown: it is no regular file"
        in Elements(write_page(tmp_path).read_text()).text
    )


def test_reports_of_other_modes_are_left_alone(tmp_path: Path) -> None:
    """``reconstruct`` writes one too, beside its settings."""
    for name, content in (("settings.json", {**mark("reconstruct")}), ("report.json", {"images": 3})):
        write_json(tmp_path / "reconstruct" / name, content)
    assert not Elements(write_page(tmp_path).read_text()).of("h2")
