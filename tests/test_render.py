"""Renderers: exact bytes of a small table in every format."""

from __future__ import annotations

import csv
import io
import json

import pytest
from rich.console import Console

from unibench.errors import UnknownName
from unibench.render import FORMATS, render, show
from unibench.tables import Column, Entry, Table

NAN = float("nan")
TABLE = Table(
    title="Board | 1",
    columns=(
        Column(name="model"),
        Column(name="RI", kind="relative"),
        Column(name="acc", kind="score"),
        Column(name="ratio", kind="ratio"),
        Column(name="p", kind="p"),
        Column(name="n", kind="count"),
    ),
    rows=(
        ("a|b*[red]", "baseline", Entry(value=0.8211, low=0.81, high=0.832, marks=("≈",)), None, None, 5010),
        ("small", Entry(value=-0.05, low=-0.1, high=0.0), 0.5, 1.0234, 0.00004, 5010),
        ("x", Entry(value=NAN), NAN, NAN, NAN, 0),
    ),
    footnotes=("p < 0.05 | two\nlines",),
)


def test_markdown_bytes() -> None:
    assert render([TABLE], "markdown") == (
        "## Board \\| 1\n"
        "\n"
        "| model | RI | acc | ratio | p | n |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| a\\|b\\*[red] | baseline | 82.1 [81.0, 83.2] ≈ |  |  | 5010 |\n"
        "| small | -5.0 [-10.0, 0.0] | 50.0 | 1.023 | <0.0001 | 5010 |\n"
        "| x | – | – | – | – | 0 |\n"
        "\n"
        "- p < 0.05 \\| two lines\n"
    )


def test_csv_bytes_and_that_a_parser_reads_them_back() -> None:
    text = render([TABLE, TABLE], "csv")
    assert text.split("\n\n")[0] == (
        "# Board | 1\n"
        "model,RI,RI low,RI high,acc,acc low,acc high,acc marks,ratio,p,n\n"
        "a|b*[red],baseline,,,82.11,81.0,83.2,≈,,,5010\n"
        "small,-5.0,-10.0,0.0,50.0,,,,1.0234,4e-05,5010\n"
        "x,,,,,,,,,,0\n"
        "# p < 0.05 | two lines"
    )
    rows = list(csv.reader(io.StringIO("\n".join(text.split("\n")[1:5]))))
    assert {len(row) for row in rows} == {11}


def test_json_is_strict_and_holds_everything() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    (found,) = json.loads(render([TABLE], "json"), parse_constant=refuse)
    assert found["title"] == "Board | 1"
    assert found["columns"][1] == {"name": "RI", "kind": "relative", "unit": "percent"}
    assert found["rows"][0][2] == {"value": 82.11, "low": 81.0, "high": 83.2, "marks": ["≈"]}
    assert found["rows"][1][1] == {"value": -5.0, "low": -10.0, "high": 0.0, "marks": []}
    assert found["rows"][1][2:] == [50.0, 1.0234, 4e-05, 5010]
    assert found["rows"][2][1:] == [{"value": None, "low": None, "high": None, "marks": []}, None, None, None, 0]


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_text_formats_ignore_the_terminal(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = render([TABLE], format)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert render([TABLE], format) == before
    assert before.endswith("\n")
    assert "\x1b" not in before
    assert render([], format).strip() in ("", "[]")


def test_terminal_shows_what_markdown_shows_and_takes_no_markup_from_names() -> None:
    out = io.StringIO()
    show([TABLE], Console(file=out, width=120, color_system=None))
    text = out.getvalue()
    for part in ("Board | 1", "a|b*[red]", "82.1", "[81.0,83.2]≈", "-5.0", "[-10.0,0.0]", "<0.0001", "p < 0.05 | two"):
        assert part in text, part


def test_unknown_format() -> None:
    with pytest.raises(UnknownName, match=r"no format 'markdwon'.*did you mean 'markdown'"):
        render([TABLE], "markdwon")


def test_names_steer_no_terminal_and_turn_no_number_around(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[31mred\u202e name"
    table = Table(
        title=name, columns=(Column(name=name), Column(name="p", kind="p")), rows=((name, 0.5),), footnotes=(name,)
    )
    show([table], Console(width=100))
    texts = [capsys.readouterr().out, *(render([table], format) for format in ("markdown", "csv"))]
    for text in texts:
        assert "red" in text
        assert not {"\x1b", "\u202e"} & set(text)
