"""Stores that lack something: `unibench report` as typed, in every format, says what is missing and invents nothing."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from edge_stores import EDGES, HOSTILE, Edge
from page_reader import Reader, browsing
from test_report_page import Text
from tiny_runs import unibench
from toy_records import N

from unibench import metrics, store
from unibench.report_page import NOTHING_COMPARED

FORMATS = ("terminal", "markdown", "csv", "json", "latex", "html")
UNMEASURED = re.compile(r"(?<![\w.])(?:nan|NaN|None(?!\s+says)|inf|Infinity)(?![\w.])")


class Printed:
    """What `unibench report --view all` prints of an edge's records: texts by (format, with --significance)."""

    def __init__(self, edge: Edge, folder: Path) -> None:
        self.edge, self.folder = edge, folder
        for one in edge.records:
            store.write(folder, one)
        self.texts = {
            (format, significant): self.asked("--format", format, *["--significance"][: int(significant)])
            for significant in (True, False)
            for format in FORMATS
            # a page without p draws its figures all over again, which takes a second: that of a small store will do
            if significant or format != "html" or len(edge.records) < 5
        }

    def asked(self, *more: str | Path) -> str:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = unibench("report", "--results", self.folder, "--view", "all", *self.edge.options, *more)
        assert (code, err.getvalue()) == (0, ""), more
        return out.getvalue()

    def rows(self, title: str) -> list[dict[str, Any]]:
        """Returns the rows of the tables whose titles match, as {column: value}; of an interval its middle alone."""
        return [
            {c["name"]: v["value"] if isinstance(v, dict) else v for c, v in zip(table["columns"], row, strict=True)}
            for table in json.loads(self.texts["json", True])
            if re.match(title, table["title"])
            for row in table["rows"]
        ]

    def words(self, format: str, significant: bool = True) -> str:
        """Returns what a reader sees of a format, in one line: of a page its texts, of JSON what isn't null."""
        text = self.texts[format, significant]
        if format == "html":
            return Text(text).words
        if format == "json":
            tables = json.loads(text)
            cells = [value for table in tables for row in (*table["rows"], table["footnotes"]) for value in row]
            plain = [value["value"] if isinstance(value, dict) else value for value in cells]
            text = " ".join(str(value) for value in plain if value is not None)
        return " ".join(text.split())


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Printed]:
    return cache(lambda name: Printed(EDGES[name], tmp_path_factory.mktemp("edge") / "results"))


@pytest.fixture(scope="module", params=EDGES)
def printed(request: pytest.FixtureRequest, of: Callable[[str], Printed]) -> Printed:
    return of(request.param)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_nothing_is_shown_that_was_not_measured(printed: Printed) -> None:
    for (format, significant), text in printed.texts.items():
        assert text.endswith("\n")
        assert not UNMEASURED.search(printed.words(format, significant)), format


def test_what_is_missing_is_said_in_words(printed: Printed) -> None:
    for format in ("html", "json"):
        words = printed.words(format)
        for said in printed.edge.said:
            assert said in words, format
        assert not any(mark in words for mark in printed.edge.unsaid)
    assert (NOTHING_COMPARED in printed.words("html")) is not printed.edge.compared


def test_scores_and_differences_are_those_of_the_records(printed: Printed) -> None:
    """Recomputed here from the units: each cell's mean over seeds, and the difference over the seeds of both sides."""
    scores: dict[tuple[str, str, str], dict[int, float]] = {}
    for r in printed.edge.records:
        if r.status == "ok":
            scores.setdefault((r.job.task, r.language, r.job.model), {})[r.job.seed] = metrics.score(r.metric, r.units)
    baseline = next(iter(printed.edge.options[1:]), "mbert")

    def mean(key: tuple[str, str, str], seeds: Iterable[int]) -> float | None:
        values = [scores[key][seed] for seed in seeds if key in scores]
        return None if not values or math.isnan(sum(values)) else 100 * sum(values) / len(values)

    seen = set()
    for task in {task for task, _, _ in scores}:
        means = {row["language"] for row in printed.rows(rf"{task}: .* test split") if row["language"][:4] == "mean"}
        assert {
            row["language"] for row in printed.rows(f"{task} by language") if row["language"][:4] == "mean"
        } <= means
        for row in printed.rows(rf"{task}: .* test split"):
            key = (task, row["language"], row["model"])
            if row["language"].startswith("mean of"):
                continue
            seen.add(key)
            own, theirs = scores[key], scores.get((task, row["language"], baseline), {})
            assert row["score"] == (None if mean(key, own) is None else pytest.approx(mean(key, own), abs=1e-6))
            shared = own.keys() & theirs.keys()
            ours, base = mean(key, shared), mean((task, row["language"], baseline), shared)
            compared = row["model"] != baseline and ours is not None and base is not None
            assert row["Δ"] == (pytest.approx(ours - base, abs=1e-6) if compared else None)
            assert (row["p"] is not None) == compared
            assert row["n"] == N
            assert row["seeds"].strip("*").split() == [str(seed) for seed in sorted(own)]
    assert seen == scores.keys(), "and no cell that nobody measured"
    for row in printed.rows("Leaderboard"):
        if not printed.edge.compared:
            assert [row[name] for name in ("Δ", "RI %", "p adjusted", "ratio of means")] in (
                [None] * 4, [None, "baseline", None, None]
            )  # fmt: skip


def test_without_significance_no_p_and_no_verdict_is_left(printed: Printed) -> None:
    tables = json.loads(printed.texts["json", False])
    assert not any(column["kind"] == "p" for table in tables for column in table["columns"])
    for format in ("markdown", "csv", "latex", "terminal"):
        assert not re.search("[▲▼⊘]|p adjusted", printed.texts[format, False]), format


