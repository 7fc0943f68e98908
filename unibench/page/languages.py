"""What a language is called and which script it is written in, after CLDR's likely subtags (babel)."""

from __future__ import annotations

import re
from functools import cache

UNKNOWN = "unknown"

# what CLDR has no entry for, or only under a code that it has since given up
_SCRIPTS = {"nah": "Latn", "oto": "Latn"}
_NAMES = {
    "azb": "South Azerbaijani", "bzd": "Bribri", "cni": "Asháninka", "hch": "Wixarika", "nah": "Nahuatl",
    "oto": "Otomí", "pnb": "Western Punjabi", "shp": "Shipibo-Konibo", "tar": "Rarámuri",
}  # fmt: skip
# one script to a reader who looks for one: simplified or traditional, Nastaliq or Naskh
_SAME = {"Hans": "Hani", "Hant": "Hani", "Aran": "Arab"}
_PART = re.compile(r"[a-z]{2,3}([-_][A-Z][a-z]{3})?([-_]([A-Z]{2}|[0-9]{3}))?")
_PAIR = re.compile(r"(?P<first>[a-z]{2,3})-(?P<second>[a-z]{2,3})")


@cache
def is_language(code: str) -> bool:
    """Returns whether a text is a code (sw, zh-Hant, pt-BR) or a pair of them (en-ar) that CLDR knows one of."""
    if not (_PART.fullmatch(code) or _PAIR.fullmatch(code)):
        return False
    return any(script_of(part) != UNKNOWN or part in _NAMES for part in parts(code))


def parts(code: str) -> tuple[str, ...]:
    """Returns the languages of a code: two of a pair of different ones (en-ar), else one."""
    pair = _PAIR.fullmatch(code)
    return tuple(dict.fromkeys((pair["first"], pair["second"]))) if pair else (code,)


@cache
def scripts(code: str) -> tuple[str, ...]:
    """Returns the ISO 15924 codes of the scripts of a language or pair, in its order; (UNKNOWN,) where CLDR has none.

    It is the script most used where several are; simplified and traditional Chinese count as one.
    """
    return tuple(dict.fromkeys(script_of(part) for part in parts(code)))


@cache
def script_of(code: str) -> str:
    """Returns the ISO 15924 code of one language's script, or UNKNOWN."""
    from babel.core import get_global

    likely, aliases = get_global("likely_subtags"), get_global("language_aliases")
    base = re.split("[-_]", code)[0]
    whole = code.replace("-", "_")
    for tag in (whole, likely.get(whole), aliases.get(base), likely.get(base), likely.get(aliases.get(base, ""))):
        written = re.search(r"_([A-Z][a-z]{3})(?:_|$)", tag or "")
        if written:
            return _SAME.get(written[1], written[1])
    return _SCRIPTS.get(base, UNKNOWN)


@cache
def name(code: str) -> str:
    """Returns the English name of a language, or of a pair; the code itself where nobody knows one."""
    from babel import Locale

    names = Locale("en").languages
    pair = _PAIR.fullmatch(code)
    said = [
        _NAMES.get(part) or names.get(part.replace("-", "_")) or names.get(re.split("[-_]", part)[0]) or part
        for part in ((pair["first"], pair["second"]) if pair else (code,))
    ]
    return "–".join(said)


@cache
def script_name(code: str) -> str:
    """Returns the English name of a script; "unknown script" for UNKNOWN."""
    from babel import Locale

    return "unknown script" if code == UNKNOWN else Locale("en").scripts.get(code, code)
