"""``--mode show``: the page of a work directory, served to this machine's browsers until it is stopped."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from run_lib.config.showing import ShowPlan
from run_lib.pages.page import page_text
from run_lib.run import Run
from run_lib.showing.asked import asked
from run_lib.showing.page import show_page
from run_lib.showing.server import Answer, Server, as_json
from run_lib.showing.studio import Studio

MOST_PICTURES, MOST_BYTES = 12, 2**25
"""Of the work directory that the page shows, the newest, none of them larger."""


def show(plan: ShowPlan, run: Run, port: int) -> None:
    """Print the page's address and serve it.

    Args:
        plan: what can be asked for.
        run: whose work directory it is.
        port: 0: any that is free.

    Raises:
        ValueError: there are no weights; the port is taken.
    """
    run.weights(plan.sampling.subject)  # what is missing is said here, and not on the page
    server = serve(plan, run, port)
    print(
        f"open {server.address} in a browser on this machine; Ctrl-C ends it, and nothing is written",
        flush=True,
    )
    with server:
        server.serve_forever()


def serve(plan: ShowPlan, run: Run, port: int = 0) -> Server:
    """A server that is bound, and answers when ``serve_forever`` is called.

    Raises:
        ValueError: the port is taken.
    """
    try:
        return Server(Site(plan, run, Studio(plan, run)).answer, port)
    except OSError as error:
        raise ValueError(
            f"config.mode.port={port} cannot be had ({error.strerror}): take another, or 0 for any that is free."
        ) from error


@dataclass(frozen=True)
class Site:
    """What the server answers.

    Attributes:
        plan, run: of ``show``.
        studio: draws.
    """

    plan: ShowPlan
    run: Run
    studio: Studio

    def answer(self, path: str, query: dict[str, str]) -> Answer | None:
        """Of a path below the secret; None: there is no such page."""
        first, _, rest = path.partition("/")
        if path == "":
            nonce = secrets.token_urlsafe(16)
            policy = (
                f"default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; connect-src 'self'; "
                f"script-src 'nonce-{nonce}'"
            )
            return Answer(show_page(self.plan, self.run, nonce).encode(), "text/html", policy=policy)
        if path == "report":
            policy = (
                "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
            )
            return Answer(page_text(self.run.workdir).encode(), "text/html", policy=policy)
        if path == "state":
            return self._state()
        if path == "draw":
            return self._draw(query)
        if first == "frame":
            return self._frame(rest)
        if first == "picture":
            found = dict(self._pictures())
            return Answer(found[rest].read_bytes(), "image/png") if rest in found else None
        return None

    def _draw(self, query: dict[str, str]) -> Answer:
        try:
            drawing = self.studio.ask(asked(query, self.plan))
        except ValueError as error:
            return as_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        return as_json({"number": drawing.number})

    def _state(self) -> Answer:
        one, steps = self.studio.latest(), self.run.checkpoints.steps()
        drawing = None if one is None else {
            "number": one.number, "checkpoint": one.checkpoint, "frames": len(one.frames), "total": one.total,
            "taken": one.taken, "nfe": one.nfe, "seconds": one.seconds, "done": one.done, "error": one.error,
        }  # fmt: skip
        pictures = [{"name": name, "version": path.stat().st_mtime_ns} for name, path in self._pictures()]
        return as_json({"drawing": drawing, "latest": max(steps, default=None), "pictures": pictures})

    def _frame(self, rest: str) -> Answer | None:
        number, _, name = rest.partition("/")
        one, place = self.studio.latest(), name.removesuffix(".png")
        if one is None or number != str(one.number) or not place.isdecimal() or int(place) >= len(one.frames):
            return None
        return Answer(one.frames[int(place)], "image/png")

    def _pictures(self) -> Iterator[tuple[str, Path]]:
        """The newest PNG files of the work directory, by their paths in it; none that a link leads to elsewhere."""
        root = self.run.workdir.resolve()
        found = []
        for path in self.run.workdir.rglob("*.png"):
            held = path.relative_to(self.run.workdir)
            if any(part.startswith(".") for part in held.parts) or not path.resolve().is_relative_to(root):
                continue
            if path.is_file() and path.stat().st_size <= MOST_BYTES:
                found.append((path.stat().st_mtime_ns, held.as_posix(), path))
        for _, name, path in sorted(found, reverse=True)[:MOST_PICTURES]:
            yield name, path