def test_every_line_of_a_table_is_as_wide_as_its_heading(printed: Printed) -> None:
    tables = json.loads(printed.texts["json", True])
    blocks = [
        list(csv.reader(io.StringIO("\n".join(line for line in block.split("\n") if not line.startswith("#")))))
        for block in printed.texts["csv", True].split("\n\n")
    ]
    assert [len([line for line in block if line]) for block in blocks] == [1 + len(table["rows"]) for table in tables]
    for block in blocks:
        assert len({len(line) for line in block if line}) == 1
    for table in printed.texts["markdown", True].split("## ")[1:]:
        lines = [line for line in table.split("\n") if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, lines
    latex = re.sub(r"\\[{}\\]", "", printed.texts["latex", True])
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\begin{") == latex.count(r"\end{")


def test_figures_are_drawn_of_what_there_is(printed: Printed) -> None:
    printed.asked("--significance", "--figures", printed.folder / "figures")
    names = {path.name for path in (printed.folder / "figures").glob("*")}
    assert ("report-forest.svg" in names) is any(row["Δ"] is not None for row in printed.rows("Leaderboard"))
    assert all(len(name.encode()) < 255 for name in names)
    assert not any(UNMEASURED.search(" ".join(re.findall(r">([^<]+)<", path.read_text(encoding="utf-8"))))
                   for path in (printed.folder / "figures").glob("*.svg"))  # fmt: skip


@pytest.mark.browser
def test_the_page_opens_in_silence_and_fits_a_phone(printed: Printed, reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(printed.texts["html", True], encoding="utf-8")
    reader.open(path, width=390)
    reader.run("for (const one of document.querySelectorAll('details:not(.menu)')) one.open = true")
    assert not UNMEASURED.search(reader.run("return document.body.innerText"))
    assert reader.run("return document.documentElement.scrollWidth") <= 390
    past = "(e) => e.getBoundingClientRect().right > innerWidth"
    assert not reader.run(f"return [...document.querySelectorAll('aside p')].some({past})"), "cut off"
    wide = "(e) => e.scrollWidth > e.clientWidth + 1"
    assert not reader.run(f"return [...document.querySelectorAll('thead th')].some({wide})"), "no heading is cut off"
    assert reader.run("return window.harm === undefined")
    assert reader.complaints() == []
    assert {url.partition("#")[0] for url in reader.requests()} == {path.as_uri()}


@pytest.mark.parametrize("there", [False, True], ids=["no folder", "an empty folder"])
def test_an_empty_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool) -> None:
    folder = tmp_path / "results"
    if there:
        (folder / "runs").mkdir(parents=True)
    for format in FORMATS:
        for more in ((), ("--significance",), ("--figures", tmp_path / "figures")):
            assert unibench("report", "--results", folder, "--format", format, *more) == 2
            captured = capsys.readouterr()
            assert captured.out == ""
            assert re.fullmatch(r"error: no records to report; run `unibench run` first, or [^\n]+\n", captured.err)
    assert not (tmp_path / "figures").exists()


def test_a_model_against_itself_differs_by_nothing(of: Callable[[str], Printed]) -> None:
    twins = of("two identical models")
    tested = [row for row in twins.rows(".*test split|Leaderboard|Tests of") if row.get("model") == "twin"]
    assert len(tested) > 10
    for row in tested:
        assert row["Δ"] == 0
        assert {row[name] for name in ("p", "p adjusted", "RI %") if row.get(name) is not None} <= {0, 1}
        assert row["p adjusted"] == 1
    family = twins.folder / "families" / "near.toml"
    family.parent.mkdir()
    family.write_text('written = 2020-01-01\nquestion = "Alike?"\nmargin = 10\n')
    shown = json.loads(twins.asked("--significance", "--family", "near", "--format", "json"))
    verdicts = {
        row[[c["name"] for c in table["columns"]].index("within ±10")]
        for table in shown if table["title"].startswith("Tests of") for row in table["rows"]
    }  # fmt: skip
    assert verdicts <= {"equivalent", "not known"}
    assert "equivalent" in verdicts


def test_recipes_are_claimed_from_five_runs_a_side_on(of: Callable[[str], Printed]) -> None:
    """By hand: of the C(10, 5) = 252 ways to part ten runs, two part them as far as all good from all bad does."""
    enough, few = (of(name).rows("Recipes") for name in ("five runs a side", "two runs against five"))
    assert [row["p"] for row in enough] == pytest.approx([2 / 252] * 3, abs=1e-6)
    assert [(row["p"], row["p adjusted"], row["runs"]) for row in few] == [(None, None, "5 against 2")] * 3
    assert [row["smallest p"] for row in few] == pytest.approx([2 / 21] * 3, abs=1e-6)
    assert len([row for row in of("two runs against five").rows("Pretraining runs") if row["model"]]) == 7


def test_names_are_but_names(of: Callable[[str], Printed]) -> None:
    hostile = of("names that mean harm")
    assert {row["model"] for row in hostile.rows("Leaderboard")} == {"mbert", *HOSTILE}
    assert [(row["model"], row["reason"]) for row in hostile.rows("Missing")] == [(HOSTILE[0], f"no {HOSTILE[1]}")]
    source = hostile.texts["html", True]
    assert source.count("<script") == 1
    # a name that turns the text around stands alone in what isolates it, or the numbers behind it read backwards
    turned = html.escape(HOSTILE[2])
    assert f"<bdi>{turned}</bdi>" in source
    left = source.replace(f"<bdi>{turned}</bdi>", "").replace(f'="{turned}"', "")
    assert HOSTILE[2][0] not in left
    assert "\ufffdevil" in Text(source).words, "as in what was found, where a sentence goes on behind it"
