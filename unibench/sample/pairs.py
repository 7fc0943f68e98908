"""Tasks of two texts: premise and hypothesis, and sentences that say more or less the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from unibench.sample import examples, templates
from unibench.sample.examples import Row, Told
from unibench.sample.facts import FOLLOWING, OF_ORGANISATION, OF_PERSON, RELATIONS, Fact, Part, World, kind, true_of

NLI_LABELS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True, slots=True)
class _Premise:
    stated: Told
    hypotheses: tuple[tuple[str, Fact, int], ...]  # label, fact, wording


@cache
def _nli_facts(name: str, part: Part) -> list[_Premise]:
    """What each premise states, and a hypothesis of every label about its subject.

    The relation told truly or wrongly and the one told of nothing stated are drawn as a pair in which neither has a
    part of its own, and all values alike, so a hypothesis by itself says nothing about its label. One in five follows
    from what is stated only by way of where a city lies.
    """
    world = examples.world(name, part)
    out: list[_Premise] = []
    while len(out) < examples.SIZES[part] // examples.PER_GROUP["nli"]:
        of = world.choice(("person", "organisation"))
        told = OF_PERSON if of == "person" else OF_ORGANISATION
        first, other = (_contradictable(world, of) for _ in range(2))
        if _base(first) == _base(other):
            continue
        subject = world.draw(of)
        right = world.fact(first, subject)
        wrong = world.fact(first, subject, world.draw(kind(RELATIONS[first].slots[-1]), right.value))
        # A city goes by its country's code, so what follows from "lives in Paris" has the same value.
        stated = [Fact(relation=_base(first), entities=right.entities)]
        if world.rng.random() < 0.5:
            stated.append(world.fact(world.choice([r for r in told if r not in (_base(first), _base(other))]), subject))
        wordings = [int(n) for n in world.rng.integers(12, size=5)]
        if first == _base(first):  # another wording than the premise's, however many a language has
            wordings[2] = wordings[0] + 1
        order = [int(n) for n in world.rng.permutation(len(stated))]
        facts = {"entailment": right, "neutral": world.fact(other, subject), "contradiction": wrong}
        out.append(
            _Premise(
                tuple((stated[n], wordings[n]) for n in order),
                tuple((label, facts[label], wordings[2 + n]) for n, label in enumerate(NLI_LABELS)),
            )
        )
    return out


def _contradictable(world: World, of: str) -> str:
    """Returns a relation that a subject has one value of."""
    own = [r for r in (OF_PERSON if of == "person" else OF_ORGANISATION) if RELATIONS[r].functional]
    following = [r for r in FOLLOWING if RELATIONS[r].slots[0] == of]
    return world.choice(following if world.rng.random() < 0.2 else own)


def _base(relation: str) -> str:
    return RELATIONS[relation].follows_from or relation


def nli(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    out = []
    for group, premise in enumerate(_nli_facts(name, part)):
        text = templates.join(language, [templates.state(language, fact, n) for fact, n in premise.stated])
        for label, fact, n in premise.hypotheses:
            inputs = {"premise": text.text, "hypothesis": templates.state(language, fact, n).text}
            out.append(Row(group, inputs, labels.index(label)))
    return out


@cache
def _sts_facts(name: str, part: Part) -> list[tuple[Told, Told, float]]:
    """Two texts of one or two facts each, the second made from the first by changing none to all of its parts."""
    world = examples.world(name, part)
    out: list[tuple[Told, Told, float]] = []
    for _ in range(examples.SIZES[part]):
        facts = [_any_fact(world) for _ in range(1 + (world.rng.random() < 0.5))]
        others = [_changed(world, fact, world.choice(CHANGES)) for fact in facts]
        wordings = [int(n) for n in world.rng.integers(12, size=2 * len(facts))]
        first = list(zip(facts, wordings, strict=False))
        # Unequal facts may share a wording; equal ones are told in other words.
        second = [
            (other, wordings[n] + 1 if other == facts[n] else wordings[len(facts) + n])
            for n, other in enumerate(others)
        ]
        if world.rng.random() < 0.5:
            second = second[::-1]
        out.append((first, second, similarity(facts, others)))
    return out


CHANGES = ("nothing", "value", "subject", "relation", "everything")


def _any_fact(world: World) -> Fact:
    of = world.choice(("person", "organisation", "country"))
    if of == "country":
        return world.choice(true_of(str(world.draw("country"))))
    return world.fact(world.choice(OF_PERSON if of == "person" else OF_ORGANISATION))


def _changed(world: World, fact: Fact, what: str) -> Fact:
    """Returns a fact like this one but for its value, its subject, its relation and value, or everything."""
    slots = RELATIONS[fact.relation].slots
    of = kind(slots[0])
    if what == "nothing":
        return fact
    if what == "everything":
        return _any_fact(world)
    if of == "country":  # of a country only what is true is told: a change is another fact, or another country's
        true = true_of(str(fact.subject) if what == "relation" else str(world.draw("country", fact.subject)))
        fitting = [f for f in true if (f.relation == fact.relation) != (what == "relation")]
        return world.choice(fitting or true)
    if what == "value":
        return world.fact(fact.relation, fact.subject, world.draw(kind(slots[-1]), fact.value))
    if what == "subject":
        return world.fact(fact.relation, world.draw(of, fact.subject), fact.value)
    told = OF_PERSON if of == "person" else OF_ORGANISATION
    return world.fact(world.choice([r for r in told if r != fact.relation]), fact.subject)


def similarity(first: Sequence[Fact], second: Sequence[Fact]) -> float:
    """Returns how much two texts say the same, 0 to 1: the share of subject, relation and value that the most similar
    fact of the other text shares, averaged over the facts of both."""

    def alike(a: Fact, b: Fact) -> float:
        same = (a.subject == b.subject, a.relation == b.relation, a.value == b.value)
        return sum(same) / len(same)

    best = [max(alike(a, b) for b in second) for a in first] + [max(alike(a, b) for a in first) for b in second]
    return sum(best) / len(best)


def sts(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    codes = languages_of(language)

    def told(code: str, stated: Told) -> str:
        return templates.join(code, [templates.state(code, fact, n) for fact, n in stated]).text

    return [
        Row(number, {"sentence1": told(codes[0], first), "sentence2": told(codes[1], second)}, score)
        for number, (first, second, score) in enumerate(_sts_facts(name, part))
    ]


def languages_of(pair: str) -> tuple[str, str]:
    """Returns the languages of the two texts: "en-ar" is one in English and one in Arabic, "de" both in German."""
    first, _, second = pair.partition("-")
    return first, second or first
