"""Text files, compressed or not, come line by line under the numbers an editor shows."""

from __future__ import annotations

import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from own_files import STS, Write, error_of, writer

from unibench.lines import FileError, lines


@pytest.fixture
def card(tmp_path: Path) -> Write:
    return writer(tmp_path / "mine")


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst"])
def test_lines_of_compressed_files(tmp_path: Path, ending: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {
        "": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.ZstdCompressor().compress,
    }  # fmt: skip
    path = tmp_path / f"a.txt{ending}"
    content = "\ufeffone\r\n\n\ufefftwo\x85\u2028\n" + "x" * 3_000_000 + "\nlast"
    raw = content.encode()
    path.write_bytes(pack[ending](raw[:2_000_001]) + pack[ending](raw[2_000_001:]))  # two members, cut in a line
    found = list(lines(path))
    assert found == [(1, "one"), (2, ""), (3, "\ufefftwo\x85\u2028"), (4, "x" * 3_000_000), (5, "last")]
    path.write_bytes(pack[ending](b""))
    assert list(lines(path)) == []
    path.write_bytes(pack[ending](b"good\n\nbad \xe9\n"))
    with pytest.raises(FileError, match=r"not UTF-8 \(byte 0xe9 at byte 5 of the line\); convert") as caught:
        list(lines(path))
    assert caught.value.line == 3
    if ending:
        plain = r"is not compressed as .* says; rename it" if ending != ".zst" else r"cannot be read to its end"
        cut = pack[ending](os.urandom(100_000).hex().encode())[:50_000]
        for damaged, expected in ((cut, r"cannot be read .*; it is cut short or damaged"), (b"plain text\n", plain)):
            path.write_bytes(damaged)
            with pytest.raises(FileError, match=expected):
                list(lines(path))


def test_bytes_that_are_no_text_are_named(card: Write) -> None:
    message = error_of(card(STS, {"pairs/en.csv": "a,b,gold\nx,é,1\n".encode("latin-1")}), "en")
    assert "pairs/en.csv:2: is not UTF-8 (byte 0xe9 at byte 3 of the line); convert the file to UTF-8" in message
