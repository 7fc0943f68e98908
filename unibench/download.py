"""One file of a Hub dataset, fetched beside its place and named once its hash is right; half a file is gone on with.

Not through `hf_hub_download`, which begins an interrupted file again from its first byte, trusts a file that is there
without reading it, and compares what arrives by its size alone. What it notes beside a file is noted here too, so
`hf download --local-dir` and this go on with what the other began.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from unibench import atomic, mirror
from unibench.errors import Unavailable, one_line
from unibench.mirror import Hashes

TRIES, PAUSE_S = 4, 1.0  # of one file, without a byte having come; the pause doubles
TIMEOUT_S = 30.0
FULL = (errno.ENOSPC, errno.EDQUOT)
Report = Callable[[int], None]  # is told how many bytes have come, or, below 0, must come again


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One file of a dataset on the Hub. `oid` is its sha256 (64 digits, LFS) or git's sha1 of it as a blob (40)."""

    hub: str
    commit: str
    name: str
    size: int
    oid: str

    def __post_init__(self) -> None:
        """Raises Unavailable for what a listing may not say: a path that leads elsewhere, or no hash."""
        path = PurePosixPath(self.name)
        inside = (
            not path.is_absolute()
            and ".." not in path.parts
            and "\\" not in self.name
            and path.parts[:1] != (".cache",)
        )
        if not inside or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", self.oid):
            raise Unavailable(f"{self.hub} lists {self.name!r} with the hash {self.oid!r}, which no dataset holds")

    def matches(self, found: Hashes) -> bool:
        return self.oid == (found.sha256 if len(self.oid) == 64 else found.blob)


def whole(remote: Remote, root: Path) -> Hashes | None:
    """Returns the hashes of the file if it is there and whole. It is read: a size can be right by chance."""
    path = root / remote.hub / remote.name
    if not path.is_file() or path.stat().st_size != remote.size:
        return None
    found = mirror.hashes(path)
    return found if remote.matches(found) else None


def part_of(remote: Remote, root: Path) -> Path:
    """Returns where the file grows; named by its hash, so that no byte of another version gets into it."""
    return root / remote.hub / ".cache" / "unibench" / f"{remote.oid}.part"


def bring(remote: Remote, root: Path, report: Report) -> Hashes:
    """Returns the hashes of the file, now in its place below `root`, its commit noted as `hf download` does.

    Raises Unavailable where the Hub gives it up, or gives it damaged twice, and OSError of a full disk.
    """
    path, part = root / remote.hub / remote.name, part_of(remote, root)
    part.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    for again in (True, False):
        _receive_all(remote, part, report)
        found = mirror.hashes(part)
        if remote.matches(found):
            break
        part.unlink()
        report(-remote.size)
        if not again:
            raise Unavailable(f"{remote.hub}/{remote.name} arrives damaged: its hash is not the Hub's; try again later")
    os.replace(part, path)
    note(remote, root)
    return found


def note(remote: Remote, root: Path) -> None:
    """Notes the file's commit beside it, as `hf download` does, unless it is noted."""
    path = root / remote.hub / ".cache" / "huggingface" / "download" / f"{remote.name}.metadata"
    if not path.is_file() or path.read_text(encoding="utf-8").split("\n")[0] != remote.commit:
        atomic.write(path, f"{remote.commit}\n{remote.oid}\n{time.time()}\n")


def _receive_all(remote: Remote, part: Path, report: Report) -> None:
    """Leaves `part` with as many bytes as the file has, those that an earlier try left included."""
    had = part.stat().st_size if part.exists() else 0
    if had > remote.size:
        part.unlink()
        had = 0
    report(had)
    left = TRIES
    while had < remote.size:
        try:
            _receive(remote, part, had, report)
            problem: Exception = EOFError("the answer ended early")
        except OSError as error:
            if error.errno in FULL:
                raise
            problem = error
        except Exception as error:  # any of two libraries' network errors
            problem = error
        now = part.stat().st_size if part.exists() else 0
        left = TRIES if now > had else left - 1
        had = now
        if had < remote.size and (left == 0 or _final(problem)):
            remedy = "the same command goes on"
            if _status(problem) in (401, 403):
                remedy = f"accept the terms of {remote.hub} on the Hub, and log in with hf auth login"
            raise Unavailable(
                f"{remote.hub}/{remote.name} cannot be fetched ({one_line(problem)}); {remedy}"
            ) from problem
        if had < remote.size and left < TRIES:
            time.sleep(PAUSE_S * 2 ** (TRIES - 1 - left))
    if not remote.size:
        part.touch()


def _receive(remote: Remote, part: Path, had: int, report: Report) -> None:
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    url = hf_hub_url(remote.hub, remote.name, repo_type="dataset", revision=remote.commit)
    # Compressed on its way, a file would have other bytes, and no place to go on from.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as response:
        hf_raise_for_status(response)
        if had and response.status_code != 206:  # it starts at the first byte, whatever was asked
            report(-had)
            had = 0
        with part.open("ab" if had else "wb", buffering=0) as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                report(len(chunk))
            os.fsync(file.fileno())


def _final(problem: Exception) -> bool:
    """Returns whether asking again is no use: the Hub refused, and did not just ask to wait."""
    return 400 <= _status(problem) < 500 and _status(problem) not in (408, 429)


def _status(problem: Any) -> int:
    return getattr(getattr(problem, "response", None), "status_code", 0)
