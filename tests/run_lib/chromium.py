"""Pages as a browser shows them: Debian's ``chromium --headless``."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium")

# Of each copy of the page: what is on it and how it looks, as the browser has it.
_PROBE = """
const told = [...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument, at = element => frame.contentWindow.getComputedStyle(element);
  const box = element => element.getBoundingClientRect(), all = name => [...page.querySelectorAll(name)];
  return {
    text: page.body.innerText,
    width: page.documentElement.clientWidth, needed: page.documentElement.scrollWidth,
    pictures: all("img").map(image => ({alt: image.alt, natural: image.naturalWidth, shown: box(image).width})),
    ground: at(page.body).backgroundColor, ink: at(page.body).color,
    paper: all("img").map(image => at(image).backgroundColor),
    frames: all("[data-frames] figure").filter(one => box(one).height > 0).length,
    slider: all("input[type=range]").filter(one => box(one).height > 0).length,
    scripts: all("script").length, hurt: frame.contentWindow.hurt === true,
    tables: all("table").map(one => box(one.parentElement).width <= page.documentElement.clientWidth),
  };
});
const held = document.createElement("pre");
held.id = "told";
held.textContent = JSON.stringify(told);
document.body.append(held);
"""


@dataclass(frozen=True)
class Seen:
    """A page in two windows, a desk's and a phone's of 390 pixels."""

    desk: dict[str, Any]
    phone: dict[str, Any]


def seen(page: Path, folder: Path, *, dark: bool = False) -> Seen:
    """What the browser makes of a page, by a script of ours in a copy."""
    text = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{text}"></iframe>' for width in (1100, 390)
    )
    script = f"addEventListener('load', () => {{ {_PROBE} }});"
    copy = folder / "probe.html"
    copy.write_text(f'<!DOCTYPE html><meta charset="utf-8"><body>{frames}<script>{script}</script></body>')
    dom = _chromium(
        copy, folder, "--dump-dom", *(["--blink-settings=preferredColorScheme=0"] if dark else [])
    )
    found = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None, dom[-2000:]
    return Seen(*json.loads(html.unescape(found[1])))


def screenshot(page: Path, folder: Path) -> Path:
    path = folder / "screenshot.png"
    _chromium(page, folder, f"--screenshot={path}", "--window-size=1000,3000")
    return path


def printed(page: Path, folder: Path) -> bytes:
    """The page as PDF."""
    path = folder / "page.pdf"
    _chromium(page, folder, f"--print-to-pdf={path}", "--no-pdf-header-footer")
    return path.read_bytes()


def visited(address: str, folder: Path, width: int, *, seconds: float = 6) -> tuple[str, Path]:
    """The document that a page of a server has become, and a screenshot in a window of so many pixels.

    Args:
        address: of the page.
        folder: for the browser's files.
        width: of the window.
        seconds: that the page is given, of its own clock.
    """
    path = folder / f"screenshot_{width}.png"
    budget, size = f"--virtual-time-budget={int(seconds * 1000)}", f"--window-size={width},1400"
    _open(address, folder, budget, size, f"--screenshot={path}")
    return _open(address, folder, budget, size, "--dump-dom"), path


def _chromium(page: Path, folder: Path, *options: str) -> str:
    return _open(page.resolve().as_uri(), folder, *options)


def _open(address: str, folder: Path, *options: str) -> str:
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", *options, address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
