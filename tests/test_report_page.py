"""The page of a report: every state a store can be in makes one, with every number as the tables have it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from toy_records import missing, record, store

from unibench.board import Board, boards
from unibench.declared import Family
from unibench.errors import UserError
from unibench.footnotes import conclusions
from unibench.numerals import figure_text
from unibench.report import VIEWS, Shown, of_board
from unibench.report_page import NOTHING_CLAIMED, NOTHING_COMPARED, findings, html
from unibench.store import RunRecord
from unibench.tables import Entry

ALL = tuple(VIEWS)
NASTY = ("</script><script>alert(1)</script>", "a&b<i>\"'", "../../x", "मॉडल/हिन्दी", "\u202eevil", "x" * 200)


def made(records: Iterable[RunRecord], **more: Any) -> list[Board]:
    return list(boards(records, **{"resamples": 100, **more}))


class Text(HTMLParser):
    """What a page says, without scripts, styles and drawings; and the tags that it opens."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style", "svg"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.said.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.said).split())


def page(given: Iterable[RunRecord], views: Sequence[str] = ALL, shown: Shown | None = None, **more: Any) -> str:
    return html(made(given, **more), shown or Shown(), views)


def pair(**more: Any) -> list[RunRecord]:
    return [record(m, "xnli", x, quality=q, **more) for m, q in (("mbert", 0.5), ("small", 0.8)) for x in ("de", "en")]


def test_without_boards_there_is_no_page() -> None:
    with pytest.raises(UserError, match="run `unibench run` first"):
        html([], Shown(), ALL)


def test_the_same_records_in_any_order_give_the_same_bytes() -> None:
    records = store([("mbert", 0.5), ("small", 0.8), ("alt", 0.7)])
    assert page(records) == page(records[::-1])


def test_every_score_of_the_tables_stands_in_it() -> None:
    held = made(pair())
    text = Text(html(held, Shown(), ALL)).words
    for table in of_board(held[0], Shown(), ("leaderboard", "tasks")):
        for row in table.rows:
            for value, column in zip(row, table.columns, strict=True):
                if isinstance(value, Entry) and column.kind == "score":
                    assert figure_text(value.value, column.kind) in text


def test_its_conclusion_is_that_of_the_footer() -> None:
    held = made(pair())
    may, may_not = conclusions(held[0])
    text = Text(html(held, Shown(), ALL)).words
    assert may in text
    assert may_not in text


@pytest.mark.parametrize(
    "records",
    [
        [record("small"), record("small", language="de")],
        [record("mbert")],
        [record("mbert", seed=0), record("small", seed=1)],
        [missing("mbert"), missing("small", "wikiann", status="unavailable")],
        [missing("mbert", language="all", status="unavailable")],
        [record("mbert"), record("small"), missing("small", "wikiann"), missing("small", seed=1)],
    ],
    ids=["one model alone", "the baseline alone", "no common seed", "all failed", "unavailable", "a failed seed"],
)
def test_every_hole_in_a_store_makes_a_page(records: list[RunRecord]) -> None:
    text = Text(page(records)).words
    held = made(records)
    if not any(conclusions(board) for board in held):
        assert NOTHING_COMPARED in text
        assert NOTHING_CLAIMED in text
        assert "Where an adjusted p" not in text
    if any(record.status != "ok" for record in records):
        assert "out of memory" in text
    assert re.search(r"\bnan\b", text) is None


def test_no_probes_and_no_speeds_are_no_sections_of_them() -> None:
    text = page(pair())
    assert "Readability" not in Text(text).words
    assert "no speed" in Text(text).words or "speed not known" in Text(text).words


def test_two_settings_stand_apart_and_each_is_named_with_its_own_baseline() -> None:
    sample = [replace(r, job=replace(r.job, origin="sample", model=m))
              for m, q in (("scratch", 0.5), ("small", 0.7)) for r in [record("small", quality=q)]]  # fmt: skip
    held = made([*pair(), *sample])
    assert [b.baseline for b in held] == ["scratch", "mbert"]
    text = Text(html(held, Shown(), ALL)).words
    for board in held:
        may, may_not = conclusions(board)
        assert f"{board.setting}: {may}" in text
        assert text.count(may_not) >= 1
    alike = made([*pair(), *(replace(r, job=replace(r.job, train_limit=9)) for r in pair())])
    assert [b.baseline for b in alike] == ["mbert", "mbert"]
    text = Text(html(alike, Shown(), ALL)).words
    assert f"zero-shot from en: {conclusions(alike[0])[0]}" not in text
    assert conclusions(alike[0])[0] in text
    # a setting in which nothing is compared concludes nothing for the other
    lone = made([*pair(), replace(r := record("small"), job=replace(r.job, origin="sample"))])
    assert [bool(conclusions(b)) for b in lone] == [False, True]
    assert conclusions(lone[1])[0] in Text(html(lone, Shown(), ALL)).words


