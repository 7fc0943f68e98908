"""A built corpus on disk, and what it says of itself.

FOLDER/LANG-00000.txt.zst, …   text: a paragraph a line, a blank line between documents, about SHARD_BYTES each
FOLDER/languages/LANG.json     a finished language: its sources, what each step took, its shards; written last
FOLDER/build.json              what was asked for; a folder is resumed only by the same request
FOLDER/manifest.json           all of it together, written when the build is done
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import zstandard

from unibert.errors import UserError
from unibert.reading import Fault, lines

MANIFEST, ASKED, LANGUAGES = "manifest.json", "build.json", "languages"
SCHEMA = "unibert-corpus-1"
SHARD_BYTES = 64_000_000
LEVEL = 9


def read(folder: Path) -> dict[str, Any] | None:
    """Returns a built corpus's manifest, None for a folder that no build wrote.

    Raises UserError for a build that is not finished, or a manifest that this version does not know.
    """
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / ASKED).is_file():
            raise UserError(f"the corpus in {folder} is not finished; give the same `unibench corpus build` again")
        return None
    manifest = load(path)
    if not str(manifest.get("schema", "")).startswith("unibert-corpus"):
        return None
    if manifest["schema"] != SCHEMA:
        raise UserError(f"{path} was written by another version of unibert; build the corpus again")
    return manifest


def load(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file; UserError where it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not readable ({error}); build the corpus again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object; build the corpus again")
    return content


def spoken(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the languages that have text, by code."""
    return tuple(sorted(code for code, record in manifest["languages"].items() if record["shards"]))


def summary(record: Mapping[str, Any]) -> dict[str, int]:
    """Returns a finished language's documents, its bytes of text, and the documents kept."""
    read = record["read"]
    return {"documents": read["documents"], "text_bytes": read["bytes"], "kept": record["kept"]["documents"]}


def shards(folder: Path, manifest: Mapping[str, Any], language: str) -> list[Path]:
    """Returns a language's shards in order; UserError where one is missing or has another size than it was given."""
    paths = []
    for shard in manifest["languages"][language]["shards"]:
        path = folder / shard["file"]
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes, expected {shard['bytes']}"
            raise UserError(
                f"{path} {found}; copy the corpus again, or delete {folder / LANGUAGES / language}.json and rebuild"
            )
        paths.append(path)
    return paths


def identity(manifest: Mapping[str, Any], languages: Iterable[str]) -> str:
    """Returns a hex sha256 of the text in `languages`, from the shards' hashes: nothing is read."""
    digest = hashlib.sha256()
    for language in sorted(languages):
        digest.update(f"{language}\0".encode())
        for shard in manifest["languages"][language]["shards"]:
            digest.update(bytes.fromhex(shard["sha256"]))
    return digest.hexdigest()


def paragraphs(paths: Iterable[Path]) -> Iterator[str]:
    """Yields the paragraphs of shards in order, documents run together."""
    for path in paths:
        for line in _lines(path):
            if line:
                yield line


def documents(path: Path) -> Iterator[str]:
    """Yields the documents of one shard."""
    held: list[str] = []
    for line in _lines(path):
        if line:
            held.append(line)
        elif held:
            yield "\n".join(held)
            held = []
    if held:
        yield "\n".join(held)


def _lines(path: Path) -> Iterator[str]:
    for line in lines(str(path), str(path)):
        if isinstance(line, Fault):
            raise UserError(line.message)
        yield line


class ShardWriter:
    """Writes documents into `folder` as STEM-00000.txt.zst, …; `shards` describes those that are closed.

    The same documents give the same bytes under one version of zstandard.
    """

    def __init__(self, folder: Path, stem: str, *, shard_bytes: int | None = SHARD_BYTES, level: int = LEVEL) -> None:
        self.folder, self.stem, self.shard_bytes, self.level = folder, stem, shard_bytes, level
        self.shards: list[dict[str, Any]] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._file is not None:
            if kind is None:
                self._close()
            else:
                self._file.close()

    def add(self, document: str) -> None:
        """Appends a document: paragraphs joined by "\\n", none of them blank."""
        assert document, "a blank line would part no documents"
        if self._file is None:
            self._open()
        separator = "\n" if self._now["documents"] else ""
        data = f"{separator}{document}\n".encode()
        self._put(self._frame.compress(data))
        self._now["documents"] += 1
        self._now["characters"] += len(document)
        self._now["text_bytes"] += len(data)
        if self.shard_bytes is not None and self._now["text_bytes"] >= self.shard_bytes:
            self._close()

    def _open(self) -> None:
        name = f"{self.stem}-{len(self.shards):05d}.txt.zst"
        self._file = (self.folder / name).open("wb")
        self._digest = hashlib.sha256()
        self._frame = zstandard.ZstdCompressor(level=self.level, write_checksum=True).compressobj()
        self._now: dict[str, Any] = {"file": name, "documents": 0, "characters": 0, "text_bytes": 0, "bytes": 0}

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._digest.update(data)
        self._now["bytes"] += len(data)

    def _close(self) -> None:
        assert self._file is not None
        self._put(self._frame.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self.shards.append(self._now | {"sha256": self._digest.hexdigest()})
