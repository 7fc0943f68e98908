"""Any text -> LaTeX source that prints it, and which of its characters need another engine than pdflatex.

The source means the same under pdflatex, xelatex and lualatex, in T1 and OT1 fonts, at the start of a table's cell or
an item, and where a language package made a quotation mark active.
"""

from __future__ import annotations

import re
import unicodedata

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\textasciigrave{}",
}
SYMBOLS = {
    "≈": r"\approx", "†": r"\dagger", "‡": r"\ddagger", "×": r"\times", "±": r"\pm", "≤": r"\le", "≥": r"\ge",
    "≠": r"\ne", "→": r"\to", "←": r"\gets", "↔": r"\leftrightarrow", "−": "-", "∞": r"\infty", "√": r"\surd",
    "·": r"\cdot", "∈": r"\in", "∪": r"\cup", "∩": r"\cap", "∑": r"\sum", "²": "^2", "³": "^3",
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "κ": r"\kappa",
    "λ": r"\lambda", "μ": r"\mu", "µ": r"\mu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "φ": r"\varphi",
    "χ": r"\chi", "Δ": r"\Delta", "Σ": r"\Sigma", "Ω": r"\Omega",
}  # fmt: skip
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0308": '"', "\u030c": "v"}
# What inputenc and a T1 font print, tried one by one: Latin-1, Latin Extended-A but these nine, Romanian, punctuation.
_UNPRINTED = frozenset("ĦħĸĿŀŉŦŧſ")
_PRINTED = frozenset("ȘșȚț‐‑–—―‘’‚“”„•…‰‹›€™")


def escape(text: str) -> str:
    """Returns LaTeX source for one line of text; control characters, which no font prints, become question marks."""
    whole = unicodedata.normalize("NFC", " ".join(text.split()))
    printed = "".join("?" if unicodedata.category(c) in ("Cc", "Cs") else c for c in whole)
    accented = re.sub(rf"([A-Za-z])([{''.join(ACCENTS)}])", r"\0\2\1", printed)
    out: list[str] = []
    letters = iter(accented)
    for letter in letters:
        if letter == "\0":
            out.append(rf"\{ACCENTS[next(letters)]}{{{next(letters)}}}")
        elif letter in SYMBOLS:
            out.append(rf"\ensuremath{{{SYMBOLS[letter]}}}")
        else:
            out.append(SPECIAL.get(letter, letter))
    source = re.sub(r"([-,'])(?=\1)", r"\1{}", "".join(out))  # no ligature: "--seeds" is no dash
    return "{}" + source if source[:1] in ("[", "*") else source  # after "\\\\" or \\item these would be its arguments


def unprinted(source: str) -> list[str]:
    """Returns the characters of LaTeX source that pdflatex stops at, each once, in order."""
    return sorted({c for c in source if not (c < "\u0180" and c not in _UNPRINTED) and c not in _PRINTED})
