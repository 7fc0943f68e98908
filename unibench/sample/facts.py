"""The world: relations, entities, and who may appear where.

A fact is a relation with one entity in each of its slots. An entity is a plain key (a country's code, a pair of name
numbers); what it is called depends on the language and is `templates`' business.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Literal, TypeVar

import numpy as np

from unibench.sample import lexicon

Key = str | int | tuple[str, int, int]
Part = Literal["train", "dev", "eval"]
T = TypeVar("T")

FEMALE, MALE, FAMILY, BRANDS, TYPES = 20, 20, 40, 24, 6  # names of each sort in every language
FIRST_DAY, DAYS = date(1935, 1, 1), 25_000
KINDS = ("person", "organisation", "city", "country", "continent", "currency", "language", "date", "year", "number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What a sentence can say. The first slot is its subject, the last its value; a digit tells two of a kind apart.

    `functional`: a subject has one value, so another one contradicts. `follows_from`: known where that relation is,
    because a city lies in one country of this world. `asked`: it has questions.
    """

    slots: tuple[str, ...]
    functional: bool = False
    follows_from: str = ""
    asked: bool = False


RELATIONS: Mapping[str, Relation] = {
    "capital": Relation(slots=("country", "city"), functional=True, asked=True),
    "currency": Relation(slots=("country", "currency"), functional=True, asked=True),
    "official_language": Relation(slots=("country", "language"), functional=True, asked=True),
    "continent": Relation(slots=("country", "continent"), functional=True, asked=True),
    "neighbour": Relation(slots=("country", "country2")),
    "born_in": Relation(slots=("person", "city"), functional=True, asked=True),
    "born_on": Relation(slots=("person", "date"), functional=True, asked=True),
    "lives_in": Relation(slots=("person", "city"), functional=True, asked=True),
    "works_for": Relation(slots=("person", "organisation"), asked=True),
    "speaks": Relation(slots=("person", "language")),
    "born_country": Relation(slots=("person", "country"), functional=True, follows_from="born_in"),
    "lives_country": Relation(slots=("person", "country"), functional=True, follows_from="lives_in"),
    "seat": Relation(slots=("organisation", "city"), functional=True, asked=True),
    "founded": Relation(slots=("organisation", "year"), functional=True, asked=True),
    "employees": Relation(slots=("organisation", "number"), functional=True, asked=True),
    "director": Relation(slots=("organisation", "person"), functional=True, asked=True),
    "seat_country": Relation(slots=("organisation", "country"), functional=True, follows_from="seat"),
    # Events: further contexts for names, asked about nowhere.
    "meeting": Relation(slots=("person", "person2", "city")),
    "office": Relation(slots=("organisation", "country")),
    "journey": Relation(slots=("person", "city", "city2")),
    "agreement": Relation(slots=("organisation", "organisation2", "date", "city")),
    "book": Relation(slots=("person", "country")),
    "talk": Relation(slots=("person", "city", "year")),
    "prize": Relation(slots=("person", "organisation")),
    "concert": Relation(slots=("date",)),
}
OF_PERSON = ("born_in", "born_on", "lives_in", "works_for", "speaks")
OF_ORGANISATION = ("seat", "founded", "employees", "director")
EVENTS = ("meeting", "office", "journey", "agreement", "book", "talk", "prize", "concert")
FOLLOWING = ("born_country", "lives_country", "seat_country")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One relation with its entities, in the order of the relation's slots."""

    relation: str
    entities: tuple[Key, ...]

    @property
    def slots(self) -> Mapping[str, Key]:
        """The entities by slot."""
        return dict(zip(RELATIONS[self.relation].slots, self.entities, strict=True))

    @property
    def subject(self) -> Key:
        """The entity the fact is about."""
        return self.entities[0]

    @property
    def value(self) -> Key:
        """What the fact says of its subject."""
        return self.entities[-1]


def kind(slot: str) -> str:
    """Returns what may stand in a slot: "city2" takes a city."""
    return slot.rstrip("2")


