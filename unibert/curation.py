"""Curates one document of one language: a chain of steps, each of which can be left out and counts what it does.

A document is a string whose lines are paragraphs. What a step removes is told apart by step, in lines, documents,
characters and tokens, so that the cost of every rule can be read from a corpus's card.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any

from unibert.errors import UserError
from unibert.markup import strip_markup
from unibert.scripts import WRITTEN_IN, count_letters, count_words, foreign_pattern, unspaced_pattern

__all__ = ["STEPS", "Curation", "StepCounts", "Tally", "count_words", "curate"]

_INVALID = re.compile("[\ufffd\ufffe\uffff\ufdd0-\ufdef\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# All that `str.isspace` knows but the plain space and the line feed, and the control characters.
_ODD = re.compile("[\x00-\x09\x0b-\x1f\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_LOOSE = ("  ", " \n", "\n ", "\n\n")
_ENDED = re.compile(r"[.!?…。！？．।॥؟۔։።៕၊။|;][\"'”’»)\]」』]*\Z")
_GRAM = 5  # words; Gopher's rules (Rae et al. 2021, table A1) look at 5 to 10
_GRAM_LETTERS = 10  # where spaces do not part words
_MIN_GRAMS = 20
_JUDGED_BYTES = 40  # under that, an identifier guesses
# What the identifier calls a language by another name, and names that it cannot tell apart from it.
_ALSO = {"nb": {"no"}, "sh": {"bs", "hr", "sr"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curation:
    """What each step asks for; `skip` names steps to leave out.

    Lengths are in characters. A line counts as ended where its last mark ends a sentence; the others are headings,
    items or remnants unless they have `min_line_words`. Longer documents than `max_characters` are cut at a line's
    end, not dropped: long articles are good text, but one must not fill a language. Shares lie between 0 and 1:
    `max_repeated_share` bounds both the characters in repeated lines and the 5-word (10-letter) sequences that were
    there before, as Rae et al. 2021 bound theirs (0.30 for lines); a line needs `min_letter_share` of its characters
    to be letters, and `min_script_share` of its letters from the language's scripts: names and terms in another script
    are normal, a line mostly in another is not. `min_confidence` is the probability from which the identifier's word
    that a line is in another language counts; None leaves the step out. That is the default: the step needs an extra,
    is slower than all others together, and cannot judge 18 of the 107 languages.
    """

    skip: tuple[str, ...] = ()
    min_line_words: int = 5
    max_line_characters: int = 20_000
    min_characters: int = 20
    max_characters: int = 100_000
    max_repeated_share: float = 0.3
    min_letter_share: float = 0.5
    min_script_share: float = 0.3
    min_confidence: float | None = None

    def __post_init__(self) -> None:
        for name in self.skip:
            if name not in STEPS:
                close = get_close_matches(name, STEPS, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(STEPS)}"
                raise UserError(f"no curation step {name!r}; {hint}")
        for name in ("max_repeated_share", "min_letter_share", "min_script_share", "min_confidence"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"{name} {value} is not a share; give a number from 0 to 1")
        if not 0 <= self.min_characters <= self.max_characters:
            raise UserError(
                f"min_characters {self.min_characters} is not between 0 and {self.max_characters}, the maximum"
            )


@dataclass(slots=True)
class StepCounts:
    """What entered a step and what it did. Lines count as dropped where the step judged lines, not documents."""

    documents: int = 0
    characters: int = 0
    tokens: int = 0
    dropped_documents: int = 0
    dropped_lines: int = 0
    changed_documents: int = 0
    unjudged_lines: int = 0

    def enter(self, document: str, tokens: int) -> None:
        """Counts a document of that many tokens."""
        self.documents += 1
        self.characters += len(document)
        self.tokens += tokens


@dataclass(slots=True)
class Tally:
    """The counts of every step that ran, and of the documents that came through; can be pickled and merged."""

    steps: dict[str, StepCounts] = field(default_factory=dict)
    kept: StepCounts = field(default_factory=StepCounts)

    def merge(self, other: Tally) -> None:
        """Adds another tally's counts to this one."""
        pairs = [(self.steps.setdefault(name, StepCounts()), counts) for name, counts in other.steps.items()]
        for mine, theirs in [*pairs, (self.kept, other.kept)]:
            for each in fields(StepCounts):
                setattr(mine, each.name, getattr(mine, each.name) + getattr(theirs, each.name))

    def to_plain(self) -> dict[str, Any]:
        """Returns {"steps": {name: counts, in order of application}, "kept": {documents, characters, tokens}}."""
        steps = {name: asdict(self.steps[name]) for name in STEPS if name in self.steps}
        kept = {name: getattr(self.kept, name) for name in ("documents", "characters", "tokens")}
        return {"steps": steps, "kept": kept}


def curate(
    document: str, language: str, settings: Curation, tally: Tally, count_tokens: Callable[[str], int]
) -> str | None:
    """Returns the cleaned document, None when a step drops it whole. From "length" on, what a step leaves must be long
    enough; a language that `unibert.scripts` does not know passes the step "script" unjudged.
    """
    tokens = count_tokens(document)
    shortest = 1
    for name, step in STEPS.items():
        if name in settings.skip or (name == "language" and settings.min_confidence is None):
            continue
        counts = tally.steps.setdefault(name, StepCounts())
        counts.enter(document, tokens)
        cleaned = step(document, language, settings, counts)
        if name == "length":
            shortest = max(1, settings.min_characters)
        if len(cleaned) < shortest:
            counts.dropped_documents += 1
            return None
        if cleaned != document:
            counts.changed_documents += 1
            document, tokens = cleaned, count_tokens(cleaned)
    tally.kept.enter(document, tokens)
    return document


