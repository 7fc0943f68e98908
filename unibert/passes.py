"""One language, from its source's files to its shards, in two passes; memory does not grow with the text.

Pass 1 reads the source, curates each document and puts what is left into a temporary file, with a signature of each for
finding duplicates. Pass 2 reads that file again, without duplicates, takes out what stands in test sets, and writes the
shards. They appear in the corpus's folder when they are whole, and the language's record after them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unibert import built, reading
from unibert.contamination import Index
from unibert.curation import Curation, Tally, count_words, curate
from unibert.documents import Source
from unibert.duplicates import NearDuplicates, SignatureWriter, duplicates
from unibert.errors import UserError
from unibert.manifest import file_sha256, versions, write_text
from unibert.reading import Fault, Meter
from unibert.workers import Report

PACKAGES = ("unibench", "datasets", "datasketch", "numpy", "pyarrow", "zstandard")
REPORT_EVERY = 64  # documents
SHOWN_FAULTS = 20  # of each language, in its record
TEMPORARY = ".part-"
PASS_1 = 0.8  # of a language's time
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is done to every language. `limit` counts documents read; `duplicates` None keeps them."""

    curation: Curation = field(default_factory=Curation)
    duplicates: NearDuplicates | None = field(default_factory=NearDuplicates)
    limit: int | None = None
    skip_bad: bool = False
    shard_bytes: int = built.SHARD_BYTES

    def to_plain(self) -> dict[str, Any]:
        """Returns the recipe as JSON would give it back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


@dataclass(slots=True)
class Amount:
    """So much text; tokens are words as `count_words` counts them, bytes are UTF-8."""

    documents: int = 0
    characters: int = 0
    tokens: int = 0
    bytes: int = 0

    def add(self, text: str, *, documents: int = 1) -> None:
        """Adds a text that is so many documents."""
        self.documents += documents
        self.characters += len(text)
        self.tokens += count_words(text)
        self.bytes += len(text.encode())

    def take(self, text: str) -> None:
        """Takes away a part of a text that was added."""
        self.characters -= len(text)
        self.tokens -= count_words(text)
        self.bytes -= len(text.encode())


def build_language(
    language: str, report: Report, *, source: Source, recipe: Recipe, index: Path | None, out: Path
) -> dict[str, Any]:
    """Returns the language's record, once its shards and the record lie in `out`; `index` is a saved `Index`.

    Raises UserError, with nothing left behind, for input that is refused and for a disk that is full.
    """
    with full_disk(out):
        folder = Path(tempfile.mkdtemp(dir=out, prefix=f"{TEMPORARY}{language}-"))
        try:
            record: dict[str, Any] = {"revision": source.revision, "files": _describe(source, language)}
            record |= _curated(language, source, recipe, folder, report)
            record |= _distinct(language, record, recipe, index, folder, report)
            record["packages"] = versions(PACKAGES)
            _tell(language, record, 1.0, report)  # which ends a worker that nobody waits for
            for stale in out.glob(f"{language}-[0-9][0-9][0-9][0-9][0-9].txt.zst"):
                stale.unlink()  # of a build that was killed before it wrote this record
            for shard in record["shards"]:
                os.replace(folder / shard["file"], out / shard["file"])
            text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
            write_text(out / built.LANGUAGES / f"{language}.json", text)
            return record
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def full_disk(out: Path) -> Iterator[None]:
    """Turns the system's word for a full disk into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(
            f"no room left in {out} ({error.strerror}); finished languages are kept: free some space and give the same "
            "command again"
        ) from None


def _curated(language: str, source: Source, recipe: Recipe, folder: Path, report: Report) -> dict[str, Any]:
    """Pass 1: returns what was read and what curation took; leaves curated documents and signatures in `folder`."""
    read, tally, faults = Amount(), Tally(), _Faults(recipe.skip_bad)
    wanted = recipe.duplicates
    signing = nullcontext() if wanted is None else SignatureWriter(folder / "signatures", wanted)
    with built.ShardWriter(folder, "curated", shard_bytes=None, level=1) as writer, signing as signatures:
        for document in _read(language, source, recipe, faults, report):
            read.add(document)
            kept = curate(document, language, recipe.curation, tally, count_words)
            if kept and (kept := reading.paragraphs(kept)):
                writer.add(kept)
                if signatures is not None:
                    signatures.add(kept)
    if not read.documents:
        faults.take(Fault(kind="empty", message=f"{source.name} holds no document in {language!r}; leave it out"))
    return {"read": asdict(read), "faults": faults.to_plain(), "curation": tally.to_plain()}


