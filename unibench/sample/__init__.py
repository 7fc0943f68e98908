"""The embedded default: a small world of facts told in many languages, generated from a seed, without a network.

Countries, currencies, languages and dates are CLDR's; capitals, continents and borders stand in geography.toml; persons
and organisations are made up from names in languages/LANG.toml, beside the sentences that tell about them. From one set
of facts come examples of every task family, parallel across languages, and text to pretrain on.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def fingerprint() -> str:
    """Returns a hash of all that decides what the sample says: this folder's files and Babel's version (so CLDR's)."""
    here = Path(__file__).parent
    digest = hashlib.sha256(version("babel").encode())
    for path in sorted([*here.glob("*.py"), *here.glob("*.toml"), *here.glob("languages/*.toml")]):
        digest.update(f"\0{path.relative_to(here).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()
