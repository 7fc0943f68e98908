"""Tables -> LaTeX with booktabs: a file that compiles as it is, and that another document may \\input.

A table wider than the line is scaled down to it, and one longer than a page goes on in further parts under the same
heading. That asks for nothing beyond every LaTeX's own packages, where longtable breaks pages but can't be scaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from unibench.numerals import UNKNOWN, cell, figure_text, interval_text
from unibench.tables import Column, Entry, Table, Value
from unibench.tex import escape, unprinted

LINE = 80  # characters across a page, about; a wider table is scaled
LINES = 45  # rows down a page that isn't scaled
WRAPPED = 40  # characters; a column of longer text breaks it into lines

ENGINES = "% Compiles as it is with pdflatex, xelatex or lualatex."
UNICODE = (
    "% Holds characters that pdflatex can't print ({these}): compile it with xelatex or lualatex, and name a font\n"
    "% that has them, with \\setmainfont."
)
HEAD = r"""% To use the tables in a document, \input this file; the preamble needs \usepackage{array,booktabs,graphicx}.
\expandafter\ifx\csname @nodocument\endcsname\relax
  \def\unibenchend{}
\else
  \documentclass{article}
  \usepackage[a4paper,margin=12mm]{geometry}
  \usepackage{array,booktabs,graphicx}
  \ifx\Umathcode\undefined
    \usepackage[T1]{fontenc}
    \IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
  \else
    \usepackage{fontspec}
  \fi
  \pagestyle{empty}
  \def\unibenchend{\end{document}}
  \begin{document}
\fi
\providecommand{\unibenchfit}[1]{\sbox0{#1}\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi}
"""


def latex(tables: Sequence[Table]) -> str:
    """Returns the tables as LaTeX source, "" for none; names the engine it needs in its first line.

    Values line up at their decimals, intervals are subscripts, marks superscripts, and footnotes a list below.
    """
    if not tables:
        return ""
    body = "\n".join(_table(table) for table in tables)
    others = unprinted(body)
    these = ", ".join(f"U+{ord(c):04X}" for c in others[:8]) + (", …" if len(others) > 8 else "")
    engines = UNICODE.format(these=these) if others else ENGINES
    return f"{engines}\n{HEAD}\n{body}\n\\unibenchend\n"


def _table(table: Table) -> str:
    values = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    paired = [_pairs(of) for of in values]
    widths = [_width(column, of) for column, of in zip(table.columns, values, strict=True)]
    kinds = " ".join(map(_alignment, table.columns, paired, widths))
    heading = " & ".join(map(_heading, table.columns, paired))
    lines = []
    for number, part in enumerate(_parts(table, widths)):
        title = escape(table.title) + (" (continued)" if number else "")
        rows = [" & ".join(map(_value, row, table.columns, paired)) + r" \\" for row in part]
        lines += [
            rf"\par\noindent\begin{{minipage}}{{\linewidth}}\raggedright\textbf{{{title}}}\par\smallskip",
            rf"\unibenchfit{{\begin{{tabular}}{{@{{}} {kinds} @{{}}}}",
            r"\toprule", heading + r" \\", r"\midrule", *rows, r"\bottomrule",
            r"\end{tabular}}\end{minipage}\par\medskip",
        ]  # fmt: skip
    if table.footnotes:
        lines += [r"\begin{itemize}\footnotesize\setlength{\itemsep}{0pt}"]
        lines += [rf"\item {escape(note)}" for note in table.footnotes]
        lines += [r"\end{itemize}"]
    return "\n".join([*lines, r"\bigskip", ""])


def _parts(table: Table, widths: Sequence[int]) -> list[list[tuple[Value, ...]]]:
    """Returns the rows, parted so that each part fits on a page; one part, without rows, for a table that has none."""
    room = LINES * max(1.0, sum(widths) / LINE)
    parts: list[list[tuple[Value, ...]]] = [[]]
    used = 0
    for row in table.rows:
        texts = [len(value) for value in row if isinstance(value, str)]
        high = max([1, *(math.ceil(length / WRAPPED) for length in texts)])
        if parts[-1] and used + high > room:
            parts.append([])
            used = 0
        parts[-1].append(row)
        used += high
    return parts


def _pairs(values: Iterable[Value]) -> bool:
    """Whether a column takes two in LaTeX, the numbers and what stands behind them, so that the numbers line up."""
    return any(isinstance(v, Entry) and (v.marks or not math.isnan(v.low + v.high)) for v in values)


def _width(column: Column, values: Sequence[Value]) -> int:
    """Returns about how many characters wide a column is; subscripts are small."""
    longest = max((len(cell(v, column)) for v in values), default=0)
    if column.kind != "text":
        return max(longest * 3 // 4 if _pairs(values) else longest, *map(len, column.name.split(" ", 1)))
    return max(min(longest, WRAPPED), len(column.name))


def _alignment(column: Column, pairs: bool, width: int) -> str:
    if column.kind != "text":
        return r"r@{\,}l" if pairs else "r"
    return rf">{{\raggedright\arraybackslash}}p{{{WRAPPED / 2:g}em}}" if width >= WRAPPED else "l"


def _heading(column: Column, pairs: bool) -> str:
    if column.kind == "text":
        return escape(column.name)
    words = [escape(part) for part in column.name.split(" ", 1)]
    stacked = words[0] if len(words) == 1 else rf"\shortstack[r]{{{words[0]}\\{words[1]}}}"
    return rf"\multicolumn{{2}}{{r}}{{{stacked}}}" if pairs else stacked


def _value(value: Value, column: Column, pairs: bool) -> str:
    """Returns the source of one cell, or of the two that a column of pairs takes."""
    if isinstance(value, str):
        return rf"\multicolumn{{2}}{{r}}{{{escape(value)}}}" if pairs else escape(value)
    if value is None:
        return " & " if pairs else ""
    number = figure_text(value.value if isinstance(value, Entry) else float(value), column.kind)
    source = escape(number) if number == UNKNOWN else f"${number}$"
    if not isinstance(value, Entry) or not pairs:
        return f"{source} & " if pairs else source
    interval = interval_text(value, column.kind).replace(", ", r",\,")
    behind = f"$_{{{interval}}}$" if interval else ""
    behind += "".join(rf"\textsuperscript{{{escape(mark)}}}" for mark in value.marks)
    return f"{source} & {behind}"
