"""The page as bytes: nothing runs or loads that it didn't bring, everything is text, and languages have scripts."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from page_samples import FACTS, HOSTILE, SVG, hostile_page, sections

from unibench.errors import UserError
from unibench.page import Facts, Figure, Section, languages, page, section
from unibench.page.grid import notes
from unibench.tables import Column, Entry, Table
from unibert.languages import LANGUAGES
from unibert.scripts import WRITTEN_IN

NAN = float("nan")
VOID = {"meta", "input", "wbr"}


class Tree(HTMLParser):
    """What a parser sees: elements with their attributes, and all text outside style and script."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"<{tag}> has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]].append(data)
        else:
            self.texts.append(data)


def test_the_policy_names_the_only_script_and_style_by_their_hashes_and_allows_nothing_else() -> None:
    tree = Tree(page(sections(), [Figure(title="f", svg=SVG)], "t", FACTS))
    [policy] = [a["content"] for tag, a in tree.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    for name, source in (("script-src", "script"), ("style-src", "style")):
        assert sum(tag == source for tag, _ in tree.elements) == 1
        digest = base64.b64encode(hashlib.sha256("".join(tree.raw[source]).encode()).digest()).decode()
        assert directives.pop(name) == f"'sha256-{digest}'"
    assert directives.pop("require-trusted-types-for") == "'script'"
    assert directives == dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")


def test_nothing_refers_outside_and_no_attribute_holds_code_or_style() -> None:
    source = hostile_page()
    for tag, attributes in Tree(source).elements:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "form", "image", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"style", "src", "srcset", "action", "formaction", "ping", "background"}
            assert name != "href" or (value or "").startswith("#")
    css = "".join(Tree(source).raw["style"])
    assert not re.search(r"url\((?!#)|@import|@font-face", css)


def test_every_hostile_text_comes_out_as_the_text_it_is() -> None:
    tree = Tree(hostile_page())
    said = "\0".join(tree.texts)
    for name in HOSTILE:
        assert name in said, name
    assert not any(tag in {"img", "b2"} or "onerror" in attributes for tag, attributes in tree.elements)
    names = [a["data-name"] for _, a in tree.elements if a.get("data-facet") == "model" and "data-name" in a]
    assert sorted(map(str, names)) == sorted(HOSTILE)


def test_what_no_document_may_hold_is_replaced() -> None:
    table = Table(title="a\0b\ud800c\x1b[31m", columns=(Column(name="model"),), rows=(("x\x00y",),))
    source = page([Section(table=table, kind="k\x08")], [], "t", FACTS)
    assert source.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f]", source)
    assert "a\ufffdb\ufffdc\ufffd[31m" in source


def test_the_same_input_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    code = "import sys, page_samples; sys.stdout.buffer.write(page_samples.hostile_page().encode())"
    folder = Path(__file__).parent
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{folder}{os.pathsep}{folder.parent}"},
        ).stdout
        for seed in ("1", "2")
    }
    assert made == {hostile_page().encode()}


def test_numbers_carry_their_exact_value_and_read_as_elsewhere() -> None:
    row = ("m", Entry(value=-1 / 3, low=-0.5, high=-0.1, marks=("†",)), Entry(value=NAN), 0.00001, None, "baseline")
    kinds = ("text", "relative", "score", "p", "count", "difference")
    columns = tuple(Column(name=f"c{place}", kind=kind) for place, kind in enumerate(kinds))  # type: ignore[arg-type]
    source = page([Section(table=Table(title="t", columns=columns, rows=(row,)), kind="k")], [], "t", FACTS)
    cells = re.findall(r"<td class=\"n[^>]*>", source)
    assert [re.findall('data-value="([^"]*)"', cell) for cell in cells] == [[repr(-1 / 3)], ["nan"], ["1e-05"], [], []]
    said = " ".join(Tree(source).texts)
    for part in ("−33.3", "[−50.0, −10.0]", "–", "<0.0001", "baseline"):
        assert part in said


def test_the_page_of_nothing_and_of_figures_alone() -> None:
    assert "no results are stored" in page([], [], "t", FACTS)
    alone = page([], [Figure(title="only", svg=SVG, caption="why")], "t", FACTS)
    assert "why" in alone
    assert "no results are stored" not in alone
    assert "<details><summary>Signatures" not in page([], [], "t", Facts(may="a", may_not="b"))


def test_both_sentences_signatures_and_provenance_are_said() -> None:
    said = Tree(page(sections(), [], "t", FACTS)).texts
    for words in (FACTS.may, FACTS.may_not, *FACTS.signatures[0], *FACTS.provenance[0], *FACTS.numbers[0]):
        assert words in said


