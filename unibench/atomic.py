"""Files written whole or not at all: a reader sees the old one or the new, never half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def writing(path: Path, *, once: bool = False) -> Iterator[IO[bytes]]:
    """Yields a file that takes the place of `path` when the `with` block ends, and vanishes if it ends in an error.

    The temporary file has a name of its own, so two processes that write one path do not meet in it. With `once` an
    existing file is left alone: FileExistsError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's 0600 would keep what lies on a shared disk to its maker
        if once:
            os.link(name, path)
        else:
            os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Writes a text file in UTF-8."""
    with writing(path) as file:
        file.write(text.encode())
