"""How a tokenizer treats each language: tokens a word, bytes a token, and how often it falls back to bytes.

Fertility is tokens per word (Rust et al. 2021, "How Good is Your Tokenizer?", section 3), as `count_words` counts
them; where a script puts no spaces between words it is tokens per character, and the two don't compare. It is measured
on held-out lines, which no vocabulary trained on this corpus has seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from unibert.corpus import Corpus, is_heldout
from unibert.errors import UserError
from unibert.scripts import count_words, unspaced_pattern

SAMPLE_LINES = 500  # of each language; beyond, the second decimal no longer moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A name to show, and what splits lines: for each its pieces' count, and how many of them are a last resort."""

    name: str
    vocabulary: int
    split: Callable[[Sequence[str]], list[tuple[int, int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fertility:
    """What one tokenizer makes of one language's sample. `per` is what `fertility` counts tokens of."""

    tokenizer: str
    language: str
    per: Literal["word", "character"]
    lines: int
    tokens: int
    units: int
    bytes: int
    fallback: int

    @property
    def fertility(self) -> float:
        """Tokens per word or character; nan where there is none."""
        return self.tokens / self.units if self.units else float("nan")

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes per token."""
        return self.bytes / self.tokens if self.tokens else float("nan")

    @property
    def fallback_share(self) -> float:
        """Share of tokens that are single bytes, parts of a character or unknown, 0..1."""
        return self.fallback / self.tokens if self.tokens else float("nan")


def measure(corpus: Corpus, tokenizers: Sequence[Tokenizer], *, lines: int = SAMPLE_LINES) -> list[Fertility]:
    """Returns one Fertility a language and tokenizer, on the first `lines` held-out lines of each language.

    Words and characters languages apart, each worst first by the first tokenizer. A language without a held-out line
    has `lines` 0 and nan everywhere.
    """
    rows: dict[str, list[Fertility]] = {}
    for language in corpus.languages:
        sample = list(islice((line for line in corpus.read(language) if is_heldout(line)), lines))
        rows[language] = [_measure(tokenizer, language, sample) for tokenizer in tokenizers]
    order = sorted(rows, key=lambda language: _worst_first(rows[language][0]))
    return [row for language in order for row in rows[language]]


def load(spec: str, results: Path) -> Tokenizer:
    """Returns the tokenizer in a folder, or of a model trained under `results`; runs no code that lies beside it."""
    named = results / "models" / spec
    folder = Path(spec) if Path(spec).is_dir() else named
    if not folder.is_dir():
        raise UserError(f"no tokenizer {spec!r}; --tokenizer takes a folder, or a model under {results / 'models'}")
    file = folder / "tokenizer.json"
    try:
        if file.is_file():
            from tokenizers import Tokenizer as Fast

            fast = Fast.from_file(str(file))
        else:
            from transformers import AutoTokenizer

            fast = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            ).backend_tokenizer
    except Exception as error:  # of any kind, by what the files are
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} holds no tokenizer that can be opened ({reason}); give another folder") from None
    fast.no_padding()
    fast.no_truncation()
    return Tokenizer(name=folder.resolve().name, vocabulary=fast.get_vocab_size(), split=_splitter(fast))


def _measure(tokenizer: Tokenizer, language: str, sample: Sequence[str]) -> Fertility:
    pieces = tokenizer.split(sample)
    units = sum(map(count_words, sample))
    unspaced = sum(len(unspaced_pattern().findall(line)) for line in sample)
    return Fertility(
        tokenizer=tokenizer.name,
        language=language,
        per="character" if unspaced > units / 2 else "word",
        lines=len(sample),
        tokens=sum(count for count, _ in pieces),
        units=units,
        bytes=sum(len(line.encode()) for line in sample),
        fallback=sum(last for _, last in pieces),
    )


def _worst_first(row: Fertility) -> tuple[bool, bool, float, str]:
    return (not row.lines, row.per == "character", -row.fertility if row.lines else 0.0, row.language)


def _splitter(fast: Any) -> Callable[[Sequence[str]], list[tuple[int, int]]]:
    last = _last_resorts(fast)

    def split(lines: Sequence[str]) -> list[tuple[int, int]]:
        encoded = fast.encode_batch(list(lines), add_special_tokens=False)
        return [(len(line.ids), sum(id in last for id in line.ids)) for line in encoded]

    return split


def _last_resorts(fast: Any) -> frozenset[int]:
    """Returns the ids of pieces that stand for no text of their own: byte pieces, the unknown, parts of a character."""
    described = json.loads(fast.to_str())
    vocabulary = fast.get_vocab(with_added_tokens=True)
    unknown = described["model"].get("unk_token")
    if isinstance(number := described["model"].get("unk_id"), int):
        unknown = fast.id_to_token(number)
    found = {id for piece, id in vocabulary.items() if piece == unknown or _is_byte_piece(piece)}
    if "ByteLevel" in _types(described.get("pre_tokenizer")):
        special = {token["id"] for token in described.get("added_tokens", ())}
        found |= {id for piece, id in vocabulary.items() if id not in special and _is_partial(piece)}
    return frozenset(found)


def _types(described: Any) -> set[str]:
    """Returns the types in a pre-tokenizer's description, those in a sequence included."""
    if not described:
        return set()
    return {described["type"]}.union(*(_types(part) for part in described.get("pretokenizers", ())))


def _is_byte_piece(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def _is_partial(piece: str) -> bool:
    """Returns whether a byte-level piece isn't whole characters. Of ASCII, a single byte is a character."""
    table = _bytes_of()
    try:
        bytes(table[character] for character in piece).decode("utf-8")
    except KeyError:
        return False
    except UnicodeDecodeError:
        return True
    return False


@lru_cache(maxsize=1)
def _bytes_of() -> dict[str, int]:
    """Returns the byte each letter of GPT-2's alphabet stands for: printable Latin-1 itself, others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}
