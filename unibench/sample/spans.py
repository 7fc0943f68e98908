"""Tasks whose answers are spans: named entities in sentences, answers in passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from unibench.sample import examples, templates
from unibench.sample.examples import Row, Told
from unibench.sample.facts import (
    EVENTS,
    FOLLOWING,
    OF_ORGANISATION,
    OF_PERSON,
    RELATIONS,
    Fact,
    Part,
    kind,
    true_of,
)  # fmt: skip
from unibench.sample.tokens import tokenise

TYPES = {"person": "PER", "organisation": "ORG", "city": "LOC", "country": "LOC", "date": "DATE"}


@cache
def _ner_facts(name: str, part: Part) -> list[Told]:
    """What each example states: one or two facts and their wordings. No facts about countries: the text to pretrain on
    states those in the same words."""
    world = examples.world(name, part, places_apart=True)
    told = (*OF_PERSON, *OF_ORGANISATION, *FOLLOWING, *EVENTS, *EVENTS)
    return [
        [(world.fact(world.choice(told)), int(world.rng.integers(12))) for _ in range(1 + (world.rng.random() < 0.3))]
        for _ in range(examples.SIZES[part])
    ]


def ner(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
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


@dataclass(frozen=True, slots=True)
class _Passage:
    stated: Told
    questions: tuple[tuple[int, int], ...]  # number of the fact asked for, wording


@cache
def _qa_facts(name: str, part: Part) -> list[_Passage]:
    """What each passage states, and what is asked: of two subjects of a kind, the same three relations each, so every
    answer has a distractor of its type beside it."""
    world = examples.world(name, part)
    out: list[_Passage] = []
    while len(out) < examples.SIZES[part] // examples.PER_GROUP["qa"]:
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
        asked = [int(n) for n in world.rng.permutation(len(facts))[: examples.PER_GROUP["qa"]]]
        out.append(
            _Passage(
                tuple((facts[n], wordings[n]) for n in order),
                tuple((n, int(world.rng.integers(12))) for n in asked),
            )
        )
    return out


def qa(name: str, part: Part, language: str, labels: Sequence[str]) -> list[Row]:
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
