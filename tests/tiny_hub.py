"""A small hub on this machine: it serves folders as the real one does, and has gated and missing models."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves ``models``: name -> folder. The model ``gated/model`` is there, but not for us.

    Attributes:
        breaks: names of files whose first download ends after half of them.
        asked: the names of the files that were downloaded, or begun.
    """

    def __init__(self, models: dict[str, Path]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.breaks, self.asked = models, set(), []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        asks_for_facts = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if asks_for_facts else parts[:2])
        if name == "gated/model":
            self._refuse(403, "GatedRepo")
        elif name not in self.server.models:
            self._refuse(404, "RepoNotFound")
        elif asks_for_facts:
            self._facts(parts[4:])
        elif parts[2:3] == ["resolve"] and parts[3] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif not (file := self.server.models[name].joinpath(*parts[4:])).is_file():
            self._refuse(404, "EntryNotFound")
        else:
            self._send(file, with_body)

    def _facts(self, rest: list[str]) -> None:
        if rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if rest[:1] not in ([], ["revision"]):
            return self._refuse(404, "EntryNotFound")
        self._reply(
            200, json.dumps({"id": "tiny", "sha": COMMIT, "siblings": []}).encode(), {"Content-Type": "application/json"}
        )

    def _send(self, file: Path, with_body: bool) -> None:
        content = file.read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0] or 0)
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"ETag": etag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if not with_body:
            return self._reply(200, b"", headers | {"Content-Length": str(len(content))})
        self.server.asked.append(file.name)
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[first:]
        if file.name in self.server.breaks:
            self.server.breaks.discard(file.name)
            self._reply(200, body[: len(body) // 2], headers | {"Content-Length": str(len(body))})
            self.close_connection = True
            return None
        return self._reply(206 if first else 200, body, headers | {"Content-Length": str(len(body))})

    def _refuse(self, status: int, code: str) -> None:
        self._reply(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "2"})

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(models: dict[str, Path]) -> Iterator[Hub]:
    """A hub that answers within the block."""
    with Hub(models) as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
