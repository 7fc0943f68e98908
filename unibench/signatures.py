"""One line beside a number that says how it came about, so that two numbers with one signature may be compared.

    perm:groups,two-sided|n:10000|seed:1a2b3c4d|def:RI=mean-cell-ratio|fam:default@9f3a1c2b|corr:gatekeeping|v:0.1.0

| part | says |
|---|---|
| the first | the method and, after the colon, its options: perm (paired permutation), boot (bootstrap), … |
| n | resamples drawn; left out where nothing was |
| seed | the first 8 hex digits of the sha256 that seeds the Generator; left out where nothing was drawn |
| def | what was computed: a score, a difference or a relative improvement, by which definition |
| fam | the declared family that the test belongs to, and the first 8 digits of the sha256 of its content |
| corr | how its p was corrected over that family |
| v | the version of unibench |

Parts stand in this order, always. After sacreBLEU's signatures (Post 2018).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata

from unibench.errors import UserError

SHOWN = 8  # hex digits of a hash in a signature
_ORDER = ("n", "seed", "def", "fam", "corr", "v")
_TEST = re.compile(r"[a-z][a-z0-9-]*(:[^|:]+)?")
_VALUE = re.compile(r"[^|\s]+( [^|\s]+)*")


@lru_cache
def version() -> str:
    """Returns the installed version of unibench; "unknown" for source files that nobody installed."""
    try:
        return metadata.version("unibench")
    except metadata.PackageNotFoundError:
        return "unknown"


def seed_of(*signature: str) -> str:
    """Returns the seed part for what `resampling.generator(*signature)` draws."""
    return hashlib.sha256("\n".join(signature).encode()).hexdigest()[:SHOWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a number came about, see the module. `resamples` None and texts "": the part doesn't apply, and is left out.

    Raises UserError for what would not come back from its text.
    """

    test: str
    definition: str
    resamples: int | None = None
    seed: str = ""
    family: str = ""  # Family.label
    correction: str = ""
    version: str = field(default_factory=version)

    def __post_init__(self) -> None:
        if not _TEST.fullmatch(self.test):
            raise UserError(f"signature: test is {self.test!r}; expected METHOD or METHOD:OPTION,OPTION")
        if not self.definition or not self.version:
            raise UserError("signature: def or v is missing; every number has a definition and a version")
        if self.resamples is not None and self.resamples < 1:
            raise UserError(f"signature: n is {self.resamples}; expected a number of resamples, or none")
        if self.seed and not re.fullmatch(rf"[0-9a-f]{{{SHOWN}}}", self.seed):
            raise UserError(f"signature: seed is {self.seed!r}; expected {SHOWN} hex digits")
        for key, value in self._parts().items():
            if value and not _VALUE.fullmatch(value):
                raise UserError(f"signature: {key} is {value!r}; expected a text without '|' and line breaks")

    @property
    def text(self) -> str:
        return "|".join([self.test, *(f"{key}:{value}" for key, value in self._parts().items() if value)])

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Returns the signature with this `text`. Raises UserError for an unknown part, a wrong value or order."""
        test, *rest = text.split("|")
        parts = {}
        for part in rest:
            key, colon, value = part.partition(":")
            if not colon or key not in _ORDER or not value:
                raise UserError(f"signature {text!r}: {part!r} is no part of one; expected KEY:VALUE of {_known()}")
            parts[key] = value
        if [part.partition(":")[0] for part in rest] != [key for key in _ORDER if key in parts]:
            raise UserError(f"signature {text!r}: expected each part once, in the order {_known()}")
        n = parts.get("n")
        if n is not None and not re.fullmatch(r"[1-9][0-9]*", n):
            raise UserError(f"signature {text!r}: n is {n!r}; expected a number of resamples")
        return cls(
            test=test,
            definition=parts.get("def", ""),
            resamples=None if n is None else int(n),
            seed=parts.get("seed", ""),
            family=parts.get("fam", ""),
            correction=parts.get("corr", ""),
            version=parts.get("v", ""),
        )

    def _parts(self) -> dict[str, str]:
        n = "" if self.resamples is None else str(self.resamples)
        return dict(
            zip(_ORDER, (n, self.seed, self.definition, self.family, self.correction, self.version), strict=True)
        )


def _known() -> str:
    return ", ".join(_ORDER)
