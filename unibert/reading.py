"""One file of text -> its documents, and each thing wrong with it, named by line or row.

A document is a str: its paragraphs, none of them blank, joined by "\\n". What cannot be read comes out in its place as
a Fault, so that whoever reads decides whether to stop or to count it. Memory does not grow with the file.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from unibert.errors import UserError

COMPRESSIONS = ("", ".zst", ".gz")
MAX_LINE_BYTES = 64 << 20  # a longer line is no document, and would have to be held whole
HUB = "hf://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A piece of a file that is not text. `message` names file, place and remedy; `kind` is what it is counted as."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file to read: `path` is what opens it (a local path, or hf://…), `name` what messages and manifests call it.

    `sha256` is what the Hub says of it; None where it is for the reader to find out, or where the Hub has none.
    """

    path: str
    name: str
    size: int
    sha256: str | None = None


@dataclass(slots=True)
class Meter:
    """How many bytes of the files, as they lie on the disk, have been read; about right within a parquet file."""

    bytes: float = 0.0


def documents(file: TextFile, column: str, meter: Meter) -> Iterator[str | Fault]:
    """Yields the documents of a file in order; in a line file blank lines are none. Adds the file's size to `meter`.

    Raises UserError where the disk or the Hub stops answering, which is no fault of the text.
    """
    known, begun = ending(file.path), meter.bytes
    assert known is not None, "only files that have a format are listed"
    try:
        yield from FORMATS[known](file, column, meter)
    except UserError:
        raise
    except Exception as error:  # the Hub's client raises errors of several libraries, not all of them OSError
        if file.path.startswith(HUB):
            raise _unreachable(file.path, file.name, error) from error
        raise
    meter.bytes = begun + file.size


def ending(path: str) -> str | None:
    """Returns the ending of a path that names its format, compression aside; None for a file that holds no text."""
    for compression in COMPRESSIONS:
        for known in FORMATS:
            if path.endswith(known + compression) and not (known == ".parquet" and compression):
                return known
    return None


def paragraphs(text: str) -> str:
    """Returns a text as a document: paragraphs stripped, blank ones gone."""
    return "\n".join(stripped for part in text.split("\n") if (stripped := part.strip()))


def lines(path: str, name: str, meter: Meter | None = None) -> Iterator[str | Fault]:
    """Yields the lines of a text file, plain or compressed; what follows a Fault of kind "truncated" is lost."""
    number = 0
    for raw in _raw_lines(path, name, meter):
        number += 1
        if isinstance(raw, Fault):
            yield raw
            continue
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            place = f"{name}, line {number} is not UTF-8 ({error.reason} at byte {error.start})"
            yield Fault(kind="not UTF-8", message=f"{place}; convert the file")


def _raw_lines(path: str, name: str, meter: Meter | None) -> Iterator[bytes | Fault]:
    number, held, size = 0, list[bytes](), 0
    begun = meter.bytes if meter else 0.0
    try:
        with _open(path) as file:
            for chunk in _chunks(file, path):
                if meter:
                    meter.bytes = begun + file.tell()
                *whole, rest = chunk.split(b"\n")
                for piece in whole:
                    number += 1
                    yield _joined(held, size, piece, name, number)
                    held, size = [], 0
                size += len(rest)
                held = [*held, rest] if size <= MAX_LINE_BYTES else []
        if size:
            number += 1
            yield _joined(held, size, b"", name, number)
    except (EOFError, gzip.BadGzipFile, zstandard.ZstdError, zlib.error) as error:
        message = f"{name} is truncated or corrupt after line {number} ({error}); fetch it again"
        yield Fault(kind="truncated", message=message)
    except OSError as error:
        raise _unreachable(path, name, error) from None


def _joined(held: list[bytes], size: int, last: bytes, name: str, number: int) -> bytes | Fault:
    if size + len(last) > MAX_LINE_BYTES:
        limit = f"{MAX_LINE_BYTES >> 20} MB"
        return Fault(kind="too long", message=f"{name}, line {number} is longer than {limit}; split the line")
    return b"".join([*held, last]) if held else last


