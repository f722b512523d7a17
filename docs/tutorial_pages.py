"""The site's pages of the tutorials: notebooks as Markdown, their pictures as files."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).resolve().parent / "tutorials"


def tutorial_pages() -> dict[str, str | bytes]:
    """Each page and each picture, by its place on the site."""
    return {uri: content for path in sorted(TUTORIALS.glob("*.ipynb")) for uri, content in _page(path)}


def _page(path: Path) -> Iterator[tuple[str, str | bytes]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines, heading, pictures = list[str](), "", 0
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)$", source, re.M)][-1]
            lines += [source, ""]
            if len(lines) == 2:
                lines += [f'<a href="../{path.name}" download>This page as a notebook</a>', ""]
            continue
        lines += ["```python", source, "```", ""]
        for output in cell["outputs"]:
            if image := output.get("data", {}).get("image/png"):
                pictures += 1
                name = f"{path.stem}_{pictures}.png"
                yield f"tutorials/{name}", base64.b64decode("".join(image))
                lines += [f"![{heading}]({name})", ""]
            elif text := _text(output):
                lines += ["```text", text, "```", ""]
    yield f"tutorials/{path.stem}.md", "\n".join(lines)


def _text(output: Mapping[str, Any]) -> str:
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return "".join(text).strip("\n")
