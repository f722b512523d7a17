"""The page of a run as a browser shows it: numbers, pictures, slider; on a desk, on a phone, in the dark, on paper."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from run_lib.pages.page import write_page
from tests.run_lib.chromium import Seen, needs_browser, printed, screenshot, seen
from tests.run_lib.pages import coloured, controlled, evaluated, number, sampled, trained, tuned

pytestmark = needs_browser
HOSTILE = "</figcaption><script>hurt = true</script>"
CLASSES = ("cat", HOSTILE, "long" * 50)
FRAMES = 5
PICTURES = 13
"""The loss, samples (drawn and measured), a sweep, control, the classes and the frames."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run that has everything."""
    workdir = tmp_path_factory.mktemp("run")
    trained(workdir)
    evaluated(
        workdir,
        number("frechet/pixels", 174.25, 4.5, unit="squared levels"),
        number("frechet/training images to test images", 26.375, note="reference"),
        number("a name that is much longer than a telephone is wide " * 3, 0.5, 0.25),
        classes=CLASSES,
    )
    coloured(workdir / "eval" / "samples_60.png", 0x500000, (700, 1500))
    sampled(workdir, FRAMES, CLASSES)
    tuned(workdir)
    controlled(workdir)
    return write_page(workdir)


@pytest.fixture(scope="module")
def look(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Seen]:
    """The page by day or, True, by night."""
    found: dict[bool, Seen] = {}

    def at(dark: bool) -> Seen:
        if dark not in found:
            found[dark] = seen(page, tmp_path_factory.mktemp("browser"), dark=dark)
        return found[dark]

    return at


def test_numbers_and_pictures_are_rendered(look: Callable[[bool], Seen]) -> None:
    """174.25 with 1.96 x 4.5 to either side, the reference below, scores of the sweep and of control."""
    desk = look(False).desk
    for told in (
        "174.2 \u00b1 8.8",
        "26.38",
        "snr=0.1",
        "13.81",
        "10.44",
        "cat (0)",
        HOSTILE,
        "frechet/pixels",
    ):
        assert told in desk["text"]
    assert len(desk["pictures"]) == PICTURES
    assert all(picture["natural"] > 0 and picture["alt"] for picture in desk["pictures"])


def test_a_slider_shows_one_frame(look: Callable[[bool], Seen]) -> None:
    assert (look(False).desk["frames"], look(False).desk["slider"]) == (1, 1)


def test_names_are_no_markup(look: Callable[[bool], Seen]) -> None:
    """The page has one script, its own, and a class's name runs nothing."""
    assert (look(False).desk["scripts"], look(False).desk["hurt"]) == (1, False)


def test_a_phone_scrolls_nothing_but_tables(look: Callable[[bool], Seen]) -> None:
    phone = look(False).phone
    assert phone["width"] <= 390
    assert phone["needed"] == phone["width"]
    assert all(phone["tables"])
    assert all(picture["shown"] <= phone["width"] for picture in phone["pictures"])


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)`` (WCAG 2)."""
    parts = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_day_and_night(dark: bool, look: Callable[[bool], Seen]) -> None:
    """The ground is light or dark, the text stands out (7:1 is WCAG's AAA), pictures have light paper in both."""
    desk = look(dark).desk
    assert (luminance(desk["ground"]) < 0.05) == dark
    assert contrast(desk["ground"], desk["ink"]) > 7
    assert all(luminance(paper) > 0.85 for paper in desk["paper"])


def test_a_screenshot_has_the_pictures(page: Path, tmp_path: Path) -> None:
    """The colour of the sample grid is on the screen, as many pixels of it as the picture has."""
    with Image.open(screenshot(page, tmp_path)) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels == [0x12, 0x34, 0x56]).all(-1).sum() >= 0.9 * 40 * 60


def test_paper_has_every_frame_and_what_is_folded_away(page: Path, tmp_path: Path) -> None:
    """All pictures of the page are in the PDF, of the slider the frames too, and what was measured, in ``details``."""
    content = printed(page, tmp_path)
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Subtype\s*/Image", content)) >= PICTURES
