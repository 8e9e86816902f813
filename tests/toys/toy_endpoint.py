"""A chat server that does as it is told, and remembers what it was asked."""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PIECE = re.compile(r"<piece>\n(.*?)\n</piece>", re.DOTALL)


@dataclass
class Say:
    """What the server does about one request."""

    text: str | None = '{"reason": "toy", "labels": []}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    raw: bytes | None = None  # the whole body, instead of a chat completion
    cut: int | None = None  # bytes of the body that are sent before the connection is cut off
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10})
    finish: str = "stop"


@dataclass(frozen=True)
class Asked:
    """A request: when, about which piece, what it said, and how many times that piece was asked about before."""

    at: float
    piece: str
    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    time: int


class Server:
    """``with Server(script) as server``: ``script(asked)`` says what to do; ``server.asked`` is what was asked."""

    def __init__(self, script: Callable[[Asked], Say] = lambda _: Say()) -> None:
        self.script, self.asked = script, []
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections are kept
            wbufsize = -1  # one packet an answer

            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        piece = PIECE.search(body["messages"][0]["content"])
        with self._lock:
            text = piece[1] if piece else ""
            times = sum(each.piece == text for each in self.asked)
            asked = Asked(time.monotonic(), text, body, dict(request.headers), request.path, times)
            self.asked.append(asked)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self._send(request, self.script(asked), body)
        except OSError:
            pass  # the client was killed, or has given up
        finally:
            with self._lock:
                self.in_flight -= 1

    def _send(self, request: http.server.BaseHTTPRequestHandler, say: Say, body: dict[str, Any]) -> None:
        time.sleep(say.after)
        choice = {"message": {"role": "assistant", "content": say.text}, "finish_reason": say.finish}
        reply = {"model": f"{body['model']}@toy", "choices": [choice], "usage": say.usage}
        content = json.dumps(reply).encode() if say.raw is None else say.raw
        request.send_response(say.status)
        for name, value in say.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: say.cut])
        request.wfile.flush()
        request.close_connection = request.close_connection or say.cut is not None
