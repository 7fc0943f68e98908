"""`unibench report` as typed: every option, where files go, and one line with exit code 2 for every mistake."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import unibench
from toy_records import missing, record

from unibench import store

Captured = pytest.CaptureFixture[str]
FAMILY = 'written = 2020-01-01\nquestion = "Which?"\nmodels = ["small"]\ntasks = ["xnli"]\nscope = "overall"\n'


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of three models, with a family and an older copy of itself in old/. To be read only."""
    folder = tmp_path_factory.mktemp("reports") / "results"
    for model, quality in (("mbert", 0.5), ("small", 0.8), ("owner/alt", 0.6)):
        for task, language in (("xnli", "de"), ("xnli", "en"), ("wikiann", "en")):
            one = record(model, task, language, quality=quality, provenance={"started": "2026-01-01T00:00:00+00:00"})
            store.write(folder, one)
            if model == "small":
                worse = replace(one, units=record(model, task, language, 5, 0.6).units)
                store.write(folder.parent / "old", worse)
    store.write(folder, missing("small", "sts17", "en-tr"))
    (folder / "families").mkdir()
    (folder / "families" / "mine.toml").write_text(FAMILY)
    (folder / "families" / "broken.toml").write_text("written = [2020\n")
    (folder / "families" / "wrong.toml").write_text(FAMILY + 'correction = "bonferoni"\n')
    (folder / "families" / "other.toml").write_text(FAMILY.replace("xnli", "mlqa"))
    (folder / "families" / "based.toml").write_text(FAMILY.replace("small", "owner/alt") + 'baseline = "small"\n')
    return folder


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "results"))


def titles(text: str) -> list[str]:
    return [table["title"].split(":")[0] for table in json.loads(text)]


def asked(folder: Path, capsys: Captured, *more: str | Path) -> str:
    capsys.readouterr()
    assert unibench("report", "--results", folder, *more) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(folder: Path, capsys: Captured, *more: str | Path) -> str:
    before = sorted(folder.parent.rglob("*"))
    capsys.readouterr()
    assert unibench("report", "--results", folder, *more) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    after = [path for path in sorted(folder.parent.rglob("*")) if "cache" not in path.parts]
    assert after == [path for path in before if "cache" not in path.parts], "nothing is written by a mistake"
    return captured.err.removeprefix("error: ").rstrip("\n")


def test_views_are_those_asked_for_in_an_order_of_their_own(folder: Path, capsys: Captured) -> None:
    usual = titles(asked(folder, capsys, "--format", "json"))
    assert usual == ["Leaderboard", "wikiann", "xnli", "Missing"]
    part = asked(folder, capsys, "--format", "json", "--view", "missing, languages", "--tasks", "xnli")
    assert titles(part) == ["xnli by language"]
    everything = titles(asked(folder, capsys, "--format", "json", "--view", "all", "--significance"))
    assert set(usual) < set(everything)
    assert "Tests of the overall means" in everything
    assert "Transfer gaps" in everything


def test_filters_narrow_the_view_and_no_number(folder: Path, capsys: Captured) -> None:
    whole = json.loads(asked(folder, capsys, "--format", "json", "--significance"))
    options = ("--languages", "de", "--model", "owner/alt", "--tasks", "xnli")
    part = json.loads(asked(folder, capsys, "--format", "json", "--significance", *options))
    assert [t["title"].split(":")[0] for t in part] == ["Leaderboard", "xnli"]
    (full,) = [t for t in whole if t["title"] == part[1]["title"]]
    assert {tuple(row[:2]) for row in part[1]["rows"]} == {
        (place, model) for place in ("mean of 2", "de") for model in ("mbert", "owner/alt")
    }
    assert all(row in full["rows"] for row in part[1]["rows"])


