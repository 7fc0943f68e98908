"""Card + language + split -> examples. `Example` is the contract; sources and loading come below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item to be scored.

    `inputs` and `target` by family:
      ner  inputs {"tokens": tuple[str, ...]}                    target tuple[str, ...]  IOB2 tags
      nli  inputs {"premise": str, "hypothesis": str}             target int  index into card.labels
      qa   inputs {"context": str, "question": str}               target {"text": tuple[str, ...], "start": tuple[int, ...]}
      sts  inputs {"sentence1": str, "sentence2": str}            target float  0..1 (gold similarity / card.options["scale"])
    """

    id: str
    group: str
    inputs: Mapping[str, Any]
    target: Any