def test_marks_are_explained_in_view_and_the_rest_is_folded_with_its_count() -> None:
    made = notes(["≈ near its floor", "– not known", "Baseline: m.", "Warning, m: diverged", "Warning, n: diverged"])
    assert made.index("near its floor") < made.index("not known") < made.index("<details")
    assert re.findall("<summary>([^<]*)", made) == ["1 note", "2 warnings"]


def test_a_mark_is_read_aloud_as_what_it_means_and_every_mark_is_explained_in_view() -> None:
    values = ("m", Entry(value=0.1, marks=("≈", "▼")), Entry(value=NAN), 12345)
    kinds = ("text", "score", "difference", "count")
    columns = tuple(Column(name=f"c{place}", kind=kind) for place, kind in enumerate(kinds))  # type: ignore[arg-type]
    source = page([Section(table=Table(title="t", columns=columns, rows=(values,)), kind="k")], [], "t", FACTS)
    marks = [a["title"] for tag, a in Tree(source).elements if tag == "abbr" and a.get("role") == "img"]
    assert marks == ["not above its floor", "worse than the baseline", "not known"]
    assert ">12,345<" in source
    assert "<details" not in notes(["▲ better, ▼ worse than the baseline: adjusted p at most alpha."])


def test_what_is_looked_for_first_comes_first() -> None:
    kinds = ("text", "p", "rank", "score", "difference", "count")
    columns = tuple(Column(name=kind, kind=kind) for kind in kinds)  # type: ignore[arg-type]
    source = page([Section(table=Table(title="t", columns=columns, rows=()), kind="k")], [], "t", FACTS)
    first = re.findall(r'<th[^>]*data-first="(\w)', source)
    assert "".join(first) == "aaaddd"


# ---- sections: what rows and columns are about


def table(title: str, names: tuple[str, ...], *rows: tuple[str | float, ...], **kinds: str) -> Table:
    columns = tuple(Column(name=name, kind=kinds.get(name, "text")) for name in names)  # type: ignore[arg-type]
    return Table(title=title, columns=columns, rows=rows)


def test_facets_are_read_off_the_report_tables() -> None:
    known = {"tasks": {"xnli", "sts17"}, "models": {"a", "b", "a, b"}}
    task = section(table("xnli: zero-shot", ("language", "model"), ("mean of 2", "a"), ("de", "a, b")), **known)  # type: ignore[arg-type]
    assert task.kind == "Tasks"
    assert task.rows == (
        {"task": ("xnli",), "model": ("a",)},
        {"task": ("xnli",), "language": ("de",), "model": ("a, b",)},
    )
    board = section(table("Leaderboard: x", ("model", "xnli accuracy", "cells"), ("b", 0.5, "2/2")), **known)  # type: ignore[arg-type]
    tests = section(table("Tests of xnli: zero-shot", ("language", "model"), ("de", "a")), kind="Tests", **known)  # type: ignore[arg-type]
    assert tests.rows == ({"task": ("xnli",), "language": ("de",), "model": ("a",)},)
    assert (board.kind, board.rows, board.heads) == ("Leaderboard", ({"model": ("b",)},), {1: {"task": ("xnli",)}})
    gone = table(
        "Missing: x",
        ("task", "model", "languages", "which"),
        ("all 2 tasks", "b, a", "2", "en-ar sw"),
        ("xnli, new", "z", "", ""),
    )
    assert section(gone, **known).rows == (  # type: ignore[arg-type]
        {"task": ("sts17", "xnli"), "language": ("en-ar", "sw"), "model": ("b", "a")},
        {"task": ("xnli", "new"), "model": ("z",)},
    )


def test_a_heading_is_a_language_only_where_it_is_said_to_be_one() -> None:
    views = table("Gaps: x", ("model", "en", "gap"), ("a", 0.1, 0.2))  # gap is a language of Papua New Guinea
    assert section(views).heads == {}
    assert section(views, languages=["en", "de"]).heads == {1: {"language": ("en",)}}


def test_facets_that_fit_no_table_are_refused() -> None:
    one = table("t", ("model",), ("a",))
    with pytest.raises(ValueError, match="has 1 rows, facets of 2"):
        Section(table=one, kind="k", rows=({}, {}))
    with pytest.raises(ValueError, match="no column 3"):
        Section(table=one, kind="k", heads={3: {}})


