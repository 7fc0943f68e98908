"""languages/LANG.toml -> sentences. A template is text with slots; rendering one also says where each entity stands.

In a template, `{city}` is the citation form of an entity, `{city:in}` the form "in" that [forms.city] makes of it, and
`{person?he|she}` one of several texts: for a person by sex (male first), for an organisation by its type's number.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unibench.errors import DataError
from unibench.sample import lexicon
from unibench.sample.facts import BRANDS, FAMILY, FEMALE, KINDS, MALE, RELATIONS, TYPES, Fact, Key, kind

FOLDER = Path(__file__).parent / "languages"
CHECKLIST = ("case", "gender", "articles", "particles", "word_order", "spacing")
_SLOT = re.compile(r"\{([a-z]+2?)(?:(:)([a-z_]+)|(\?)([^{}]*))?\}")
_UNSPACED = ("zh", "ja", "th")
Rules = tuple[tuple[re.Pattern[str], str], ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for an entity. `form` "" is the citation form; with `choices` one of them stands instead of the name."""

    name: str
    form: str = ""
    choices: tuple[str, ...] = ()


Template = tuple[str | Slot, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a text that name the entity in `slot`."""

    start: int
    end: int
    slot: str
    key: Key


@dataclass(frozen=True, slots=True)
class Text:
    """A rendered text and the entities named in it, in order."""

    text: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language's file, read and checked."""

    code: str
    name: str
    joiner: str
    checklist: Mapping[str, str]
    female: tuple[str, ...]
    male: tuple[str, ...]
    family: tuple[str, ...]
    full: str
    brands: tuple[str, ...]
    types: tuple[tuple[str, int], ...]
    cities: Mapping[str, str]
    names: Mapping[str, Mapping[str, str]]  # corrections of CLDR: kind -> key -> name
    forms: Mapping[tuple[str, str], Rules]
    statements: Mapping[str, tuple[Template, ...]]
    questions: Mapping[str, tuple[Template, ...]]

    @property
    def spaced(self) -> bool:
        """Whether words are separated by spaces."""
        return self.code not in _UNSPACED


def codes() -> tuple[str, ...]:
    """Returns the languages that have a file, in order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def language(code: str) -> Language:
    """Returns a language's file. Raises DataError, naming file and key, for anything missing or unknown in it."""
    path = FOLDER / f"{code}.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} is not a readable TOML file ({error})") from error
    read = _Reader(path, raw)
    names = raw.get("names", {})
    female, male, family = (read.strings(f"names.{key}", names.get(key), n) for key, n in _NAMES.items())
    organisations = raw.get("organisations", {})
    types = organisations.get("types", ())
    if len(types) != TYPES or not all(len(t) == 2 and "{brand}" in t[0] and isinstance(t[1], int) for t in types):
        raise read.error("organisations.types", f'has to be {TYPES} pairs such as ["{{brand}} Bank", 0]')
    forms = {
        (of, form): tuple((re.compile(pattern), made) for pattern, made in rules)
        for of, table in raw.get("forms", {}).items()
        for form, rules in table.items()
    }
    for of, form in forms:
        if of not in KINDS:
            raise read.error(f"forms.{of}", f"is no kind of entity; expected one of {', '.join(KINDS)}")
        if forms[of, form][-1][0].pattern != "":
            raise read.error(f"forms.{of}.{form}", 'has to end in a rule for every name: ["", "…{}…"]')
    checklist = raw.get("checklist", {})
    if set(checklist) != set(CHECKLIST):
        raise read.error("checklist", f"has to say how the file handles {', '.join(CHECKLIST)}")
    statements = {r: read.templates(f"statements.{r}", raw, forms, RELATIONS[r].slots) for r in RELATIONS}
    questions = {
        r: read.templates(f"questions.{r}", raw, forms, RELATIONS[r].slots[:1]) for r in RELATIONS if RELATIONS[r].asked
    }
    return Language(
        code=code, name=str(raw["name"]), joiner=str(raw["joiner"]), checklist=checklist,
        female=female, male=male, family=family, full=str(names["full"]),
        brands=read.strings("organisations.brands", organisations.get("brands"), BRANDS),
        types=tuple((str(pattern), int(number)) for pattern, number in types),
        cities=raw.get("cities", {}), names=raw.get("corrections", {}), forms=forms,
        statements=statements, questions=questions,
    )  # fmt: skip


_NAMES = {"female": FEMALE, "male": MALE, "family": FAMILY}


