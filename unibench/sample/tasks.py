"""Examples of every task family, told from one set of facts: row i says the same in every language.

What a card's split holds depends on the card's name and the part, so cards do not share examples; nothing of it depends
on the language. Persons and organisations of one part appear in no other, nor does any of their names; for named
entities that holds for countries and cities too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from unibench.sample import templates
from unibench.sample.facts import (
    EVENTS,
    FOLLOWING,
    OF_ORGANISATION,
    OF_PERSON,
    RELATIONS,
    Fact,
    Part,
    World,
    kind,
    true_of,
)  # fmt: skip
from unibench.sample.tokens import tokenise

SIZES: Mapping[Part, int] = {"train": 3000, "dev": 300, "eval": 300}  # examples; each a multiple of PER_GROUP
PER_GROUP = {"ner": 1, "nli": 3, "qa": 3, "sts": 1}  # that share their premise or passage
TYPES = {"person": "PER", "organisation": "ORG", "city": "LOC", "country": "LOC", "date": "DATE"}
NLI_LABELS = ("entailment", "neutral", "contradiction")

Told = Sequence[tuple[Fact, int]]  # facts and the number of their wordings


@dataclass(frozen=True, slots=True)
class Row:
    """One example, `inputs` and `target` as in `unibench.data.Example`; rows of a `group` are not independent."""

    group: int
    inputs: Mapping[str, Any]
    target: Any


def rows(family: str, name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    """Returns the rows of one split of the card `name`, in `language` or, for sts, a pair such as "en-ar".

    `labels` are the card's. Call it where `unavailable` returns None.
    """
    return TELLERS[family](name, part, language, labels)


def unavailable(family: str, language: str, labels: Sequence[str]) -> str | None:
    """Returns None where the sample has such a task in such a language, else why not."""
    missing = [code for code in dict.fromkeys(_pair(family, language)) if code not in templates.codes()]
    if missing:
        return f"the generated sample has no {', '.join(missing)}; it has {', '.join(templates.codes())}"
    wanted = {"nli": set(NLI_LABELS), "ner": {"O", "B-PER", "B-ORG", "B-LOC"}}.get(family, set())
    if family == "nli" and set(labels) != wanted:
        return f"the generated sample labels pairs {', '.join(NLI_LABELS)}, not {', '.join(labels)}"
    if not wanted <= set(labels):
        return f"the generated sample tags PER, ORG, LOC and DATE, not {', '.join(labels)}"
    return None


def _pair(family: str, language: str) -> tuple[str, str]:
    first, _, second = language.partition("-") if family == "sts" else (language, "", "")
    return first, second or first


def _world(name: str, part: Part, *, places_apart: bool = False) -> World:
    seed = hashlib.sha256(f"{name} {part}".encode()).digest()
    return World(np.random.default_rng(list(seed)), part, places_apart)


# Named entities


@cache
def _ner_facts(name: str, part: Part) -> list[Told]:
    """What each example states: one or two facts and their wordings. No facts about countries: the text to pretrain on
    states those in the same words."""
    world = _world(name, part, places_apart=True)
    told = (*OF_PERSON, *OF_ORGANISATION, *FOLLOWING, *EVENTS, *EVENTS)
    return [
        [(world.fact(world.choice(told)), int(world.rng.integers(12))) for _ in range(1 + (world.rng.random() < 0.3))]
        for _ in range(SIZES[part])
    ]


def _ner(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    out = []
    for number, stated in enumerate(_ner_facts(name, part)):
        text = templates.join(language, [templates.state(language, fact, wording) for fact, wording in stated])
        tokens = tokenise(text.text, spaced=templates.language(language).spaced)
        tags = ["O"] * len(tokens)
        for span in text.spans:
            label = TYPES.get(kind(span.slot), "")
            if f"B-{label}" in labels:
                inside = [i for i, (start, end) in enumerate(tokens) if start < span.end and end > span.start]
                for order, i in enumerate(inside):
                    tags[i] = f"{'I' if order else 'B'}-{label}"
        out.append(Row(number, {"tokens": tuple(text.text[start:end] for start, end in tokens)}, tuple(tags)))
    return out


# Inference


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
    world = _world(name, part)
    out: list[_Premise] = []
    while len(out) < SIZES[part] // PER_GROUP["nli"]:
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


def _nli(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    out = []
    for group, premise in enumerate(_nli_facts(name, part)):
        text = templates.join(language, [templates.state(language, fact, n) for fact, n in premise.stated])
        for label, fact, n in premise.hypotheses:
            inputs = {"premise": text.text, "hypothesis": templates.state(language, fact, n).text}
            out.append(Row(group, inputs, labels.index(label)))
    return out


# Question answering


@dataclass(frozen=True, slots=True)
class _Passage:
    stated: Told
    questions: tuple[tuple[int, int], ...]  # number of the fact asked for, wording


@cache
def _qa_facts(name: str, part: Part) -> list[_Passage]:
    """What each passage states, and what is asked: of two subjects of a kind, the same three relations each, so every
    answer has a distractor of its type beside it."""
    world = _world(name, part)
    out: list[_Passage] = []
    while len(out) < SIZES[part] // PER_GROUP["qa"]:
        of = world.choice(("person", "person", "organisation", "organisation", "country"))
        subjects = [world.draw(of)]
        subjects.append(world.draw(of, *subjects))
        told = [r for r, relation in RELATIONS.items() if relation.asked and relation.slots[0] == of]
        if of == "country":
            known = [{fact.relation: fact for fact in true_of(str(subject))} for subject in subjects]
            told = [r for r in told if all(r in k for k in known) and known[0][r].value != known[1][r].value]
        if len(told) < 3:
            continue
        chosen = [told[int(n)] for n in world.rng.permutation(len(told))[:3]]
        facts: list[Fact] = []
        for number, subject in enumerate(subjects):
            for relation in chosen:
                taken = (*subjects, *(fact.value for fact in facts))
                value = world.draw(kind(RELATIONS[relation].slots[-1]), *taken) if of != "country" else None
                facts.append(known[number][relation] if of == "country" else world.fact(relation, subject, value))
        order = [int(n) for n in world.rng.permutation(len(facts))]
        wordings = [int(n) for n in world.rng.integers(12, size=len(facts))]
        asked = [int(n) for n in world.rng.permutation(len(facts))[: PER_GROUP["qa"]]]
        out.append(
            _Passage(
                tuple((facts[n], wordings[n]) for n in order),
                tuple((n, int(world.rng.integers(12))) for n in asked),
            )
        )
    return out


def _qa(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    out = []
    for group, passage in enumerate(_qa_facts(name, part)):
        texts = [templates.state(language, fact, n) for fact, n in passage.stated]
        whole = templates.join(language, texts)
        for number, wording in passage.questions:
            fact = passage.stated[number][0]
            slot = RELATIONS[fact.relation].slots[-1]
            before = sum(len(text.spans) for text in texts[:number])
            span = next(s for s in whole.spans[before : before + len(texts[number].spans)] if s.slot == slot)
            inputs = {"context": whole.text, "question": templates.ask(language, fact, wording).text}
            out.append(Row(group, inputs, {"text": (whole.text[span.start : span.end],), "start": (span.start,)}))
    return out


# Similarity


@cache
def _sts_facts(name: str, part: Part) -> list[tuple[Told, Told, float]]:
    """Two texts of one or two facts each, the second made from the first by changing none to all of its parts."""
    world = _world(name, part)
    out: list[tuple[Told, Told, float]] = []
    for _ in range(SIZES[part]):
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


def _sts(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
    codes = _pair("sts", language)

    def told(code: str, stated: Told) -> str:
        return templates.join(code, [templates.state(code, fact, n) for fact, n in stated]).text

    return [
        Row(number, {"sentence1": told(codes[0], first), "sentence2": told(codes[1], second)}, score)
        for number, (first, second, score) in enumerate(_sts_facts(name, part))
    ]


TELLERS: Mapping[str, Callable[[str, Part, str, Sequence[str]], list[Row]]] = {
    "ner": _ner,
    "nli": _nli,
    "qa": _qa,
    "sts": _sts,
}