def _chunks(file: IO[bytes], path: str) -> Iterator[bytes]:
    """Yields the decompressed bytes of a file; EOFError where a compressed one ends early."""
    if not path.endswith(".zst"):
        stream = gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file
        while chunk := stream.read(1 << 20):
            yield chunk
        return
    # zstandard's stream reader ends quietly on a truncated frame, so frames are followed by hand.
    frame = zstandard.ZstdDecompressor().decompressobj()
    while chunk := file.read(1 << 18):
        while chunk:
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data
    if not frame.eof:
        raise EOFError("the last zstd frame is incomplete")


def _text(file: TextFile, column: str, meter: Meter) -> Iterator[str | Fault]:
    for line in lines(file.path, file.name, meter):
        if isinstance(line, Fault):
            yield line
        elif document := line.strip():
            yield document


def _jsonl(file: TextFile, column: str, meter: Meter) -> Iterator[str | Fault]:
    for number, line in enumerate(lines(file.path, file.name, meter), start=1):
        if isinstance(line, Fault):
            yield line
            continue
        if not line.strip():
            continue
        place = f"{file.name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Fault(kind="malformed", message=f"{place} is not JSON ({error}); correct or remove it")
            continue
        yield _field(row, column, place)


def _parquet(file: TextFile, column: str, meter: Meter) -> Iterator[str | Fault]:
    import datasets
    import pyarrow as pa
    import pyarrow.dataset as pads
    import pyarrow.parquet as pq

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs each error that is reported here
    options = {}
    if not file.path.startswith(HUB):  # fetching ahead is for the network; on a disk it holds 200 MB for nothing
        scan = pads.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
        options["fragment_scan_options"] = scan
    number, rows, begun = 0, 0, meter.bytes
    try:
        with _open(file.path) as raw:
            footer = pq.ParquetFile(raw)
            rows, schema = footer.metadata.num_rows, footer.schema_arrow
        if column not in schema.names:
            yield Fault(
                kind="no column", message=f"{file.name} has no column {column!r} in its {rows} rows; {_has(schema)}"
            )
            return
        kind = schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            yield Fault(
                kind="no text", message=f"{file.name}: column {column!r} is {kind} in its {rows} rows, expected text"
            )
            return
        stream = datasets.load_dataset(
            "parquet", data_files={"rows": [file.path]}, split="rows", streaming=True, columns=[column], **options
        )
        for row in stream:
            number += 1
            meter.bytes = begun + file.size * number / rows
            yield _field(row, column, f"{file.name}, row {number}")
    except (pa.ArrowException, ValueError, OSError) as error:
        # Of a damaged file pyarrow raises OSError too, but without a number.
        if isinstance(error, OSError) and (error.errno or file.path.startswith(HUB)):
            raise _unreachable(file.path, file.name, error) from None
        rest = f", {rows - number} rows lost" if rows else ""
        message = f"{file.name} is truncated or corrupt after row {number}{rest} ({_one_line(error)}); fetch it again"
        yield Fault(kind="truncated", message=message)


# File name ending -> how its documents are read.
FORMATS: Mapping[str, Callable[[TextFile, str, Meter], Iterator[str | Fault]]] = {
    ".txt": _text,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def _field(row: Any, column: str, place: str) -> str | Fault:
    if not isinstance(row, dict) or column not in row:
        found = f"has the fields {', '.join(row)}" if isinstance(row, dict) else f"is {type(row).__name__}"
        return Fault(kind="no column", message=f"{place} {found}; expected {column!r}: name it with --column")
    value = row[column]
    if not isinstance(value, str):
        shown = "null" if value is None else type(value).__name__
        return Fault(kind="no text", message=f"{place}: {column!r} is {shown}, expected text; correct or remove it")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair
        return Fault(kind="not UTF-8", message=f"{place} holds half a surrogate pair; correct or remove it")
    return paragraphs(value)


def _open(path: str) -> IO[bytes]:
    if path.startswith(HUB):
        from huggingface_hub import HfFileSystem

        opened: IO[bytes] = HfFileSystem().open(path, "rb")
        return opened
    return Path(path).open("rb")


def _unreachable(path: str, name: str, error: Exception) -> UserError:
    if path.startswith(HUB):
        return UserError(f"the Hub stopped answering in {name} ({_one_line(error)}); the same command goes on later")
    return UserError(f"{name} cannot be read ({_one_line(error)}); check the file and the disk")


def _has(schema: Any) -> str:
    return f"it has {', '.join(schema.names)}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
