"""What can be checked about a language's sentences without speaking it: `python -m unibench.sample.check [LANG …]`."""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache

import numpy as np

from unibench.errors import DataError
from unibench.sample import lexicon, templates
from unibench.sample.facts import RELATIONS, Fact, Key, World, everything, kind, true_of
from unibench.sample.templates import Template

# In a language that does not use the Latin script, a sign of English left over.
LATIN = re.compile(r"[A-Za-z]{2,}")


def problems(code: str) -> list[str]:
    """Returns what is wrong with a language's file, a line each; nothing when it passes.

    Every wording is filled with facts of every kind of subject (both sexes, every type of organisation, every country)
    and must be read back as that fact and no other; no sentence may be the English one, nor hold letters of another
    script; names must be there and be told apart.
    """
    try:
        here = templates.language(code)
    except DataError as error:
        return [str(error)]
    found = [*_ambiguous_names(code), *_untranslated(code)]
    for relation in RELATIONS:
        wordings = [(f"statements.{relation}", here.statements[relation], True)]
        if RELATIONS[relation].asked:
            wordings.append((f"questions.{relation}", here.questions[relation], False))
        for key, several, stated in wordings:
            for index, template in enumerate(several):
                where = f"{code}.toml: {key}[{index}]"
                for fact in _samples(relation):
                    text = templates.render(code, template, fact).text
                    found += [f"{where}: {what}: {text}" for what in _wrong(code, text)]
                    if stated and (read := parse(code, text)) != {fact}:
                        other = ", ".join(sorted({f.relation for f in read - {fact}})) or "nothing"
                        found.append(f"{where}: reads back as {other}: {text}")
    return list(dict.fromkeys(found))


def parse(code: str, text: str) -> set[Fact]:
    """Returns every fact that some wording of the language states in just this sentence."""
    # A sentence's first letter was made a capital, and a stop after an abbreviation's was left out.
    begun = {text, text[0].lower() + text[1:], text.replace("İ", "i", 1) if text[0] == "İ" else text}
    ways = {way + stop for way in begun for stop in ("", "." if text.endswith(".") else "")}
    found = set()
    for relation, wordings in templates.language(code).statements.items():
        fitting = [t for t in wordings if all(p in text for p in t[1:-1] if isinstance(p, str))]
        for template, way in itertools.product(fitting, ways):
            for slots in _readings(code, template, way):
                fact = Fact(relation=relation, entities=tuple(slots[slot] for slot in RELATIONS[relation].slots))
                if templates.render(code, template, fact).text == text:
                    found.add(fact)
    return found


def _readings(code: str, template: Template, text: str) -> Iterator[dict[str, Key]]:
    """Yields the entities, by slot, of every way in which a template can have made a text."""
    if not template:
        if not text:
            yield {}
        return
    part, rest = template[0], template[1:]
    if isinstance(part, str):
        if text.startswith(part):
            yield from _readings(code, rest, text[len(part) :])
    elif part.choices:
        for choice in part.choices:
            if text.startswith(choice):
                yield from _readings(code, rest, text[len(choice) :])
    else:
        names = _names(code, kind(part.name), part.form)
        for end in range(1, len(text) + 1):
            for key in names.get(text[:end], ()):
                for slots in _readings(code, rest, text[end:]):
                    if slots.get(part.name, key) == key:
                        yield {**slots, part.name: key}


@cache
def _names(code: str, of: str, form: str) -> dict[str, set[Key]]:
    """Returns entities by what they are called, as it is and begun as a sentence is not; of dates those in samples."""
    found: dict[str, set[Key]] = {}
    for key in everything(of) if of != "date" else _days():
        called = templates.formed(code, of, form, key)[0]
        for way in (called, called[0].lower() + called[1:]):
            found.setdefault(way, set()).add(key)
    return found


@cache
def _days() -> tuple[Key, ...]:
    world = World(np.random.default_rng(1))
    return tuple(sorted({world.draw("date") for _ in range(40)}))