def _unicode(document: str, language: str, settings: Curation, counts: StepCounts) -> str:
    """NFC, without byte-order marks and without lines that hold replacement marks, surrogates or non-characters."""
    if document.isascii():
        return document
    document = unicodedata.normalize("NFC", document.replace("\ufeff", ""))
    if _INVALID.search(document):
        return _filtered(document, lambda line: not _INVALID.search(line), counts)
    return document


def _control(document: str, language: str, settings: Curation, counts: StepCounts) -> str:
    """No control characters (Cf stay: joiners and direction marks are spelling), single spaces, no empty lines."""
    odd = _ODD.search(document)
    if odd:
        document = _CONTROL.sub(" ", document.replace("\r\n", "\n").replace("\r", "\n"))
    if odd or document[:1].isspace() or document[-1:].isspace() or any(loose in document for loose in _LOOSE):
        document = "\n".join(filter(None, (" ".join(line.split()) for line in document.split("\n"))))
    return document


def _markup(document: str, language: str, settings: Curation, counts: StepCounts) -> str:
    """No remnants of wiki text or HTML; entities may have brought what the first two steps remove."""
    stripped, dropped = strip_markup(document)
    counts.dropped_lines += dropped
    if stripped == document:
        return document
    return _control(unicodedata.normalize("NFC", stripped.replace("\ufeff", "")), language, settings, counts)


def _length(document: str, language: str, settings: Curation, counts: StepCounts) -> str:
    """No stubs, no endless lines; whole lines up to the greatest length of a document."""

    def fits(line: str) -> bool:
        if len(line) > settings.max_line_characters:
            return False
        return _ENDED.search(line[-8:]) is not None or count_words(line) >= settings.min_line_words

    document = _filtered(document, fits, counts)
    if len(document) > settings.max_characters:
        end = document.rfind("\n", 0, settings.max_characters + 1)
        counts.dropped_lines += document.count("\n", max(end, 0))
        document = document[: end if end >= 0 else settings.max_characters]
    return document


def _repetition(document: str, language: str, settings: Curation, counts: StepCounts) -> str:
    """No line twice, no line of mere digits and punctuation; nothing where too much is repeated."""
    lines = document.split("\n")
    distinct = dict.fromkeys(lines)
    repeated = sum(map(len, lines)) - sum(map(len, distinct))
    if repeated > settings.max_repeated_share * len(document):
        return ""
    counts.dropped_lines += len(lines) - len(distinct)

    def spelled(line: str) -> bool:
        letters, visible = count_letters(line)
        return letters >= settings.min_letter_share * visible

    kept = _filtered("\n".join(distinct), spelled, counts)
    words = kept.split()
    grams: Sequence[object] = list(zip(*(words[i:] for i in range(_GRAM)), strict=False))
    if len(words) * _GRAM_LETTERS < len(kept) and unspaced_pattern().search(kept):
        grams = [kept[i : i + _GRAM_LETTERS] for i in range(len(kept) - _GRAM_LETTERS + 1)]
    repeats = len(grams) >= _MIN_GRAMS and len(set(grams)) < (1 - settings.max_repeated_share) * len(grams)
    return "" if repeats else kept


def _script(document: str, language: str, settings: Curation, counts: StepCounts) -> str:
    """Only lines mostly written in a script of the language."""
    if language not in WRITTEN_IN:
        counts.unjudged_lines += document.count("\n") + 1
        return document
    foreign = foreign_pattern(WRITTEN_IN[language])
    if not foreign.search(document):
        return document

    def ours(line: str) -> bool:
        found = sum(map(len, foreign.findall(line)))
        return not found or found <= (1 - settings.min_script_share) * count_letters(line)[0]

    return _filtered(document, ours, counts)


def _language(document: str, language: str, settings: Curation, counts: StepCounts) -> str:
    """No line that the identifier, knowing this language, confidently takes for another."""
    classify, known = _identifier()
    same = {language} | _ALSO.get(language, set())

    def ours(line: str) -> bool:
        if not same & known or len(line.encode()) < _JUDGED_BYTES:
            counts.unjudged_lines += 1
            return True
        found, confidence = classify(line)
        return found in same or confidence < (settings.min_confidence or 0.0)

    return _filtered(document, ours, counts)


# In order of application.
STEPS: Mapping[str, Callable[[str, str, Curation, StepCounts], str]] = {
    "unicode": _unicode,
    "control": _control,
    "markup": _markup,
    "length": _length,
    "repetition": _repetition,
    "script": _script,
    "language": _language,
}


def _filtered(document: str, keep: Callable[[str], bool], counts: StepCounts) -> str:
    lines = document.split("\n")
    kept = [line for line in lines if keep(line)]
    counts.dropped_lines += len(lines) - len(kept)
    return document if len(kept) == len(lines) else "\n".join(kept)


@cache
def _identifier() -> tuple[Callable[[str], tuple[str, float]], frozenset[str]]:
    """Returns (line -> language and its probability, the languages it knows) of the model that py3langid ships."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError(
            "the curation step 'language' needs py3langid; pip install unibench[corpus], or leave min_confidence unset"
        ) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def classify(line: str) -> tuple[str, float]:
        language, confidence = identifier.classify(line)
        return str(language), float(confidence)

    return classify, frozenset(map(str, identifier.labels))
