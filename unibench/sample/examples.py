"""What the examples of all families have in common: their shape, how many there are, and the world of a split.

What a card's split holds depends on the card's name and the part, so cards do not share examples; nothing of it depends
on the language. Persons and organisations of one part appear in no other, nor does any of their names; for named
entities that holds for countries and cities too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unibench.sample.facts import Fact, Part, World

SIZES: Mapping[Part, int] = {"train": 3000, "dev": 300, "eval": 300}  # examples; each a multiple of PER_GROUP
PER_GROUP = {"ner": 1, "nli": 3, "qa": 3, "sts": 1}  # that share their premise or passage

Told = Sequence[tuple[Fact, int]]  # facts and the number of their wordings


@dataclass(frozen=True, slots=True)
class Row:
    """One example, `inputs` and `target` as in `unibench.data.Example`; rows of a `group` are not independent."""

    group: int
    inputs: Mapping[str, Any]
    target: Any


def world(name: str, part: Part, *, places_apart: bool = False) -> World:
    """Returns the world that the card `name` draws a part of its facts from."""
    seed = hashlib.sha256(f"{name} {part}".encode()).digest()
    return World(np.random.default_rng(list(seed)), part, places_apart)
