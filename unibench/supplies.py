"""The examples one job stands on: trained on, selected by, read as text, scored; and the identity of all of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from unibench import data
from unibench.cards import TaskCard
from unibench.data import Loaded, Origin
from unibench.errors import DataError, Unavailable
from unibench.store import Job

ORACLE_LIMIT = 500  # examples of a language's own dev split: three learning rates are told apart by fewer
UNLABELLED_LIMIT = 4000  # texts a language of which only text is read; the discriminator meets languages equally often

_LOADED: dict[tuple[Any, ...], Loaded] = {}
_HASHED: dict[int, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """The examples of a job. Loaded once per process: the jobs of one task share theirs."""

    job: Job
    card: TaskCard
    origin: Origin

    def train(self) -> Loaded:
        """Returns what is trained on."""
        return self._load("train", self.job.train_languages, self.job.train_limit)

    def dev(self) -> Loaded:
        """Returns what selects the learning rate, in the languages trained on."""
        return self._load("dev", self.job.train_languages, None)

    def scored(self, language: str) -> Loaded:
        """Returns what is scored in a language. Raises Unavailable, for what only the rows can tell too."""
        return self._load("eval", (language,), self.job.eval_limit)

    def own_dev(self, language: str) -> Loaded | None:
        """Returns dev examples of a measured language itself, None where its rows turn out not to be labelled or not
        to be readable: what nothing is trained or scored on stops no job.
        """
        try:
            return self._load("dev", (language,), ORACLE_LIMIT)
        except (Unavailable, DataError):
            return None

    def own_dev_source(self, language: str) -> str:
        """Returns in words where a language's own dev examples come from."""
        if self.origin.kind == "sample":
            return f"dev, {self.origin}"
        sources = [source for source in self.card.dev or self.card.train if source.language in (None, language)]
        where = " and ".join(f"{source.hub or source.files} {source.split}".strip() for source in sources)
        return where if self.card.dev else f"{where}, a part of it held out"

    def texts(self) -> dict[str, Loaded]:
        """Returns, by language, the examples of which an adversary reads the text alone, beside those trained on.

        They are of the languages that are not trained on; where all are, of each of them, so that the discriminator
        meets all languages equally often however unequal the training data.
        """
        return {language: self._text(language) for language in self._read_only()}

    def sha256(self, language: str) -> str:
        """Returns one hash of the examples trained on, selected by, read as text and scored in `language`."""
        parts = [self.scored(language)]
        if self.job.recipe is not None:
            parts += [self.train(), self.dev(), *self.texts().values()]
        return hashlib.sha256("\n".join(map(_sha256, parts)).encode()).hexdigest()

    def stamp(self, language: str) -> str:
        """Returns a fingerprint of the files those examples come from, without reading them."""
        stamps = [data.stamp(self.card, ("eval",), (language,), self.origin)]
        if self.job.recipe is not None:
            parts: tuple[data.Part, ...] = ("train", "dev")
            stamps.append(data.stamp(self.card, parts, self.job.train_languages, self.origin))
            for code in self._read_only():
                there = [part for part in parts if data.availability(self.card, part, code, self.origin) is None]
                stamps.append(data.stamp(self.card, there, (code,), self.origin))
        return hashlib.sha256("\n".join(stamps).encode()).hexdigest()

    def _read_only(self) -> list[str]:
        return [code for code in self.job.adversarial if code not in self.job.train_languages] or [
            *self.job.adversarial
        ]

    def _load(self, part: data.Part, languages: tuple[str, ...], limit: int | None) -> Loaded:
        key = self._key(part, languages, limit)
        if key not in _LOADED:
            self._make_room()
            _LOADED[key] = data.load(self.card, part, languages, self.origin, limit=limit)
        return _LOADED[key]

    def _text(self, language: str) -> Loaded:
        limit = min(UNLABELLED_LIMIT, self.job.train_limit or UNLABELLED_LIMIT)
        key = self._key("unlabelled", (language,), limit)
        if key not in _LOADED:
            self._make_room()
            _LOADED[key] = data.unlabelled(self.card, language, self.origin, limit)
        return _LOADED[key]

    def _make_room(self) -> None:
        """Lets go of other cards' examples: plans go card by card, and a large training set is gigabytes of objects."""
        if any(key[1] != self.card.sha256 for key in _LOADED):
            forget()

    def _key(self, part: str, languages: tuple[str, ...], limit: int | None) -> tuple[Any, ...]:
        return (self.card.name, self.card.sha256, str(self.card.folder), part, languages, str(self.origin), limit)


def forget() -> None:
    """Makes this process read all data afresh."""
    _LOADED.clear()
    _HASHED.clear()


def _sha256(loaded: Loaded) -> str:
    if id(loaded) not in _HASHED:  # what was loaded stays alive, so its id stays its own
        _HASHED[id(loaded)] = data.examples_sha256(loaded.examples)
    return _HASHED[id(loaded)]
