"""Text -> tokens, as data sets of named entities cut them."""

from __future__ import annotations

import re
import unicodedata


def tokenise(text: str, *, spaced: bool) -> list[tuple[int, int]]:
    """Returns the tokens of a text as (start, end): words with their inner hyphens and numbers with their separators,
    and each other mark; without spaces between words, single characters with the marks they carry, as WikiANN has it.

    An apostrophe ends a word that it elides (l', d', dell'), and otherwise belongs to the word that it is in.
    """
    found: list[tuple[int, int]] = []
    for match in re.finditer(r"\S+", text):
        start = match.start()
        while start < match.end():
            end = _token_end(text, start, match.end(), spaced)
            found.append((start, end))
            start = end
    return found


_AFRIKAANS_ARTICLE = re.compile(r"['’]n\b")
_ELIDED = re.compile(r"(?:[^\W\d_]{1,2}|[dDn]ell|[aA]ll|[sSd]ull|[dD]all|[nN]ell|[qQ]u|[uU]n)['’]")


def _token_end(text: str, start: int, stop: int, spaced: bool) -> int:
    if text[start].isdigit():
        number = re.compile(r"\d+(?:[.,٬'’]\d+)*").match(text, start, stop)
        assert number is not None
        return number.end()
    article = _AFRIKAANS_ARTICLE.match(text, start, stop)
    if article:
        return article.end()
    if not _wordlike(text[start]):
        return start + 1
    end = start + 1
    if not spaced:
        while end < stop and unicodedata.category(text[end])[0] == "M":
            end += 1
        return end
    elided = _ELIDED.match(text, start, stop)
    if elided and elided.end() < stop and _wordlike(text[elided.end()]):
        return elided.end()
    while end < stop:
        inner = text[end] in "'’-\u200c\u200d" and end + 1 < stop and _wordlike(text[end + 1])
        if not inner and not _wordlike(text[end]):
            break
        end += 1
    return end


def _wordlike(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
