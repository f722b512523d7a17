"""A server of one page for one user of one machine: loopback alone, its own address, a secret, and nothing is written.

A page of another site that the browser has open can send requests to this machine: it does not know the secret, cannot
read answers, and where a name of its own leads here (DNS rebinding), that name is in ``Host``.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

LOOPBACK = "127.0.0.1"
REFUSED = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")
TIMEOUT = 30.0
"""Seconds that a connection may say nothing."""


@dataclass(frozen=True)
class Answer:
    """What is sent.

    Attributes:
        content: its body.
        kind: of it, as browsers name it.
        status: of HTTP.
        policy: what the page may load; nothing unless it is said.
    """

    content: bytes
    kind: str
    status: HTTPStatus = HTTPStatus.OK
    policy: str = "default-src 'none'"


def as_json(held: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """Plain data."""
    return Answer(json.dumps(held).encode(), "application/json", status)


Route = Callable[[str, dict[str, str]], Answer | None]
"""Of a path without the secret, and of the words of the query: what is answered; None: there is no such thing."""


class Server(ThreadingHTTPServer):
    """Answers on the loopback interface to those who know its secret.

    Args:
        route: makes the answers.
        port: 0: any that is free.
    """

    daemon_threads = True

    def __init__(self, route: Route, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.route, self.secret = route, secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """To be opened in a browser on this machine."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.secret}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """By which a browser may have been led here."""
        return tuple(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = TIMEOUT
    server_version, sys_version = "score-pc", ""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _refuse_method(self) -> None:
        self.close_connection = True  # whatever it sends is not read
        self._send(_plain(HTTPStatus.METHOD_NOT_ALLOWED, "nothing is changed here: GET and HEAD alone."))

    def _answer(self) -> None:
        if self.headers.get("Host") not in self.server.hosts or len(self.headers.get_all("Host", [])) != 1:
            self._send(_plain(HTTPStatus.FORBIDDEN, f"the Host of a request must be {self.server.hosts[0]}."))
            return
        try:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=8))
        except ValueError:
            self._send(_plain(HTTPStatus.BAD_REQUEST, "the address cannot be read."))
            return
        _, _, rest = parts.path.partition("/")
        secret, slash, path = rest.partition("/")
        if not slash or not hmac.compare_digest(secret.encode(), self.server.secret.encode()):
            text = "open the whole address that the program has printed, with its secret."
            self._send(_plain(HTTPStatus.FORBIDDEN, text))
            return
        try:
            found = self.server.route(unquote(path), query)
        except (ValueError, OSError) as error:  # a file that is being written, or has just gone
            self._send(_plain(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)))
            return
        self._send(found or _plain(HTTPStatus.NOT_FOUND, "there is no such page."))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": f"{answer.kind}; charset=utf-8"
            if answer.kind.startswith("text/")
            else answer.kind,
            "Content-Length": str(len(answer.content)),
            "Content-Security-Policy": f"{answer.policy}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            **({"Allow": "GET, HEAD"} if answer.status == HTTPStatus.METHOD_NOT_ALLOWED else {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # whoever asked has left
                self.wfile.write(answer.content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not news."""


for _method in REFUSED:
    setattr(_Handler, f"do_{_method}", _Handler._refuse_method)


def _plain(status: HTTPStatus, text: str) -> Answer:
    return Answer(f"{text}\n".encode(), "text/plain", status)
