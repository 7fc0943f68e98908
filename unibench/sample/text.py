"""Text to pretrain on: prose where a language has a file, and phrases built from CLDR in every other that CLDR knows.

Prose is short passages about one or two subjects; most say a fact twice in different words, or ask before they answer:
what a masked word was can then be read elsewhere in the passage, and a compact model that learns to look there (it does
so abruptly, after a thousand steps or two) can use it in every task. Phrases are lists, dates, sums of money, and
places with their names in other languages, as an encyclopedia gives them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Literal

import numpy as np
from babel import Locale
from babel.dates import format_date
from babel.lists import format_list
from babel.numbers import format_currency

from unibench.errors import UnknownName
from unibench.sample import fingerprint, lexicon, templates
from unibench.sample.facts import (
    DAYS,
    EVENTS,
    FIRST_DAY,
    OF_ORGANISATION,
    OF_PERSON,
    RELATIONS,
    Fact,
    World,
    everything,
    kind,
    true_of,
)  # fmt: skip
from unibench.sample.templates import Text

PROSE_LINES, PHRASE_LINES, GLOSSES = 3000, 400, 300
ENOUGH_COUNTRIES = 40  # of the sample's, named by CLDR; below that a language has next to nothing else either
SEED = 0


@cache
def speaks(code: str) -> bool:
    """Returns whether there is text in a language: it has a file, or CLDR has its names."""
    if code in templates.codes():
        return True
    found = lexicon.locale(code)
    return found is not None and len(set(found.territories) & set(lexicon.countries())) >= ENOUGH_COUNTRIES


def pick(wanted: Literal["all"] | Sequence[str], candidates: Iterable[str]) -> tuple[str, ...]:
    """Returns the wanted languages; "all" is those of `candidates` that the sample has text in.

    Raises UnknownName for one that it has no text in.
    """
    having = tuple(code for code in candidates if speaks(code))
    if wanted == "all":
        return having
    for code in wanted:
        if not speaks(code):
            raise UnknownName("language", code, having, "the sample's text")
    return tuple(dict.fromkeys(wanted))


def identity(languages: Sequence[str]) -> str:
    """Returns a hash that decides the text in these languages."""
    return hashlib.sha256(f"{fingerprint()} {SEED} {' '.join(sorted(languages))}".encode()).hexdigest()


def lines(code: str) -> list[str]:
    """Returns the text of a language, a passage or phrase a line; the same at every call."""
    digest = hashlib.sha256(f"text {SEED} {code}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    if code not in templates.codes():
        return _phrases(code, rng, PHRASE_LINES)
    prose = _prose(code, rng)
    return [*prose, *_phrases(code, rng, GLOSSES)]


def _prose(code: str, rng: np.random.Generator) -> list[str]:
    world = World(rng)
    return [_passage(code, world) for _ in range(PROSE_LINES)]


def _passage(code: str, world: World) -> str:
    facts = _about(world)
    if world.rng.random() < 0.3:
        facts += _about(world)
    told = [(fact, int(world.rng.integers(12))) for fact in facts]
    asked = [n for n, (fact, _) in enumerate(told) if RELATIONS[fact.relation].asked]
    way = world.rng.random()
    texts: list[Text] = [templates.state(code, fact, n) for fact, n in told]
    if way < 0.65:  # said again in other words, or said with what follows from it
        fact, n = world.choice(told)
        follows = [r for r, relation in RELATIONS.items() if relation.follows_from == fact.relation]
        if follows and world.rng.random() < 0.5:
            fact = Fact(relation=follows[0], entities=fact.entities)
        texts.append(templates.state(code, fact, n + 1))
    elif way < 0.95 and asked:  # asked, and answered in another sentence or in a word
        fact, n = told[world.choice(asked)]
        question = templates.ask(code, fact, n)
        slot = RELATIONS[fact.relation].slots[-1]
        short = Text(templates.name(code, kind(slot), fact.value))
        texts += [question, templates.state(code, fact, n + 1) if world.rng.random() < 0.5 else short]
    return templates.join(code, texts).text


def _about(world: World) -> list[Fact]:
    """Returns one to three facts about one subject, or an event."""
    of = world.choice(("person", "organisation", "country", "event"))
    if of == "event":
        return [world.fact(world.choice(EVENTS))]
    subject = world.draw(of)
    count = 1 + int(world.rng.integers(3))
    if of == "country":
        true = true_of(str(subject))
        return [true[int(n)] for n in world.rng.permutation(len(true))[:count]]
    told = OF_PERSON if of == "person" else OF_ORGANISATION
    return [world.fact(told[int(n)], subject) for n in world.rng.permutation(len(told))[:count]]


def _phrases(code: str, rng: np.random.Generator, count: int) -> list[str]:
    here = lexicon.known(code)
    makers = [make for make, has in _MAKERS if has(here)]
    return [makers[int(rng.integers(len(makers)))](code, here, rng) for _ in range(count)]


def _draw(rng: np.random.Generator, options: Sequence[str], count: int) -> list[str]:
    return [options[int(n)] for n in rng.permutation(len(options))[:count]]


def _list_of_countries(code: str, here: Locale, rng: np.random.Generator) -> str:
    named = [c for c in lexicon.countries() if c in here.territories]
    return format_list([_named("country", c, code) for c in _draw(rng, named, int(rng.integers(3, 7)))], locale=here)


def _list_of_languages(code: str, here: Locale, rng: np.random.Generator) -> str:
    named = [c for c in map(str, everything("language")) if c in here.languages]
    return format_list([_named("language", c, code) for c in _draw(rng, named, int(rng.integers(3, 7)))], locale=here)


def _dates(code: str, here: Locale, rng: np.random.Generator) -> str:
    first = FIRST_DAY + timedelta(days=int(rng.integers(DAYS)))
    second = first + timedelta(days=int(rng.integers(1, 4000)))
    if rng.random() < 0.5:
        return f"{format_date(first, 'long', locale=here)} – {format_date(second, 'long', locale=here)}"
    return format_date(first, "full", locale=here)


def _money(code: str, here: Locale, rng: np.random.Generator) -> str:
    named = [c for c in map(str, everything("currency")) if c in here.currencies]
    sums = [(int(rng.integers(2, 1000)), c) for c in _draw(rng, named, 3)]
    return format_list([format_currency(n, c, locale=here, format_type="name", currency_digits=False) for n, c in sums],
                       locale=here)  # fmt: skip


def _places(code: str, here: Locale, rng: np.random.Generator) -> str:
    named = [c for c in lexicon.countries() if c in here.territories]
    places = [(_named("country", c, code), _named("city", c, code)) for c in _draw(rng, named, 3)]
    return " · ".join(f"{country}: {city}" for country, city in places)


def _named(of: str, key: str, code: str) -> str:
    """Returns what an entity is called: as the language's file has it where there is one, else as CLDR has it."""
    if code in templates.codes():
        return templates.name(code, of, key)
    if of == "city":
        return lexicon.city(lexicon.countries()[key].zone, code)
    return {"country": lexicon.country, "language": lexicon.tongue}[of](key, code)