def test_a_declared_family_decides_what_is_tested(folder: Path, capsys: Captured) -> None:
    text = asked(folder, capsys, "--format", "json", "--significance", "--family", "mine")
    board, *_ = json.loads(text)
    adjusted = [c["name"] for c in board["columns"]].index("p adjusted")
    assert {row[0]: bool(row[adjusted]) for row in board["rows"]} == {
        "mbert": False, "small": True, "owner/alt": False
    }  # fmt: skip
    notes = "\n".join(board["footnotes"])
    assert "over a family of 1 test" in notes
    assert "for the family does not cover them: wikiann en." in notes
    assert "exploratory" not in notes
    based = json.loads(asked(folder, capsys, "--format", "json", "--significance", "--family", "based"))
    assert "Baseline: small (as family 'based' says)." in based[0]["footnotes"]
    usual = json.loads(asked(folder, capsys, "--format", "json", "--significance", "--family", "default"))
    assert usual == json.loads(asked(folder, capsys, "--format", "json", "--significance"))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--family", "mien"], "no family 'mien' in {folder}/families/; did you mean 'mine'?"),
        (["--family", "../families/mine"], "no family '../families/mine' in "),
        (["--family", "broken"], "{folder}/families/broken.toml is not a readable TOML file ("),
        (["--family", "wrong"], "{folder}/families/wrong.toml:6: correction is 'bonferoni'; expected one of "),
        (["--family", "other"], "family 'other' covers none of these results"),
        (["--family", "based", "--baseline", "mbert"], "family 'based' compares with 'small', not with 'mbert'"),
        (["--view", "leaderbord"], "no view 'leaderbord' in unibench report; did you mean 'leaderboard'?"),
        (["--view", "evidence"], "shows nothing without --significance; add it"),
        (["--languages", "dee"], "no language 'dee' in the results; did you mean 'de'?"),
        (["--model", "smal"], "no model 'smal' in the results; did you mean 'small'?"),
        (["--format", "htlm"], "no format 'htlm' in unibench report"),
        (["--out", "{folder}"], "--out {folder} is a folder; name a file in it"),
        (["--out", "{folder}/families/mine.toml/board.md"], "--out: {folder}/families/mine.toml is a file"),
        (["--format", "html", "--out", "{folder}"], "--out {folder} is a folder; name a file in it"),
        (["--figures", "{folder}/families/mine.toml"], "--figures: {folder}/families/mine.toml is a file"),
        (["--against", "{folder}"], "is the same folder as --results"),
        (["--against", "{folder}/../nowhere"], "/nowhere is no folder; expected one of results, or a protocol's name"),
        (["--against", "{folder}/families"], "no records in 'families'"),
        (["--against", "zero-shott"], "no protocol 'zero-shott' in unibench; did you mean 'zero-shot'?"),
        (["--against", "{folder}/../old", "--tasks", "xnli"], "leave them out beside a folder"),
        (["--against", "zero-shot", "--family", "mine"], "--family belongs to the leaderboard"),
        (["--against", "zero-shot", "--view", "tests"], "--view belongs to the leaderboard"),
        (["--reference", "--figures", "x"], "--figures belongs to the leaderboard"),
        (["--reference", "--format", "html"], "--format html belongs to the leaderboard"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_writes_nothing(
    stored: Path, folder: Path, capsys: Captured, more: list[str], expected: str
) -> None:
    shutil.copytree(stored.parent / "old", folder.parent / "old")
    arguments = [word.replace("{folder}", str(folder)) for word in more]
    assert expected.replace("{folder}", str(folder)) in refused(folder, capsys, *arguments)


def test_files_go_where_they_are_sent_though_the_folder_be_new(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    for format, ending, start in (
        ("html", "html", "<!DOCTYPE html>"), ("latex", "tex", "%"), ("markdown", "md", "#"), ("csv", "csv", "#"),
        ("json", "json", "["), ("terminal", "txt", "#"),
    ):  # fmt: skip
        path = tmp_path / "new" / format / f"board.{ending}"
        said = asked(folder, capsys, "--significance", "--format", format, "--out", path)
        assert said == f"wrote {path}\n"
        text = path.read_text(encoding="utf-8")
        assert text.lstrip().startswith(start), text[:80]
        assert "owner/alt" in text or format == "latex"
        first = path.read_bytes()
        asked(folder, capsys, "--significance", "--format", format, "--out", path)
        assert path.read_bytes() == first


def test_a_page_and_a_table_may_go_to_the_terminal_with_figures_beside(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    page = asked(folder, capsys, "--format", "html", "--figures", tmp_path / "new" / "figures")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    names = {path.name for path in (tmp_path / "new" / "figures").iterdir()}
    assert {f"report-{n}.{e}" for n in ("forest", "heat-small", "transfer") for e in ("svg", "png")} < names
    assert {"report-forest-owner--alt.svg", "report-heat-owner--alt.png"} < names
    json.loads(asked(folder, capsys, "--format", "json", "--figures", tmp_path / "new" / "figures"))
    said = asked(folder, capsys, "--figures", tmp_path / "new" / "figures")
    assert f"drew {len(names)} files of figures into {tmp_path / 'new' / 'figures'}" in said


def test_two_settings_have_figures_of_their_own(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    for model, quality in (("mbert", 0.5), ("small", 0.8)):
        store.write(folder, record(model, quality=quality, job={"origin": "sample"}))
    asked(folder, capsys, "--figures", tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"01-forest.svg", "02-forest.svg", "02-heat-owner--alt.png"} < names
    assert "01-heat-owner--alt.png" not in names


def test_a_view_with_nothing_in_it_says_so(folder: Path, capsys: Captured) -> None:
    assert asked(folder, capsys, "--view", "probe") == "nothing to show: probe\n"
    assert json.loads(asked(folder, capsys, "--view", "probe", "--format", "json")) == []


def test_an_older_set_of_results_stands_beside(stored: Path, folder: Path, capsys: Captured) -> None:
    old = stored.parent / "old"
    tables = json.loads(asked(folder, capsys, "--against", old, "--significance", "--format", "json"))
    text = json.dumps(tables)
    assert "old" in tables[0]["title"] + text
    names = [c["name"] for c in tables[0]["columns"]]
    (small,) = [row for row in tables[0]["rows"] if "small" in row]
    (delta,) = [small[i]["value"] for i, name in enumerate(names) if name == "Δ"]
    assert delta > 5
    assert "owner/alt" in text, "what has no pair is named"


def test_a_second_report_reads_no_units(folder: Path, capsys: Captured) -> None:
    first = asked(folder, capsys, "--significance", "--format", "markdown", "--view", "all")
    for path in (folder / "runs").rglob("*.npz"):
        path.unlink()
    assert asked(folder, capsys, "--significance", "--format", "markdown", "--view", "all") == first
    assert "not a readable record" in refused(folder, capsys, "--baseline", "small")