def _read(language: str, source: Source, recipe: Recipe, faults: _Faults, report: Report) -> Iterator[str]:
    meter, number, size = Meter(), 0, 0
    whole = max(source.size(language), 1)
    for file in source.files[language]:
        for document in reading.documents(file, source.column, meter):
            if isinstance(document, Fault):
                faults.take(document)
                continue
            if number == recipe.limit:
                return
            if number % REPORT_EVERY == 0:
                done = max(meter.bytes / whole, number / recipe.limit if recipe.limit else 0.0)
                report({"language": language, "done": PASS_1 * done, "documents": number, "text_bytes": size})
            number += 1
            size += len(document.encode())
            yield document


def _distinct(
    language: str, record: dict[str, Any], recipe: Recipe, index: Path | None, folder: Path, report: Report
) -> dict[str, Any]:
    """Pass 2: returns what duplicates and test sets took and what is left, with its shards, which lie in `folder`."""
    exact, near, tested, kept = Amount(), Amount(), Amount(), Amount()
    touched = 0
    curated = folder / "curated-00000.txt.zst"
    writer = built.ShardWriter(folder, language, shard_bytes=recipe.shard_bytes)
    if curated.is_file():
        exact_N, near_N = (None, None)
        if recipe.duplicates is not None:
            exact_N, near_N = duplicates(folder / "signatures", recipe.duplicates)
        known = None if index is None else Index.load(index)
        with writer:
            for number, document in enumerate(built.documents(curated)):
                if number % REPORT_EVERY == 0:
                    _tell(language, record, number / record["curation"]["kept"]["documents"], report)
                if exact_N is not None and exact_N[number]:
                    exact.add(document)
                elif near_N is not None and near_N[number]:
                    near.add(document)
                else:
                    left, paragraphs = known.clean(document) if known else (document, 0)
                    left = reading.paragraphs(left)
                    touched += paragraphs > 0
                    if paragraphs:
                        tested.add(document, documents=0 if left else 1)
                        tested.take(left)
                    if left:
                        kept.add(left)
                        writer.add(left)
        curated.unlink()
    return {
        "exact_duplicates": asdict(exact),
        "near_duplicates": asdict(near),
        "contaminated": asdict(tested) | {"touched": touched},
        "kept": asdict(kept),
        "shards": writer.shards,
    }


def _tell(language: str, record: dict[str, Any], done: float, report: Report) -> None:
    """Reports how much of pass 2 is done; `done` 0..1."""
    read = record["read"]
    share = PASS_1 + (1 - PASS_1) * done
    report({"language": language, "done": share, "documents": read["documents"], "text_bytes": read["bytes"]})


class _Faults:
    """Stops at the first fault, or counts all of them by kind and keeps the first few messages."""

    def __init__(self, skip: bool) -> None:
        self.skip, self.counts, self.messages = skip, Counter[str](), list[str]()

    def take(self, fault: Fault) -> None:
        if not self.skip:
            raise UserError(f"{fault.message}, or pass it over and count it with --skip-bad")
        self.counts[fault.kind] += 1
        if len(self.messages) < SHOWN_FAULTS:
            self.messages.append(fault.message)

    def to_plain(self) -> dict[str, Any]:
        return {"counts": dict(sorted(self.counts.items())), "first": self.messages}


def _describe(source: Source, language: str) -> list[dict[str, Any]]:
    """Returns name, bytes and hash of each file; of a local one also when it was last changed."""
    described = []
    for file in source.files[language]:
        entry: dict[str, Any] = {"file": file.name, "bytes": file.size, "sha256": file.sha256}
        if source.kind != "hub":
            entry["modified_ns"] = Path(file.path).stat().st_mtime_ns
            entry["sha256"] = file_sha256(Path(file.path))
        described.append(entry)
    return described
