"""What the labels of a data set become: the card's labels by name, and IOB2 whatever way entities were written.

Tags are "O" or a prefix, a hyphen and a type. Schemes (Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999):
  iob2   B- begins every entity, I- goes on with it
  iob1   I- is any token of an entity; B- only separates it from one of the same type right before it
  bioes  B- begins, I- goes on, E- ends, S- is an entity of one token; L- and U- (BILOU) are other letters for E- and S-
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

OUTSIDE = "O"
PREFIXES: Mapping[str, str] = {"iob2": "BI", "iob1": "BI", "bioes": "BIESLU"}  # scheme -> letters


def resolve(name: str, family: str, labels: Sequence[str], label_map: Mapping[str, str]) -> str | None:
    """Returns the card's label that a name in the data stands for, after `label_map`; None where it stands for none.

    Of named entities, types are mapped: for a tag of any scheme it is that of its entity's first token, or "O".
    """
    if family != "ner":
        found = label_map.get(name, name)
        return found if found in labels else None
    kind = type_of(name)
    found = label_map.get(kind, kind)
    if name == OUTSIDE or found == OUTSIDE:
        return OUTSIDE
    return f"B-{found}" if name[1:2] == "-" and f"B-{found}" in labels else None


def type_of(tag: str) -> str:
    """Returns the type of a tag, "" for "O"."""
    return tag[2:]


def iob2(tags: Sequence[str], scheme: str) -> tuple[list[str], bool]:
    """Returns the tags in IOB2, and whether they broke a rule of their scheme, which is then repaired.

    A tag that goes on with nothing, there being no open entity of its type, begins one; an entity that the next tag
    does not go on with has ended, E- or not; a B- of IOB1 that separates nothing begins an entity. conlleval and
    seqeval's default mode read IOB2 so, and scores do not depend on the repair.
    """
    found: list[str] = []
    repaired = False
    open_type = ""  # of the entity that the next tag may go on with
    closes = scheme == "bioes"
    for tag in tags:
        letter, kind = tag[0], type_of(tag)
        continues = kind == open_type != "" and letter in "IEL"
        if tag == OUTSIDE:
            found.append(OUTSIDE)
        else:
            found.append(f"{'I' if continues else 'B'}-{kind}")
        if closes:
            repaired |= bool(open_type) and not continues
        if scheme == "iob1":
            repaired |= letter == "B" and kind != open_type
        else:
            repaired |= letter in "IEL" and not continues
        open_type = "" if closes and letter in "ESLU" else kind
    return found, repaired or (closes and bool(open_type))
