"""Headings of the page: what is said once is not said again, and what is long is folded."""

from __future__ import annotations

import re
from dataclasses import replace

from page_samples import FACTS, SETTINGS, settled, settled_page

from unibench.page import page
from unibench.page.outline import settings
from unibench.page.signed import said_once


def headings(source: str) -> list[str]:
    main = source[source.index("<main") : source.index("</main")]
    return [f"{level} {re.sub('<[^>]*>', '', said)}" for level, said in re.findall(r"<h([2-5])[^>]*>(.*?)</h\1>", main)]


def test_what_a_heading_has_said_is_not_said_again_below_it() -> None:
    tests = ["3 Zero-shot from en", "4 xnli test split", "4 sts17 nothing trained, test split"]
    assert headings(settled_page()) == [
        "2 Leaderboard", "3 Zero-shot from en", "3 Monolingual",
        "2 Figures", *(f"{level} {said}" for setting in ("Zero-shot from en", "Monolingual")
                       for level, said in ((3, setting), (4, "Every model"), (4, "beta against alpha"),
                                           (5, "Cell by cell"))),
        "2 Tests", *tests, "3 Monolingual", *tests[1:],
    ]  # fmt: skip
    assert "In every setting: 9 examples." in settled_page()
    assert "<b>Zero-shot from en.</b> beta is better.</p><p><b>Monolingual.</b> beta is better." in settled_page()
    alone = page(settled(SETTINGS[0]), [], "t", FACTS)
    assert headings(alone) == ["2 Leaderboard", "2 Tests", "3 xnli test split", "3 sts17 nothing trained, test split"]
    assert '<p class="setting">Zero-shot from en, 9 examples.</p>' in alone
    assert settings(settled("a, b", "a, b, c"), []) == ({"a, b": "A, b", "a, b, c": "A, b, c"}, ""), (
        "else one has no name"
    )
    referred = {key for of in re.findall('aria-labelledby="([^"]*)"', settled_page()) for key in of.split()}
    assert referred <= set(re.findall(' id="([^"]*)"', settled_page()))


def test_notes_leave_out_what_the_page_says_elsewhere() -> None:
    one = settled("s")[0]
    notes = ("Means of 2.", f"May be concluded: {FACTS.may}", f"Signature of p: {FACTS.signatures[0][1]}")
    made = page([replace(one, table=replace(one.table, footnotes=notes))], [], "t", replace(FACTS, may_not=""))
    assert "<summary>2 notes</summary>" in made, "and the signature of its rows"
    assert [made.count(text) for text in ("Means of 2.", FACTS.may, FACTS.signatures[0][1])] == [1, 1, 1]


def test_long_parts_and_figures_of_one_model_are_folded() -> None:
    opened = re.findall(r'<details class="part" id="\w+"( open)?><summary><h2[^>]*>(\w+)', settled_page())
    assert opened == [(" open", "Leaderboard"), (" open", "Figures"), ("", "Tests")]
    assert settled_page().count("<details class=more><summary>") == 2
    counts = re.findall(r'<span class="count">([^<]*)', settled_page())
    assert counts == ["2 tables, 4 rows", "4 figures", "4 tables, 64 rows"]


def test_what_signatures_share_is_said_once_below_the_table() -> None:
    one = settled("s")[1]
    shorter, note = said_once(one)
    assert note == "Signature of every row: perm|seed:…|v:1, each … as its row says."
    assert [row[-1] for row in shorter.table.rows[:2]] == ["seed:1", "seed:2"]
    same = replace(one.table, rows=tuple((*row[:-1], "perm|v:1") for row in one.table.rows))
    without, note = said_once(replace(one, table=same))
    assert (note, without.table.columns) == ("Signature of every row: perm|v:1.", one.table.columns[:-1])
    other = replace(one.table, rows=tuple((*row[:-1], f"{n}|v:{n}") for n, row in enumerate(one.table.rows)))
    assert said_once(replace(one, table=other)) == (replace(one, table=other), "")
