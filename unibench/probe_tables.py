"""Probe records -> tables: one row a model, chance above them, and in words what every column stands on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unibench.pairing import NAN
from unibench.tables import Column, Entry, Kind, Table, Value

Record = Mapping[str, Any]
Shown = Mapping[str, tuple[str, Kind]]  # measure -> heading and unit

READABLE: Shown = {
    "probe": ("fresh probe", "score"),
    "same_language": ("nearest: same language", "score"),
    "same_language_centred": ("same, centred", "score"),
    "effective_rank": ("effective rank", "count"),
}
NEAR: Shown = {
    "translation": ("nearest: translation", "score"),
    "translation_centred": ("same, centred", "score"),
    "all_pairs": ("all pairs P@1", "score"),
    "all_pairs_centred": ("same, centred", "score"),
}
FOUND: Shown = {
    "retrieval": ("P@1 as it is", "score"),
    "retrieval_centred": ("P@1 centred", "score"),
    "overlap_free": ("P@1 overlap-free", "score"),
    "overlap_free_centred": ("P@1 overlap-free, centred", "score"),
}
PREDICTED: Shown = {
    "bits_per_byte": ("bits/byte aligned text", "ratio"),
    "bits_per_byte_heldout": ("bits/byte held-out text", "ratio"),
}
READABLE_NOTES = (
    "fresh probe: a linear classifier trained on frozen mean-pooled vectors, macro accuracy. It and the means that "
    "centring takes away come from one half of the sentences, everything shown from the other half; all translations "
    "of a sentence are in the same half. A probe at chance would prove nothing, and an untrained encoder is not there.",
    "nearest: whose vector is nearest by cosine among all other tested vectors of all languages.",
    "[ ]: 95 % bootstrap over the tested sentences, the same draws for all languages and models.",
)
NEAR_NOTES = ("all pairs P@1: the nearest of one language's tested sentences is the translation; mean of all pairs.",)
FOUND_NOTES = (
    "both directions, averaged; among the tested sentences of the other language.",
    "overlap-free: without the tokens that both languages' tested sentences have, taken out before the encoder reads "
    "them; over the languages that keep at least half of their tokens: {languages}. What is left is no sentence, so it "
    "is a lower bound; above chance it may still be length, which the untrained row shows too.",
)
PREDICTED_NOTES = (
    "bits/byte: the masked-LM loss of 15 % masked tokens, summed in bits, by the bytes of those tokens; mean over "
    "languages. A loss and no likelihood. It compares between vocabularies only roughly: longer pieces hide more.",
)
UNKNOWN_NOTE = "– not known: no masked-LM head, no held-out text, or no language that keeps enough."


def tables(records: Sequence[Record]) -> list[Table]:
    """Returns four tables: is the language readable, are translations near, are they found, what do masked tokens cost.

    All records are of the same sentences.
    """
    assert len({record["data_sha256"] for record in records}) == 1
    first = records[0]
    languages = first["languages"]
    spoken = {tuple(record["overlap_free_languages"]) for record in records}
    kept = " or ".join(sorted(f"{len(codes)} ({' '.join(codes)})" if codes else "none" for codes in spoken))
    corpora = sorted({record["heldout_corpus"] for record in records if record["heldout_corpus"]})
    tested = (
        f"sentences: {first['data']}, {first['tested']} of {first['sentences']} tested in each of {len(languages)} "
        f"languages: {' '.join(languages)}"
    )
    found = tuple(note.format(languages=kept) for note in FOUND_NOTES)
    predicted = (*PREDICTED_NOTES, *(f"held-out text: of {name}" for name in corpora))
    return [
        _table("Is the language readable?", READABLE, records, (*READABLE_NOTES, tested)),
        _table("Are translations near?", NEAR, records, NEAR_NOTES),
        _table(f"Are translations found, {languages[0]}↔X?", FOUND, records, found),
        _table("What do masked tokens cost?", PREDICTED, records, predicted),
    ]


def _table(title: str, shown: Shown, records: Sequence[Record], notes: tuple[str, ...]) -> Table:
    columns = [Column(name="model"), Column(name="layer")]
    columns += [Column(name=name, kind=kind) for name, kind in shown.values()]
    rows: list[tuple[Value, ...]] = []
    chances = [records[0]["measures"][name]["chance"] for name in shown]
    if any(chance is not None for chance in chances):
        rows.append(("chance", None, *chances))
    for record in records:
        cells = [_entry(record["measures"][name]) for name in shown]
        rows.append((record["model"], f"{record['layer']}/{record['layers']}", *cells))
    if any(isinstance(value, Entry) and math.isnan(value.value) for row in rows for value in row):
        notes = (*notes, UNKNOWN_NOTE)
    return Table(title=title, columns=tuple(columns), rows=tuple(rows), footnotes=notes)


def _entry(measure: Mapping[str, float | None]) -> Entry:
    value, low, high = (NAN if (number := measure[key]) is None else number for key in ("value", "low", "high"))
    return Entry(value=value, low=low, high=high)