def test_a_family_that_tests_nothing_concludes_nothing() -> None:
    family = Family(name="f", written="2026-01-01", question="Which?", models=("gone",))
    assert NOTHING_COMPARED in Text(page(pair(), family=family)).words


def test_names_that_mean_harm_are_but_names() -> None:
    records = [record("mbert", quality=0.4)]
    for i, name in enumerate(NASTY):
        one = record("small", quality=0.5 + i / 20)
        records.append(replace(one, job=replace(one.job, model=name)))
    gone = missing("small")
    records.append(replace(gone, job=replace(gone.job, model=NASTY[0], seed=9), reason=NASTY[0]))
    text = page(records)
    assert "<script>alert" not in text
    tags = Text(text).tags
    assert sum(tag == "script" for tag, _ in tags) == 1
    assert not any(name.startswith("on") for _, attrs in tags for name in attrs)
    for _, attrs in tags:
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))


def test_provenance_names_code_packages_devices_and_days() -> None:
    making = {"commit": "0123456789abcdef", "dirty": True, "packages": {"torch": "2.9"}, "device": "cuda"}
    one, other = (
        pair(provenance={**making, "started": "2026-02-03T04:05:06+00:00"}),
        record("alt", provenance={**making, "dirty": False, "started": "2026-01-02T23:59:59+00:00"}),
    )
    text = Text(page([*one, other, record("old", provenance={"started": "last summer"})])).words
    for said in ("0123456789ab, 0123456789ab with changes", "torch 2.9", "cpu, cuda", "2026-01-02 to "):
        assert said in text


def test_what_was_found_is_a_sentence_with_its_counts() -> None:
    """By hand: rows of three models and the baseline, of which one is better, one worse over part of the cells."""
    (board,) = made(pair())
    blank = board.comparisons.rows[-1]

    def of(model: str, p: float, delta: float, task: str | None = None, language: str | None = None, cells: int = 2):  # type: ignore[no-untyped-def]
        return replace(blank, model=model, task=task, language=language, p=p, p_adjusted=p, delta=delta, cells=cells,
                       cells_wanted=2)  # fmt: skip

    def said(*rows: Any) -> str:
        return findings(replace(board, comparisons=replace(board.comparisons, rows=rows)))

    overall = (of("bad", 0.05, -0.0312, cells=1), of("good", 0.00001, 0.1), of("same", 0.0501, 0.05))
    below = (of("good", 0.01, 0.1, "xnli"), of("good", 0.04, 0.2, "xnli", "de"), of("good", 0.06, 0.1, "xnli", "en"))
    assert said(*below, *overall) == (
        "Over all tasks, against mbert: good is better (Δ +10.0, adjusted p <0.0001); bad (in 1 of 2 cells) is worse "
        "(Δ −3.1, adjusted p 0.0500); not told apart from it: same. A difference is found in single tasks 1 of 1 "
        "tests, in single languages 1 of 2 tests."
    )
    assert said(of("same", 1.0, 0.0)) == "Over all tasks, against mbert: not told apart from it: same."
    many = [of(f"m{i}", 0.5, 0.1) for i in range(7)]
    assert said(*many[:6]).endswith("not told apart from it: m0, m1, m2, m3, m4, m5.")
    assert said(*many).endswith("not told apart from it: 7 models.")
    nan = float("nan")
    assert said(of("mbert", 0.01, 0.0), of("lost", nan, nan), *below) == "", "overall nothing was tested"
    assert findings(made([record("small")])[0]) == ""


def test_a_model_that_is_not_there_adds_no_language_to_filter_by() -> None:
    text = page([*pair(), missing("gone", language="all", status="unavailable")])
    languages = [attrs.get("data-name") for _, attrs in Text(text).tags if attrs.get("data-facet") == "language"]
    assert sorted(filter(None, languages)) == ["de", "en"]
