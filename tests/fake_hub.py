"""A folder of datasets, served over HTTP on this machine as the Hub's own API serves them; enough for reading."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def serving(root: Path, commit: str) -> Iterator[str]:
    """Serves ROOT/OWNER/NAME at one commit for the length of a `with` block and yields the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked = self.rfile.read(length).decode()
            self.answer(body=True, asked=asked)

        def answer(self, *, body: bool, asked: str = "") -> None:
            path = unquote(self.path.split("?")[0])
            if path == "/":
                return self.send(b"{}", body)
            if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                return self.about(found[1], body)
            if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/(paths-info|tree)/([^/]+)/?(.*)", path):
                names = _paths(asked) if found[2] == "paths-info" else None
                return self.listing(found[1], names, found[4], body)
            if found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                return self.file(root / found[1] / found[3], body)
            return self.send(b'{"error": "no such page"}', body, status=404)

        def about(self, hub: str, body: bool) -> None:
            if not (root / hub).is_dir():
                return self.send(b'{"error": "Repository not found"}', body, 404, {"X-Error-Code": "RepoNotFound"})
            siblings = [{"rfilename": e["path"], **e} for e in _entries(root / hub) if e["type"] == "file"]
            about = {"id": hub, "sha": commit, "private": False, "tags": [], "siblings": siblings}
            return self.send(json.dumps(about).encode(), body)

        def listing(self, hub: str, names: list[str] | None, below: str, body: bool) -> None:
            entries = _entries(root / hub)
            if names is not None:
                entries = [entry for entry in entries if entry["path"] in names]
            elif below:
                entries = [entry for entry in entries if entry["path"].startswith(f"{below}/")]
            self.send(json.dumps(entries).encode(), body)

        def file(self, path: Path, body: bool) -> None:
            if not path.is_file():
                return self.send(b"", body, 404, {"X-Error-Code": "EntryNotFound"})
            data, status = path.read_bytes(), 200
            headers = {"ETag": f'"{sha256(path)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start, end = int(found[1]), int(found[2] or len(data) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
                data, status = data[start : end + 1], 206
            return self.send(data, body, status, headers)

        def send(self, data: bytes, body: bool, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _paths(asked: str) -> list[str]:
    if asked.startswith("{"):
        return list(json.loads(asked)["paths"])
    return [unquote(part.removeprefix("paths=")) for part in asked.split("&") if part.startswith("paths=")]


def _entries(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            entries.append({"type": "directory", "path": name, "oid": "0" * 40, "size": 0})
            continue
        size = path.stat().st_size
        entry: dict[str, Any] = {"type": "file", "path": name, "oid": "0" * 40, "size": size}
        if path.suffix == ".parquet":
            entry["lfs"] = {"oid": sha256(path), "sha256": sha256(path), "size": size, "pointerSize": 130}
        entries.append(entry)
    return entries
