"""A folder of datasets, served over HTTP on this machine as the Hub's own API serves them; enough for reading."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def blob(path: Path) -> str:
    """Git's name of the file."""
    data = path.read_bytes()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


@dataclass
class Weather:
    """What goes wrong on the way, by path below the root; every mishap happens once. `asked` are the files sent.

    `cut` and `held` say after how many bytes the line breaks, or nothing more comes until `calm`; of what is `spoilt`
    one byte changes; what is `shut` is refused with that status, always.
    """

    cut: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    spoilt: list[str] = field(default_factory=list)
    shut: dict[str, int] = field(default_factory=dict)
    deaf: bool = False  # to Range: everything is sent from its first byte
    calm: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range


@contextmanager
def serving(root: Path, commit: str, weather: Weather | None = None) -> Iterator[str]:
    """Serves ROOT/OWNER/NAME at one commit for the length of a `with` block and yields the endpoint.

    A commit that is asked for by its 40 digits is served under them, with the same files.
    """
    weather = weather or Weather()

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
            path = self.path.split("?")[0]  # still quoted: the slashes of refs/convert/parquet part nothing
            if path == "/":
                return self.send(b"{}", body)
            if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                return self.about(found[1], _commit(found[2], commit), body)
            if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/(paths-info|tree)/([^/]+)/?(.*)", path):
                names = _paths(asked) if found[2] == "paths-info" else None
                return self.listing(found[1], names, unquote(found[4]), body)
            if found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                return self.file(root / found[1] / unquote(found[3]), _commit(found[2], commit), body)
            return self.send(b'{"error": "no such page"}', body, status=404)

        def about(self, hub: str, commit: str, body: bool) -> None:
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

        def file(self, path: Path, commit: str, body: bool) -> None:
            if not path.is_file():
                return self.send(b"", body, 404, {"X-Error-Code": "EntryNotFound"})
            name = path.relative_to(root).as_posix()
            if name in weather.shut:
                code = {"X-Error-Code": "GatedRepo"} if weather.shut[name] == 403 else {}
                return self.send(b"", body, weather.shut[name], code)
            data, status = path.read_bytes(), 200
            etag = sha256(path) if _is_lfs(path) else blob(path)
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            if body:
                weather.asked.append((name, self.headers.get("Range", "")))
            if body and name in weather.spoilt:
                weather.spoilt.remove(name)
                data = bytes([data[0] ^ 1]) + data[1:]
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if found and not weather.deaf:
                start, end = int(found[1]), int(found[2] or len(data) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
                data, status = data[start : end + 1], 206
            if body and (name in weather.cut or name in weather.held):
                return self.half(data, status, headers, name)
            return self.send(data, body, status, headers)

        def half(self, data: bytes, status: int, headers: dict[str, str], name: str) -> None:
            self.send(data, False, status, headers)
            self.wfile.write(data[: weather.cut.pop(name, 0) or weather.held[name]])
            self.wfile.flush()
            if weather.held.pop(name, 0):
                weather.calm.wait(60)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

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


def _commit(asked: str | None, latest: str) -> str:
    return asked if asked and re.fullmatch(r"[0-9a-f]{40}", asked) else latest


def _is_lfs(path: Path) -> bool:
    return path.suffix == ".parquet"


def _entries(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            entries.append({"type": "directory", "path": name, "oid": "0" * 40, "size": 0})
            continue
        size = path.stat().st_size
        entry: dict[str, Any] = {"type": "file", "path": name, "oid": blob(path), "size": size}
        if _is_lfs(path):
            entry["lfs"] = {"oid": sha256(path), "sha256": sha256(path), "size": size, "pointerSize": 130}
        entries.append(entry)
    return entries