def _gloss(code: str, here: Locale, rng: np.random.Generator) -> str:
    """A place and what it is called in two other languages, each after that language's name."""
    place = _draw(rng, [c for c in lexicon.countries() if c in here.territories], 1)[0]
    others = _draw(rng, [c for c in templates.codes() if c != code and c in here.languages], 2)
    of = "city" if rng.random() < 0.5 and _own_cities(here) else "country"
    foreign = [_named(of, place, other) for other in others]
    pairs = [f"{here.languages[other]}: {name}" for other, name in zip(others, foreign, strict=True)]
    return f"{_named(of, place, code)} ({' · '.join(pairs)})"


def _many(names: str, enough: int) -> Callable[[Locale], bool]:
    return lambda here: len(getattr(here, names)) >= enough


def _own_months(here: Locale) -> bool:
    """Whether the months are the language's own: CLDR's root has M01 to M12."""
    return not str(here.months["format"]["wide"][1]).startswith("M0")


def _own_cities(here: Locale) -> bool:
    """Whether cities go by the language's names: CLDR leaves out those that are the same as the zone's."""
    return any("city" in here.time_zones.get(c.zone, {}) for c in lexicon.countries().values())


_MAKERS: tuple[tuple[Callable[[str, Locale, np.random.Generator], str], Callable[[Locale], bool]], ...] = (
    (_list_of_countries, _many("territories", ENOUGH_COUNTRIES)),
    (_list_of_languages, _many("languages", 100)),
    (_dates, _own_months),
    (_money, _many("currencies", 100)),
    (_places, _own_cities),
    (_gloss, _many("languages", 100)),
)