# ---- scripts, against the table that the trainer keeps of the 107 languages


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_each_language_of_the_107_has_one_of_its_scripts_and_a_name(code: str) -> None:
    [script] = languages.scripts(code)
    same = {"Jpan": {"Hani", "Hira", "Kana"}, "Kore": {"Hang", "Hani"}}.get(script, {script})
    assert same & set(WRITTEN_IN[code])
    assert languages.name(code) != code
    assert languages.is_language(code)


@pytest.mark.parametrize(
    ("code", "scripts"),
    [
        ("zh-Hant", ("Hani",)), ("sr-Latn", ("Latn",)), ("pt-BR", ("Latn",)), ("en-ar", ("Latn", "Arab")),
        ("ar-ar", ("Arab",)), ("nah", ("Latn",)), ("xx", ("unknown",)), ("mean of 3", ("unknown",)),
    ],
)  # fmt: skip
def test_scripts_of_other_codes(code: str, scripts: tuple[str, ...]) -> None:
    assert languages.scripts(code) == scripts


def test_names_and_what_is_no_language() -> None:
    assert languages.name("en-ar") == "English–Arabic"
    assert languages.script_name("Latn") == "Latin"
    assert languages.script_name(languages.UNKNOWN) == "unknown script"
    assert not any(map(languages.is_language, ("mean of 3", "", "score", "xx", "EN", "de "))), "none of them"


# ---- figures


def test_a_figure_keeps_its_shapes_and_gets_ids_of_its_own() -> None:
    one = Figure(title="f", svg=SVG)
    source = page([], [one, one], "t", FACTS)
    ids = [a["id"] for _, a in Tree(source).elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert 'clip-path="url(#f1-c)"' in source
    assert 'href="#f0-m"' in source
    [name] = set(re.findall(r'<rect[^>]* class="(s\d+)"', source))
    assert f".{name}{{fill: currentColor; stroke: url(#f0-c)}}" in source or f".{name}{{fill: currentColor}}" in source
    assert "secret" not in source
    assert "a &lt; b" in source


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("<script>alert(1)</script>", "holds <script>"),
        ("<rect onclick='alert(1)'/>", "attribute 'onclick'"),
        ("<foreignObject/>", "holds <foreignObject>"),
        ("<image href='data:image/png;base64,AA'/>", "holds <image>"),
        ("<style>*{}</style>", "holds <style>"),
        ("<a href='#x'/>", "holds <a>"),
        ("<set attributeName='href' to='x'/>", "holds <set>"),
        ("<use href='http://x.test/a#b'/>", "refers to 'http"),
        ("<use xmlns:x='http://www.w3.org/1999/xlink' x:href='javascript:1'/>", "refers to 'javascript"),
        ("<rect fill='url(http://x.test/a)'/>", "more than a page takes"),
        ("<rect style='fill: url( \"//x.test\")'/>", "more than a page takes"),
        ("<rect style='fill: u\\72l(//x.test)'/>", "more than a page takes"),
        ("<rect style='fill: red} body{display:none'/>", "more than a page takes"),
        ("<rect style='fill: rgb(1'/>", "more than a page takes"),
        ("<rect style='fill: red /* '/>", "more than a page takes"),
        ("<h:p xmlns:h='http://www.w3.org/1999/xhtml'/>", "which a page doesn't take"),
        ("<rect", "is no XML"),
    ],
)  # fmt: skip
def test_figures_that_could_run_or_load_something_are_refused(inside: str, said: str) -> None:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg">{inside}</svg>'
    with pytest.raises(UserError, match=re.escape(said)):
        page([], [Figure(title="f", svg=svg)], "t", FACTS)


@pytest.mark.parametrize(
    ("svg", "said"),
    [
        ("<!DOCTYPE svg [<!ENTITY a 'b'>]><svg>&a;</svg>", "declares entities"),
        ("<html/>", "starts with <html>"),
        ("", "is no XML"),
    ],
)
def test_what_is_no_plain_svg_is_refused(svg: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        page([], [Figure(title="f", svg=svg)], "t", FACTS)


def test_the_figures_of_the_report_are_taken() -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    from unibench.plots import to_svg

    figure, axes = pyplot.subplots()
    axes.plot([1, 2], [2, 1], marker="o")
    axes.set_title("a < b & 'c'")
    svg = to_svg(figure, "drawn", "described")
    pyplot.close(figure)
    source = page([], [Figure(title="f", svg=svg)], "t", FACTS)
    assert "described" in " ".join(Tree(source).texts)
    assert "style=" not in source
