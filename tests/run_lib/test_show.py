"""``--mode show``: who is answered, what is drawn, and the page in a browser."""

from __future__ import annotations

import http.client
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from run_lib.config import plans
from run_lib.config.files import load_config_file
from run_lib.pictures import picture, save_png
from run_lib.run import Run
from run_lib.sample import draw
from run_lib.showing.server import REFUSED, Server
from run_lib.showing.show import serve
from tests.run_lib.chromium import needs_browser, seen, visited
from tests.run_lib.planned import planned
from tests.run_lib.program import program

FIELDS = {"sampling__predictor": "ddim", "sampling__corrector": "langevin", "sampling__snr": 0.1,
          "sampling__num_steps": 5, "sampling__grid_size": 4, "device": "cpu"}  # fmt: skip


def plan_of(**fields: Any) -> Any:
    return planned(load_config_file("toy/gaussian_image"), plans.showing, {**FIELDS, **fields})


@dataclass(frozen=True)
class Reply:
    """Of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Page:
    """A page that is served, and its work directory."""

    server: Server
    workdir: Path

    def ask(self, path: str, method: str = "GET", *, secret: str | None = None, **headers: str) -> Reply:
        """A request for a path below the secret; for the path itself where the secret is empty."""
        link = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=30)
        secret = self.server.secret if secret is None else secret
        link.request(method, f"/{secret}/{path}" if secret else path, headers=headers)
        answer = link.getresponse()
        found = Reply(answer.status, dict(answer.getheaders()), answer.read())
        link.close()
        return found

    def drawn(self, words: str) -> dict[str, Any]:
        """What is told of a picture when it is done."""
        number = self.ask(f"draw?{words}").told["number"]
        for _ in range(600):
            told: dict[str, Any] = self.ask("state").told["drawing"]
            if told["number"] == number and told["done"]:
                return told
            time.sleep(0.05)
        raise AssertionError(told)

    def frame(self, told: dict[str, Any], place: int) -> np.ndarray:
        reply = self.ask(f"frame/{told['number']}/{place}.png")
        assert reply.status == 200
        with Image.open(io.BytesIO(reply.body)) as image:
            return np.asarray(image)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    workdir = tmp_path_factory.mktemp("show") / "run"
    (workdir / "samples").mkdir(parents=True)
    save_png(np.full((8, 8, 3), 90, np.uint8), workdir / "samples/samples.png")
    save_png(np.zeros((8, 8, 3), np.uint8), workdir.parent / "secret.png")
    (workdir / "link.png").symlink_to(workdir.parent / "secret.png")
    (workdir / "config.json").write_text("{}")
    server = serve(plan_of(), Run(workdir))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Page(server, workdir)
    server.shutdown()
    thread.join()
    server.server_close()


# Who is answered -----------------------------------------------------------------------------------


def test_the_loopback_interface_alone(page: Page) -> None:
    assert page.server.server_address[0] == "127.0.0.1"
    assert re.fullmatch(rf"http://127\.0\.0\.1:{page.server.server_port}/[\w-]{{32}}/", page.server.address)
    assert page.ask("").status == 200


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1", "example.org:{port}", "127.0.0.1.example.org:{port}", ""]
)
def test_another_host_is_refused(host: str, page: Page) -> None:
    """A name that leads here, or no port; with the secret, too."""
    assert page.ask("state", Host=host.format(port=page.server.server_port)).status == 403


def test_localhost_is_this_host(page: Page) -> None:
    assert page.ask("state", Host=f"localhost:{page.server.server_port}").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/state", "/draw?seed=1", "/picture/samples/samples.png", "/{short}/", "//"]
)
def test_nobody_without_the_secret_is_answered(path: str, page: Page) -> None:
    before = page.ask("state").told["drawing"]
    reply = page.ask(path.format(short=page.server.secret[:-1]), secret="")
    assert reply.status == 403
    assert page.server.secret.encode() not in reply.body
    assert page.ask("state").told["drawing"] == before


@pytest.mark.parametrize("method", REFUSED)
def test_nothing_but_reading(method: str, page: Page) -> None:
    reply = page.ask("state", method)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


def test_a_head_has_no_body(page: Page) -> None:
    reply = page.ask("", "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["Content-Length"]) > 1000


@pytest.mark.parametrize(
    "path",
    ["picture/../secret.png", "picture/..%2fsecret.png", "picture/%2e%2e/secret.png", "picture/link.png",
     "picture/config.json", "picture//etc/passwd", "picture/", "../..", "config.json", "frame/0/0.png",
     "frame/1/-1.png",
     "picture/samples/..%5c..%5csecret.png", "picture/samples%00.png"],
)  # fmt: skip
def test_nothing_outside_is_sent(path: str, page: Page) -> None:
    assert page.ask(path).status == 404


def test_a_browser_is_told_to_load_nothing_else(page: Page) -> None:
    reply = page.ask("")
    policy = reply.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)
    assert nonce is not None
    assert reply.body.count(b"<script") == 1
    assert f'<script nonce="{nonce[1]}">'.encode() in reply.body
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert b"http://" not in reply.body
    assert b"https://" not in reply.body
    assert page.ask("").headers["Content-Security-Policy"] != policy, "a nonce is used once"
    assert (reply.headers["Cache-Control"], reply.headers["Referrer-Policy"]) == ("no-store", "no-referrer")


# What is drawn -------------------------------------------------------------------------------------


def test_the_picture_is_that_of_the_same_samples(page: Page) -> None:
    """Seed 7, 5 steps: the last frame is the picture of what ``--mode sample`` draws. 6 frames: the prior, 5 steps,
    each with an evaluation of its own and one of the corrector."""
    told = page.drawn("seed=7&steps=5&snr=0.1")
    assert (told["error"], told["frames"], told["total"], told["taken"], told["nfe"]) == ("", 6, 5, 5, 10)
    plan = plan_of(sampling__seed=7).sampling
    np.testing.assert_array_equal(page.frame(told, 5), picture(draw(plan, range(4)).levels, plan.data))
    assert page.ask(f"frame/{told['number']}/6.png").status == 404


def test_seed_steps_and_snr_change_it(page: Page) -> None:
    first = page.frame(page.drawn("seed=7&steps=5&snr=0.1"), 5)
    for words, steps in (
        ("seed=8&steps=5&snr=0.1", 5),
        ("seed=7&steps=9&snr=0.1", 9),
        ("seed=7&steps=5&snr=0.4", 5),
    ):
        told = page.drawn(words)
        assert (told["error"], told["frames"]) == ("", steps + 1)
        assert (page.frame(told, steps) != first).any()


def test_of_many_steps_some_are_kept(page: Page) -> None:
    told = page.drawn("steps=200")
    assert (told["taken"], told["frames"]) == (200, 61)


def test_another_question_comes_first(page: Page) -> None:
    """Of 2000 steps few are taken when the next one is asked for."""
    page.ask("draw?seed=1&steps=2000")
    began = time.perf_counter()
    assert page.drawn("seed=2&steps=2")["error"] == ""
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("steps=0", "steps is a whole number from 1 to 2000, got '0'"),
        ("steps=1e9", "from 1 to 2000, got '1e9'"),
        ("seed=-1", "seed is a whole number from 0"),
        ("snr=nan", "snr is a number above 0, got 'nan'"),
        ("snr=-0.1", "snr is a number above 0"),
        ("workdir=x", "'workdir' cannot be asked for here; allowed: seed, steps, snr"),
    ],
)
def test_other_values_are_refused(words: str, said: str, page: Page) -> None:
    reply = page.ask(f"draw?{words}")
    assert reply.status == 400
    assert said in reply.told["error"]


def test_without_a_corrector_there_is_no_snr(tmp_path: Path) -> None:
    plan = planned(load_config_file("toy/gaussian_image"), plans.showing, {"device": "cpu"})
    assert (plan.snr, plan.steps) == (None, 200)


def test_pictures_of_the_work_directory(page: Page) -> None:
    (one,) = page.ask("state").told["pictures"]
    assert one["name"] == "samples/samples.png"
    reply = page.ask("picture/samples/samples.png?version=1")
    assert reply.body == (page.workdir / "samples/samples.png").read_bytes()


def test_the_page_of_the_run_is_made_and_not_written(page: Page) -> None:
    files = sorted(page.workdir.rglob("*"))
    reply = page.ask("report")
    assert reply.status == 200
    assert b"score-pc page" in reply.body
    assert sorted(page.workdir.rglob("*")) == files


# What is said --------------------------------------------------------------------------------------


def test_what_cannot_be_shown_is_said_at_once(tmp_path: Path, page: Page) -> None:
    error = program(
        "--config", "toy/gaussian_image", "--mode", "show", "--workdir", tmp_path, sampling__method="ode"
    ).error
    assert "sampling.method='ode'" in error
    assert "set sampling.method='pc'" in error
    error = program("--config", "ddpm/digits", "--mode", "show", "--workdir", tmp_path, device="cpu").error
    assert "there is no checkpoint" in error
    port = page.server.server_port
    words = ("--config", "toy/gaussian_image", "--mode", "show", "--workdir", tmp_path)
    error = program(*words, mode__port=port, device="cpu").error
    assert f"config.mode.port={port} cannot be had" in error
    assert not list(tmp_path.iterdir())


# In a browser --------------------------------------------------------------------------------------


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 500])
def test_a_browser_shows_it(width: int, page: Page, tmp_path: Path) -> None:
    """The script runs: frames are counted, the last one is shown, the gallery has its picture, nothing is wider."""
    document, shot = visited(page.server.address, tmp_path, width)
    assert 'data-done="true"' in document
    assert 'data-frames="6"' in document
    assert re.search(r'<img id="picture"[^>]*src="frame/\d+/5\.png"', document)
    assert "picture/samples/samples.png?version=" in document
    assert "10 evaluations" in document
    with Image.open(shot) as image:
        assert image.width == width


@needs_browser
@pytest.mark.slow
def test_a_telephone_scrolls_nothing_sideways(page: Page, tmp_path: Path) -> None:
    """The same text in a window of 390 pixels."""
    copy = tmp_path / "page.html"
    copy.write_bytes(page.ask("").body)
    phone = seen(copy, tmp_path).phone
    assert phone["width"] <= 390
    assert phone["needed"] == phone["width"]
    assert "Next seed" in phone["text"]
