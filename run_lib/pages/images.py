"""Pictures inside a page, as data URIs."""

from __future__ import annotations

import base64
import io
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from run_lib.pages.markup import Markup, joined, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BYTES = 2**23
"""Of a picture that a page takes in; a larger one stays a file, and is named."""


def shown(path: Path, alt: str, caption: object = None, *, within: Path) -> Markup:
    """The picture of a file, with a caption; or a sentence that it is too large for a page, or cannot be read.

    Args:
        path: of a PNG.
        alt: what it shows, for those who do not see it.
        caption: None: the words of ``alt``.
        within: the folder that the page is about.
    """
    name = path.relative_to(within).as_posix()
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for
            raise OSError("it is no regular file")
        if facts.st_size > MOST_BYTES:
            megabytes = f"{facts.st_size / 2**20:.0f} MB"
            return tag(
                "p", f"{name} is of {megabytes}, too much for a page: look at the file.", class_="warning"
            )
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            size = image.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        why = "it is no PNG" if isinstance(error, UnidentifiedImageError) else str(error)
        return tag("p", f"{name} cannot be shown: {why}", class_="warning")
    return figure(content, "png", alt, alt if caption is None else caption, size)


def drawn(drawing: Figure, alt: str, caption: object = None) -> Markup:
    """A figure of matplotlib's, as a vector drawing."""
    from matplotlib import rc_context

    held = io.BytesIO()
    with rc_context({"svg.hashsalt": "score-pc"}):  # else its names are drawn by chance
        drawing.savefig(held, format="svg", metadata={"Date": None})
    width, height = (round(float(side) * 96) for side in drawing.get_size_inches())
    return figure(held.getvalue(), "svg+xml", alt, alt if caption is None else caption, (width, height))


def figure(content: bytes, kind: str, alt: str, caption: object, size: tuple[int, int]) -> Markup:
    """A picture and its caption.

    Args:
        content: of the file.
        kind: of image, as browsers name it.
        alt: what it shows.
        caption: below it.
        size: width and height in pixels, kept free before it is there.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    image = tag("img", src=source, alt=alt, width=size[0], height=size[1])
    return tag("figure", image, tag("figcaption", caption))


def slider(paths: Sequence[Path], what: str, *, within: Path) -> Markup:
    """Frames of which a slider shows one; all of them in a row on paper and where scripts do not run.

    Args:
        paths: of PNG, in their order.
        what: the frames show.
        within: the folder that the page is about.
    """
    numbers = range(1, len(paths) + 1)
    frames = [
        shown(path, f"{what}, {k} of {len(paths)}", k, within=within)
        for k, path in zip(numbers, paths, strict=True)
    ]
    control = tag(
        "div",
        tag("input", type="range", min=0, max=len(paths) - 1, value=len(paths) - 1, step=1, aria_label=what),
        tag("output", f"{len(paths)} of {len(paths)}"),
        class_="control",
    )
    return tag("div", joined(control, tag("div", *frames, class_="frames")), data_frames=True)
