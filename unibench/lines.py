"""A text file, plain or compressed -> its numbered lines, and the two ways in which a file can be wrong.

Text is UTF-8, with or without a byte order mark; lines end at "\\n" (or "\\r\\n") and nowhere else, so that a line
separator inside a sentence does not move the numbers that an editor shows.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
OPENERS: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}  # .zst: see _zst_chunks
MAGIC: Mapping[str, bytes] = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\x00"}  # how such files begin


class RowError(Exception):
    """What is wrong with one row, without where it stands. `item` counts the token that is at fault, the first is 0."""

    def __init__(self, message: str, *, item: int = 0) -> None:
        super().__init__(message)
        self.item = item


class FileError(Exception):
    """What is wrong with a whole file, and in which line (None: in no one line). No card can pass over it."""

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (number, line), the first being 1, without line ends. Raises FileError for bytes that are no text."""
    number = 0
    for number, raw in enumerate(_raw_lines(path), start=1):
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            found = f"is not UTF-8 (byte {raw[error.start]:#04x} at byte {error.start + 1} of the line)"
            raise FileError(f"{found}; convert the file to UTF-8", line=number) from None


def text(path: Path) -> str:
    """Returns the whole file with "\\n" between its lines; raises FileError as `lines` does."""
    return "\n".join(line for _, line in lines(path))


def _raw_lines(path: Path) -> Iterator[bytes]:
    held: list[bytes] = []
    try:
        for chunk in _chunks(path):
            *whole, rest = chunk.split(b"\n")
            for piece in whole:
                yield b"".join([*held, piece]) if held else piece
                held = []
            if rest:
                held.append(rest)
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise FileError(
            f"cannot be read to its end ({' '.join(str(error).split())}); it is cut short or damaged"
        ) from None
    if held:
        yield b"".join(held)


def _chunks(path: Path) -> Iterator[bytes]:
    if path.suffix == ".zst":
        yield from _zst_chunks(path)
        return
    if magic := MAGIC.get(path.suffix):
        with path.open("rb") as file:
            head = file.read(len(magic))
        if head and head != magic:
            raise FileError(f"is not compressed as {path.suffix} says; rename it or compress it")
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _zst_chunks(path: Path) -> Iterator[bytes]:
    """Follows the frames by hand: zstandard's own stream reader ends a truncated one without a word."""
    import zstandard

    try:
        frame = zstandard.ZstdDecompressor().decompressobj()
        begun = False
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                while data:
                    if frame.eof:
                        frame = zstandard.ZstdDecompressor().decompressobj()
                    yield frame.decompress(data)
                    data, begun = frame.unused_data, True
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from None
    if begun and not frame.eof:
        raise EOFError("its last frame is incomplete")