@cache
def everything(of: str) -> tuple[Key, ...]:
    """Returns all entities of a kind, except dates, which are drawn."""
    world = lexicon.countries()
    sets: Mapping[str, Sequence[Key]] = {
        "person": [
            (sex, given, family)
            for sex, count in (("f", FEMALE), ("m", MALE))
            for given, family in itertools.product(range(count), range(FAMILY))
        ],
        "organisation": [("o", brand, type) for brand, type in itertools.product(range(BRANDS), range(TYPES))],
        "country": list(world),
        "city": list(world),  # a capital goes by its country's code
        "continent": sorted({c.continent for c in world.values()}),
        "currency": sorted({c.currency for c in world.values()}),
        "language": sorted({c.language for c in world.values() if c.language}),
        # Multiples of 100: with them the noun counted has one and the same form in each of the languages.
        "number": list(range(200, 10_000, 100)),
        "year": list(range(1850, 2021)),
    }
    return tuple(sets[of])


def true_of(code: str) -> list[Fact]:
    """Returns the facts about a country."""
    country = lexicon.countries()[code]
    found = [("capital", code), ("currency", country.currency), ("continent", country.continent)]
    if country.language is not None:
        found.append(("official_language", country.language))
    found += [("neighbour", other) for other in country.borders]
    return [Fact(relation=relation, entities=(code, value)) for relation, value in found]


def _name_part(number: int) -> Part:
    """Which part of the data a name (or place) with this number belongs to: 5 of 8 train, 1 dev, 2 eval."""
    order: tuple[Part, ...] = ("train", "train", "eval", "train", "dev", "train", "eval", "train")
    return order[number % len(order)]


def belongs(of: str, key: Key, part: Part) -> bool:
    """Whether a person or organisation may appear in a part: every one of its names belongs to that part alone.

    So no person or organisation of eval is met in training, and neither is any of their names.
    """
    if isinstance(key, tuple):
        return all(_name_part(n) == part for n in (key[1:] if of == "person" else key[1:2]))
    return True


def place_belongs(key: Key, part: Part) -> bool:
    """Whether a country, or its capital, belongs to a part where places are kept apart, too (named entities)."""
    return _name_part(list(lexicon.countries()).index(str(key))) == part


@dataclass(slots=True)
class World:
    """Draws facts. `part` None draws from all names; `places_apart` keeps the places of other parts out."""

    rng: np.random.Generator
    part: Part | None = None
    places_apart: bool = False
    _pools: dict[str, tuple[Key, ...]] = field(default_factory=dict)

    def draw(self, of: str, *avoid: Key) -> Key:
        """Returns an entity of a kind, none of `avoid`."""
        while True:
            if of == "date":
                key: Key = (FIRST_DAY + timedelta(days=int(self.rng.integers(DAYS)))).isoformat()
            else:
                pool = self._pool(of)
                key = pool[int(self.rng.integers(len(pool)))]
            if key not in avoid:
                return key

    def fact(self, relation: str, subject: Key | None = None, value: Key | None = None) -> Fact:
        """Returns a fact with this subject and value, or with drawn ones; two of a kind in it differ."""
        slots = RELATIONS[relation].slots
        entities: list[Key] = []
        for index, slot in enumerate(slots):
            if index == 0 and subject is not None:
                entities.append(subject)
            elif index == len(slots) - 1 and value is not None:
                entities.append(value)
            else:
                entities.append(self.draw(kind(slot), *entities))
        return Fact(relation=relation, entities=tuple(entities))

    def choice(self, options: Sequence[T]) -> T:
        """Returns one of the options."""
        return options[int(self.rng.integers(len(options)))]

    def _pool(self, of: str) -> tuple[Key, ...]:
        if of not in self._pools:
            pool = everything(of)
            if self.part is not None:
                part = self.part
                pool = tuple(key for key in pool if belongs(of, key, part))
                if self.places_apart and of in ("city", "country"):
                    pool = tuple(key for key in pool if place_belongs(key, part))
            self._pools[of] = pool
        return self._pools[of]
