"""Where text comes from -> clean, deduplicated lines, language by language.

Nothing is kept in memory but one language's line hashes. A corpus has an identity: a hash of its content and of the
languages chosen, which names the vocabulary and the shards made from it.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unibert import built
from unibert.errors import UserError
from unibert.reading import Fault, lines

SUFFIXES = (".txt", ".txt.zst", ".txt.gz")
MIN_CHARACTERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Raw lines by language. `read(language)` starts afresh at each call; `identity` is hex sha256.

    A curated corpus also has `documents(language)`, paragraphs joined by "\\n", and its size by language, `characters`.
    """

    name: str
    languages: tuple[str, ...]
    identity: str
    read: Callable[[str], Iterator[str]]
    documents: Callable[[str], Iterator[str]] | None = None
    characters: Mapping[str, int] | None = None


@dataclass(slots=True)
class Counts:
    """What cleaning did to one language; lines and characters."""

    lines_read: int = 0
    too_short: int = 0
    duplicates: int = 0
    lines_kept: int = 0
    characters_kept: int = 0
    heldout_lines: int = 0
    tokens: dict[str, int] = field(default_factory=dict)


def from_folder(folder: Path, languages: tuple[str, ...] | None = None) -> Corpus:
    """Returns the corpus of a folder of `LANG.txt`, `LANG.txt.zst` or `LANG.txt.gz`, or of one that was built.

    None takes every language there. A built corpus is known by its manifest: its lines are paragraphs, and its identity
    comes from the hashes written there. Raises UserError for a folder without such files, a language without a file or
    with two, an empty file, a build that is not finished, or a shard of another size than it was given.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; --corpus takes a folder of LANG.txt, LANG.txt.zst or LANG.txt.gz files")
    manifest = built.read(folder)
    if manifest is not None:
        return _from_built(folder, manifest, languages)
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((s for s in SUFFIXES if path.name.endswith(s)), None)
        if suffix is None:
            continue
        language = path.name.removesuffix(suffix)
        if language in files:
            raise UserError(f"{folder} has both {files[language].name} and {path.name}; keep one of them")
        files[language] = path
    if not files:
        raise UserError(f"{folder} holds no LANG.txt, LANG.txt.zst or LANG.txt.gz file")
    chosen = _choose(folder, tuple(sorted(files)), languages)
    for language in chosen:
        if files[language].stat().st_size == 0:
            raise UserError(f"{files[language]} is empty; remove it or leave {language!r} out of --languages")
    digest = hashlib.sha256()
    for language in sorted(chosen):
        digest.update(f"{language}\0".encode())
        with files[language].open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return Corpus(
        name=folder.name, languages=chosen, identity=digest.hexdigest(), read=lambda code: _lines(files[code])
    )


def _from_built(folder: Path, manifest: Mapping[str, Any], languages: tuple[str, ...] | None) -> Corpus:
    spoken = built.spoken(manifest)
    if not spoken:
        raise UserError(f"the corpus in {folder} holds no text in any language; see `unibench corpus stats {folder}`")
    chosen = _choose(folder, spoken, languages)
    shards = {language: built.shards(folder, manifest, language) for language in chosen}
    return Corpus(
        name=folder.name,
        languages=chosen,
        identity=built.identity(manifest, chosen),
        read=lambda code: built.paragraphs(shards[code]),
        documents=lambda code: itertools.chain.from_iterable(map(built.documents, shards[code])),
        characters={
            code: sum(shard["characters"] for shard in manifest["languages"][code]["shards"]) for code in chosen
        },
    )


def _choose(folder: Path, known: tuple[str, ...], languages: tuple[str, ...] | None) -> tuple[str, ...]:
    """Returns the languages asked for, each once; UserError for one that the folder lacks."""
    if languages is None:
        return known
    for language in languages:
        if language not in known:
            close = get_close_matches(language, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {len(known)}: {', '.join(known[:12])} …"
            raise UserError(f"no language {language!r} in {folder}; {hint}")
    return tuple(dict.fromkeys(languages))


def from_iterable(lines: Mapping[str, Iterable[str]], name: str = "iterable") -> Corpus:
    """Returns a corpus of lines held by the caller; each value must be iterable more than once (a list, say)."""
    digest = hashlib.sha256()
    for language in sorted(lines):
        if iter(lines[language]) is lines[language]:
            raise UserError(f"the lines of {language!r} can be read only once; pass a list")
        digest.update(f"{language}\0".encode())
        for line in lines[language]:
            digest.update(line.encode() + b"\n")
    return Corpus(name=name, languages=tuple(lines), identity=digest.hexdigest(), read=lambda code: iter(lines[code]))


def clean(lines: Iterable[str], counts: Counts) -> Iterator[str]:
    """Yields NFC lines without control characters, each once, of at least MIN_CHARACTERS; counts what it drops."""
    seen: set[bytes] = set()
    for raw in lines:
        counts.lines_read += 1
        line = unicodedata.normalize("NFC", raw)
        # Cc are control characters; Cf (joiners, direction marks) stay: Persian and Indic spelling needs them.
        line = "".join(c if unicodedata.category(c) != "Cc" else " " for c in line) if not line.isprintable() else line
        line = " ".join(line.split())
        if len(line) < MIN_CHARACTERS:
            counts.too_short += 1
            continue
        key = hashlib.blake2b(line.encode(), digest_size=8).digest()
        if key in seen:
            counts.duplicates += 1
            continue
        seen.add(key)
        counts.lines_kept += 1
        counts.characters_kept += len(line)
        yield line


def usable(corpus: Corpus, language: str, counts: Counts) -> Iterator[tuple[str, bool]]:
    """Yields the lines to train on, and whether each goes on with the document of the line before it.

    Raw lines are cleaned and stand alone, and every one's hash is held; of a curated corpus nothing is.
    """
    if corpus.documents is None:
        for line in clean(corpus.read(language), counts):
            yield line, False
        return
    for document in corpus.documents(language):
        goes_on = False
        for line in document.split("\n"):
            counts.lines_read += 1
            if len(line) < MIN_CHARACTERS:
                counts.too_short += 1
                continue
            counts.lines_kept += 1
            counts.characters_kept += len(line)
            yield line, goes_on
            goes_on = True


def is_heldout(line: str, share: float = 0.02) -> bool:
    """Returns whether a line is kept for evaluation: by its own hash, so that no order or seed can move it."""
    return hashed_below(line, share, b"heldout")


def hashed_below(line: str, share: float, purpose: bytes) -> bool:
    """Returns whether a line is among `share` of all lines, drawn by their hashes, for one purpose."""
    value = int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8, person=purpose).digest(), "big")
    return value < share * 2**64


def _lines(path: Path) -> Iterator[str]:
    for line in lines(str(path), str(path)):
        if isinstance(line, Fault):
            raise UserError(line.message)
        yield line
