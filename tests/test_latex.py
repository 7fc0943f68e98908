"""LaTeX: text of any kind comes out as it went in, rows keep their columns, and where there is a LaTeX it compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from toy_records import missing, store

from unibench import report
from unibench.latex import LINES, latex
from unibench.render import render
from unibench.tables import Column, Entry, Table
from unibench.tex import SPECIAL, SYMBOLS, escape, unprinted

NAN = float("nan")
NASTY = r"a&b% $1 #2_{x}~^\end{document} <tag> |bar| [opt] *star* --flag ,, '' ?` \\"
TABLE = Table(
    title=r"Board & 100 % of_it \input{x}",
    columns=(
        Column(name="model_name"),
        Column(name="RI %", kind="relative"),
        Column(name="acc", kind="score"),
        Column(name="p", kind="p"),
        Column(name="n", kind="count"),
        Column(name="why"),
    ),
    rows=(
        ("[red]", "base_line", Entry(value=0.8211, low=0.81, high=0.832, marks=("≈", "†")), None, 5010, "x" * 60),
        (NASTY, Entry(value=-0.05, low=-0.1, high=0.0), 0.5, 0.00004, 5010, "short"),
        ("*", Entry(value=NAN), NAN, NAN, 0, None),
    ),
    footnotes=("[1] a first & last", "† `unibench run --seeds 3`: Δ ≥ 5 %, k̂ = 2"),
)


def rows_of(source: str) -> list[str]:
    return re.findall(r"\\midrule\n(.*?)\n\\bottomrule", source, re.S)[0].split("\n")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("a_b & 5 % #1 $x", r"a\_b \& 5 \% \#1 \$x"),
        ("{~^}", r"\{\textasciitilde{}\textasciicircum{}\}"),
        (r"\end{document}", r"\textbackslash{}end\{document\}"),
        ("--seeds", "-{}-seeds"),
        ("---", "-{}-{}-"),
        ("[red]", "{}[red]"),
        ("* starred", "{}* starred"),
        ("a [b] *", "a [b] *"),
        ("a\nb\t c", "a b c"),
        ("a\0b", "a?b"),
        ("Δ≥", r"\ensuremath{\Delta}\ensuremath{\ge}"),
        ("k̂", r"\^{k}"),
        ("é and e\u0301", "é and é"),
        ("", ""),
    ],
)
def test_escaping_by_hand(text: str, source: str) -> None:
    assert escape(text) == source


@given(st.text())
@example(NASTY)
@example("k\u0302\u0302 \0^e")
def test_whatever_a_name_holds_its_source_is_text(text: str) -> None:
    source = escape(text)
    known = [*SPECIAL.values(), *(rf"\ensuremath{{{s}}}" for s in SYMBOLS.values()), "{}"]
    bare = re.sub(r"\\[`'^~=\"v]\{[A-Za-z]\}", "", source)
    for command in sorted(known, key=len, reverse=True):
        bare = bare.replace(command, "")
    assert not set(bare) & set('\\{}&%$#_~^<>|"`'), bare
    assert "\n" not in source
    assert not re.match(r"[\[*]", source)
    assert not re.search(r"--|,,|''", source)


def test_values_line_up_with_intervals_below_and_marks_above() -> None:
    source = latex([TABLE])
    first, second, third = rows_of(source)
    assert first.startswith(r"{}[red] & \multicolumn{2}{r}{base\_line} & $82.1$ & $_{[81.0,\,83.2]}$\textsuperscript{")
    assert r"\textsuperscript{\ensuremath{\approx}}\textsuperscript{\ensuremath{\dagger}} &  & $5010$ & " in first
    assert r" & $-5.0$ & $_{[-10.0,\,0.0]}$ & $50.0$ &  & $<0.0001$ & $5010$ & short \\" in second
    assert third == r"{}* & – &  & – &  & – & $0$ &  \\"
    wrapped = r">{\raggedright\arraybackslash}p{20em}"
    assert rf"\begin{{tabular}}{{@{{}} {wrapped} r@{{\,}}l r@{{\,}}l r r {wrapped} @{{}}}}" in source
    assert r"\textbf{Board \& 100 \% of\_it \textbackslash{}input\{x\}}" in source


@pytest.mark.parametrize("table", [TABLE, *report.leaderboard([*store(), missing("small", "mlqa")], resamples=50)])
def test_every_row_fills_its_columns(table: Table) -> None:
    source = latex([table])
    layout = re.search(r"\\begin\{tabular\}\{@\{\} (.*) @\{\}\}\n", source)
    assert layout is not None
    spec = re.sub(r"[@>]\{(?:[^{}]|\{[^{}]*\})*\}|\{[^{}]*\}", "", layout[1])
    wanted = len(re.findall("[lrp]", spec))
    heading = re.search(r"\\toprule\n(.*)\n\\midrule", source)
    assert heading is not None
    for line in [heading[1], *rows_of(source)]:
        plain = line.replace(r"\&", "")
        assert plain.count("&") + plain.count(r"\multicolumn{2}") == wanted - 1, line
    bare = source.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert source.count("\\item ") == len(table.footnotes)


def test_a_long_table_goes_on_under_the_same_heading() -> None:
    rows = tuple((f"m{i}", 0.5) for i in range(2 * LINES + 1))
    source = latex([Table(title="long", columns=(Column(name="m"), Column(name="s", kind="score")), rows=rows)])
    assert source.count(r"\toprule") == source.count(r"\textbf{long") == 3
    assert source.count(r"\textbf{long (continued)}") == 2
    assert re.findall(r"^m(\d+) &", source, re.M) == [str(i) for i in range(len(rows))]


def test_which_engine_is_said_first() -> None:
    assert latex([TABLE]).startswith("% Compiles as it is with pdflatex, xelatex or lualatex.\n")
    arabic = Table(title="لغة", columns=(Column(name="m"),), rows=())
    first = latex([arabic]).split("\n", 1)[0]
    assert "pdflatex can't print (U+0629, U+063A, U+0644): compile it with xelatex or lualatex" in first
    assert unprinted(escape("naïve Țară Łódź")) == []
    assert unprinted("Ħ") == ["Ħ"]
    assert latex([]) == render([], "latex") == ""


def compiled(tmp_path: Path, source: str, engine: str = "pdflatex") -> Path:
    if shutil.which(engine) is None:
        pytest.skip(f"no {engine} on this machine, so nothing is compiled")
    (tmp_path / "tables.tex").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "tables.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return tmp_path / "tables.pdf"


def test_it_compiles_and_prints_the_very_text(tmp_path: Path) -> None:
    every = "".join(chr(c) for c in range(0x21, 0x180) if not unprinted(escape(chr(c))))
    letters = Table(title="all", columns=(Column(name="c"),), rows=tuple((c,) for c in every + "".join(SYMBOLS)))
    pdf = compiled(tmp_path, latex([TABLE, letters, *report.leaderboard(store(), resamples=50)]))
    if shutil.which("pdftotext") is None:
        pytest.skip("compiled; no pdftotext on this machine to read it back")
    shown = subprocess.run(["pdftotext", "-raw", pdf, "-"], capture_output=True, text=True, check=True).stdout
    for text in (r"$1 #2_{x}~^\end{document} <tag> |bar| [opt] *star* --flag", "[red]", "base_line",
                 "[1] a first & last", "unibench run --seeds 3", "82.1", "Leaderboard: zero-shot from en"):  # fmt: skip
        assert text in " ".join(shown.split()), text


def test_another_document_may_input_it(tmp_path: Path) -> None:
    (tmp_path / "board.tex").write_text(latex([TABLE]), encoding="utf-8")
    compiled(
        tmp_path,
        "\\documentclass{article}\\usepackage{array,booktabs,graphicx}\\begin{document}\n"
        "before \\input{board} between \\input{board} after\\end{document}\n",
    )


def test_names_in_any_script_compile_with_xelatex(tmp_path: Path) -> None:
    compiled(tmp_path, latex([Table(title="لغة 语言", columns=(Column(name="m"),), rows=(("Ħ ế",),))]), "xelatex")