@dataclass(frozen=True, slots=True)
class _Reader:
    """One file being read."""

    path: Path
    raw: Mapping[str, Any]

    def error(self, key: str, message: str) -> DataError:
        return DataError(f"{self.path}: {key} {message}")

    def strings(self, key: str, value: Any, count: int) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) != count or len(set(value)) != count:
            raise self.error(key, f"has to be a list of {count} distinct texts, in the order of en.toml")
        return tuple(map(str, value))

    def templates(
        self, key: str, raw: Mapping[str, Any], forms: Mapping[tuple[str, str], Rules], slots: Sequence[str]
    ) -> tuple[Template, ...]:
        table, name = key.split(".")
        texts = raw.get(table, {}).get(name)
        if not isinstance(texts, list) or len(texts) < 2 or len(set(texts)) != len(texts):
            raise self.error(key, "has to be a list of at least two different sentences")
        return tuple(self._template(f"{key}[{i}]", text, forms, slots) for i, text in enumerate(texts))

    def _template(self, key: str, text: str, forms: Mapping[tuple[str, str], Rules], slots: Sequence[str]) -> Template:
        parts: list[str | Slot] = []
        end = 0
        for found in _SLOT.finditer(text):
            name, _, form, asked, choices = found.groups()
            if name not in slots:
                raise self.error(key, f"has a slot {name!r}; this relation has {', '.join(slots)}")
            if form and (kind(name), form) not in forms:
                raise self.error(key, f"asks for the form {form!r}, which [forms.{kind(name)}] does not make")
            if asked and ("|" not in choices or kind(name) not in ("person", "organisation")):
                raise self.error(key, f"has {found.group()!r}; a choice is {{person?he|she}} or of an organisation")
            parts.append(text[end : found.start()])
            parts.append(Slot(name, form or "", tuple(choices.split("|")) if asked else ()))
            end = found.end()
        parts.append(text[end:])
        if any("{" in part or "}" in part for part in parts if isinstance(part, str)):
            raise self.error(key, "has a brace that belongs to no slot; write {city}, {city:in} or {person?he|she}")
        unused = set(slots) - {part.name for part in parts if isinstance(part, Slot) and not part.choices}
        if unused:
            raise self.error(key, f"does not use {', '.join(sorted(unused))}")
        return tuple(part for part in parts if part != "")


@cache
def name(code: str, of: str, key: Key) -> str:
    """Returns what an entity is called in a language, in its citation form."""
    here = language(code)
    corrected = here.names.get(of, {}).get(str(key))
    if corrected is not None:
        return corrected
    if isinstance(key, tuple):
        sort, first, second = key
        if sort == "o":
            return here.types[second][0].replace("{brand}", here.brands[first])
        given = (here.female if sort == "f" else here.male)[first]
        return here.full.replace("{given}", given).replace("{family}", here.family[second])
    if of == "city":
        return here.cities.get(str(key)) or lexicon.city(lexicon.countries()[str(key)].zone, code)
    if of == "year":
        return str(key)
    if of == "number":
        return lexicon.number(int(key), code)
    named = {
        "country": lexicon.country, "continent": lexicon.continent, "currency": lexicon.currency,
        "language": lexicon.tongue, "date": lexicon.day,
    }  # fmt: skip
    return named[of](str(key), code)


@cache
def formed(code: str, of: str, form: str, key: Key) -> tuple[str, int, int]:
    """Returns an entity's name in a form, and where in it the name itself stands: in brackets that the rule puts there,
    else where the citation form is, else everywhere.
    """
    plain = name(code, of, key)
    if not form:
        return plain, 0, len(plain)
    for pattern, made in language(code).forms[of, form]:
        found = pattern.search(plain)
        if found:
            text = found.expand(made.replace("{}", "\0")).replace("\0", plain)
            before, opened, rest = text.partition("[")
            if opened:
                inside, _, after = rest.partition("]")
                return before + inside + after, len(before), len(before) + len(inside)
            start = text.find(plain)
            return (text, 0, len(text)) if start < 0 else (text, start, start + len(plain))
    raise AssertionError("the last rule takes every name")


def render(code: str, template: Template, fact: Fact) -> Text:
    """Returns the sentence that a template makes of a fact (a question: of a fact whose value it does not name)."""
    here, slots = language(code), fact.slots
    out, spans, at = [], [], 0
    for part in template:
        if isinstance(part, Slot):
            key = slots[part.name]
            if part.choices:
                text = part.choices[_choice(here, key)]
            else:
                text, start, end = formed(code, kind(part.name), part.form, key)
                spans.append(Span(at + start, at + end, part.name, key))
        else:
            text = part
        out.append(text)
        at += len(text)
    return Text(_sentence(here, "".join(out)), tuple(spans))


def state(code: str, fact: Fact, paraphrase: int) -> Text:
    """Returns a fact stated in one of the language's wordings: the `paraphrase`-th, counted around."""
    templates = language(code).statements[fact.relation]
    return render(code, templates[paraphrase % len(templates)], fact)


def ask(code: str, fact: Fact, paraphrase: int) -> Text:
    """Returns a question whose answer is the fact's value."""
    templates = language(code).questions[fact.relation]
    return render(code, templates[paraphrase % len(templates)], fact)


def join(code: str, texts: Sequence[Text]) -> Text:
    """Returns sentences as one text."""
    here = language(code)
    spans, at = [], 0
    for text in texts:
        spans += [Span(span.start + at, span.end + at, span.slot, span.key) for span in text.spans]
        at += len(text.text) + len(here.joiner)
    return Text(here.joiner.join(text.text for text in texts), tuple(spans))


def _choice(here: Language, key: Key) -> int:
    assert isinstance(key, tuple), "only persons and organisations have a gender here"
    return here.types[key[2]][1] if key[0] == "o" else int(key[0] == "f")


def _sentence(here: Language, text: str) -> str:
    """Returns the text begun as a sentence is. No letter's capital has another length in these languages."""
    if text.endswith(".."):  # a date that ends in an abbreviation, before the full stop
        text = text[:-1]
    first = "İ" if here.code == "tr" and text[0] == "i" else text[0].upper()
    return first + text[1:]
