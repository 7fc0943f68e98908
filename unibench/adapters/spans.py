"""Entity spans in a tag sequence, by the rule of seqeval's default mode (conlleval's)."""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[str, int, int]  # type, first token, last token


def spans(tags: Sequence[str]) -> set[Span]:
    """Returns the entities of one IOB2 sequence as (type, first token, last token).

    An entity starts at B-, and at an I- that follows O, another type or the start of the sentence: WikiANN's Japanese
    and Chinese test sets hold thousands of such I- in their gold tags.
    """
    found: set[Span] = set()
    kind, first = "", 0
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, this = tag.partition("-")
        if kind and (prefix != "I" or this != kind):
            found.add((kind, first, i - 1))
            kind = ""
        if prefix in ("B", "I") and not kind:
            kind, first = this, i
    return found