def _samples(relation: str) -> list[Fact]:
    """Returns facts that meet every sex, type of organisation and country in the relation."""
    world = World(np.random.default_rng(0))
    subject = kind(RELATIONS[relation].slots[0])
    if relation in {fact.relation for fact in true_of("DE")}:
        facts = [fact for country in everything("country") for fact in true_of(str(country))]
        return [fact for fact in facts if fact.relation == relation]
    out = []
    for index, country in enumerate(everything("country")):
        pool = everything(subject) if subject != "date" else _days()
        fact = world.fact(relation, pool[(index * 37 + index // 7) % len(pool)])
        entities = list(fact.entities)
        for at, slot in enumerate(RELATIONS[relation].slots[1:], start=1):
            if kind(slot) in ("country", "city") and country not in entities:
                entities[at] = country
                break
        for at, slot in enumerate(RELATIONS[relation].slots):
            if kind(slot) == "date":
                entities[at] = _days()[index % len(_days())]
        out.append(Fact(relation=relation, entities=tuple(entities)))
    return out


def _wrong(code: str, text: str) -> list[str]:
    found = []
    if text != unicodedata.normalize("NFC", text):
        found.append("is not in Unicode's composed form")
    if "  " in text or text != text.strip():
        found.append("has a space too many")
    if re.search(r"\s[.,;:!?…](\s|$)", text) and code != "fr":
        found.append("has a space before a stop")
    if text[-1] not in ".?。？।۔؟;;" and code != "th":
        found.append("ends without a stop")
    if not _uses_latin(code) and LATIN.search(text):
        found.append(f"holds Latin letters ({', '.join(LATIN.findall(text))})")
    return found


def _uses_latin(code: str) -> bool:
    return "a" <= lexicon.country("FR", code)[0].lower() <= "z"


def _untranslated(code: str) -> list[str]:
    """Returns the sentences that equal the English ones, and names that CLDR gives only in English."""
    if code == "en":
        return []
    here, english = templates.language(code), templates.language("en")
    same = []
    for table, ours, theirs in (
        ("statements", here.statements, english.statements),
        ("questions", here.questions, english.questions),
    ):
        for relation, several in ours.items():
            shared = {_words(t) for t in several} & {_words(t) for t in theirs[relation]}
            same += [f"{code}.toml: {table}.{relation} holds the English sentence {' '.join(w)!r}" for w in shared if w]
    return same


def _words(template: Template) -> tuple[str, ...]:
    return tuple(w for p in template if isinstance(p, str) for w in re.findall(r"\w+", p.lower()))


def _ambiguous_names(code: str) -> list[str]:
    found = []
    names: dict[str, tuple[str, Key]] = {}
    for of in ("country", "city", "continent", "currency", "language"):
        for key in everything(of):
            try:
                called = templates.name(code, of, key).casefold()
            except KeyError:
                called = ""
            if called.strip() in ("", str(key).casefold()):  # CLDR gives a code where it has no name
                found.append(f"{code}: {of} {key} has no name in CLDR; give one under [corrections.{of}]")
                continue
            other = names.setdefault(called, (of, key))
            if other != (of, key) and {of, other[0]} & {"country", "city"}:
                found.append(f"{code}: {of} {key} and {other[0]} {other[1]} are both called {called!r}; correct one")
            elif other != (of, key) and of == other[0]:
                found.append(f"{code}: {of} {key} and {other[1]} are both called {called!r}; correct one")
    return found


def main(arguments: list[str]) -> int:
    """Prints the problems of the languages named, of all without names; returns 1 if there are any."""
    failed = 0
    for code in arguments or templates.codes():
        found = problems(code)
        failed += bool(found)
        print(f"{code}: {'passes' if not found else f'{len(found)} problems'}")
        for line in found[:60]:
            print(f"  {line}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
