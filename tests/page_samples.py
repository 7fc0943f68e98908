"""Pages to look at in tests: small tables with every kind of cell, and the same with names that mean harm."""

from __future__ import annotations

from dataclasses import replace

from unibench.page import Facts, Figure, Section, page, section
from unibench.tables import Column, Entry, Table

NAN = float("nan")
TASKS = {"xnli", "sts17"}
MODELS = {"alpha", "beta", "gamma"}
HOSTILE = (
    "<script>window.harm = 1</script>",
    "\"><img src=x onerror='window.harm = 2'>",
    "</script><script>window.harm = 3</script>",
    "</style></title><svg onload=window.harm=4>",
    "شرٌّ \u202emodel",
    "'-->]]>&lt;b2&gt;${window.harm=5}",
)
FACTS = Facts(
    may="Trained models differ.",
    may_not="Not recipes.",
    numbers=(("models", "3"),),
    signatures=(("xnli", "perm:groups|n:100|def:RI|v:1"),),
    provenance=(("commit", "0123abc"),),
)
SVG = (
    '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:l="http://www.w3.org/1999/xlink" '
    'viewBox="0 0 90 40" role="img" aria-labelledby="n" style="width: 100%; max-width: 800px">'
    '<title id="n">a &lt; b</title><metadata>secret</metadata>'
    '<defs><clipPath id="c"><rect width="9" height="9"/></clipPath><path id="m" d="M0 0h9"/></defs>'
    '<g clip-path="url(#c)"><rect width="90" height="40" class="box" style="fill: currentColor"/></g>'
    '<use l:href="#m" x="1"/><text x="2" y="20" style="font-size: 8px">Σ 1</text></svg>'
)


def entry(value: float, width: float = 0.02, *marks: str) -> Entry:
    return Entry(value=value, low=value - width, high=value + width, marks=marks)


def board() -> Table:
    """Three models: the baseline, one with numbers, one that knows none."""
    return Table(
        title="Leaderboard: zero-shot from en",
        columns=(
            Column(name="model"),
            Column(name="RI %", kind="relative"),
            Column(name="Δ", kind="difference"),
            Column(name="p adjusted", kind="p"),
            Column(name="xnli accuracy", kind="score"),
            Column(name="sts17 spearman", kind="score"),
        ),
        rows=(
            ("alpha", "baseline", None, None, entry(0.5), entry(0.4, 0.1, "≈")),
            ("beta", entry(-0.051), entry(-0.09, 0.1), 0.02, entry(0.48), entry(0.45)),
            ("gamma", Entry(value=NAN, marks=("†",)), entry(0.1, 0.01), NAN, entry(0.6), Entry(value=NAN)),
        ),
        footnotes=("† partial.", "≈ near its floor.", "Baseline: alpha.", "Warning, beta: it diverged"),
    )


def of_task(name: str, scores: dict[tuple[str, str], float]) -> Table:
    """Scores of (language, model), with the mean of alpha on top."""
    rows = tuple((code, model, entry(score), 10 * place) for place, ((code, model), score) in enumerate(scores.items()))
    columns = (
        Column(name="language"),
        Column(name="model"),
        Column(name="score", kind="score"),
        Column(name="n", kind="count"),
    )
    return Table(title=f"{name}: zero-shot from en", columns=columns, rows=(("mean of 3", "alpha", 0.5, 9), *rows))


XNLI = {
    ("de", "alpha"): 0.52, ("de", "beta"): 0.095, ("zh", "alpha"): 0.51, ("zh", "beta"): NAN, ("ar", "alpha"): 0.4,
    ("ar", "beta"): 0.6,
}  # fmt: skip
CODES = ("af", "ar", "bg", "de", "el", "en", "es", "fi", "fr", "hi", "sw", "vi", "zh", "ja", "ru", "th")
STS = {("en-ar", "alpha"): 0.3, ("en-en", "alpha"): 0.7, ("en-en", "gamma"): 0.65}


def settled(*settings: str) -> list[Section]:
    """A leaderboard and the tests of two tasks in each setting, as the report names them."""
    out = []
    columns = (Column(name="language"), Column(name="model"), Column(name="Δ", kind="difference"),
               Column(name="rank", kind="rank"), Column(name="n", kind="count"), Column(name="signature"))  # fmt: skip
    for kind, names in (("Leaderboard", [""]), ("Tests", ["xnli", "sts17"])):
        for setting in settings:
            for name in names:
                title = f"Tests of {name}: {setting}, test split" if name else f"Leaderboard: {setting}"
                if name == "sts17":
                    title = f"Tests of sts17: nothing trained, 9 examples (beside {setting}), test split"
                rows = tuple((code, "beta", entry(0.01 * n, 0.02 * n), n, 1000 * n, f"perm|seed:{n}|v:1")
                             for n, code in enumerate(CODES, 1))  # fmt: skip
                made = Table(title=title, columns=columns, rows=rows[: 2 if kind == "Leaderboard" else None])
                out.append(section(made, kind=kind, setting=setting, tasks=TASKS, models=MODELS))
    return out


def sections() -> list[Section]:
    tables = [board(), of_task("xnli", XNLI), of_task("sts17", STS)]
    return [section(table, tasks=TASKS, models=MODELS) for table in tables]


def sample_page() -> str:
    return page(sections(), [Figure(title="Bars", svg=SVG, caption="What is seen.")], "Toy report", FACTS)


SETTINGS = ("zero-shot from en, 9 examples", "monolingual, 9 examples")


def settled_page() -> str:
    """Two settings, parts that are folded, and figures of single models."""
    figures = [
        Figure(title=title, subject=subject, svg=SVG, setting=setting)
        for setting in SETTINGS
        for subject, title in (("", "Every model"), ("beta against alpha", "beta against alpha, cell by cell"))
    ]
    return page(
        settled(*SETTINGS),
        figures,
        "Toy report",
        replace(FACTS, found=tuple((setting, "beta is better.") for setting in SETTINGS)),
    )


def hostile_page() -> str:
    """A page in which whatever can be named is named to do harm."""
    rows = tuple((name, name, entry(place / 10)) for place, name in enumerate(HOSTILE))
    columns = (Column(name=HOSTILE[0]), Column(name="model"), Column(name=f"xnli {HOSTILE[1]}", kind="score"))
    parts = [
        section(
            Table(title=f"{name}: {name}", columns=columns, rows=rows, footnotes=(name, f"Warning {name}")),
            kind=name,
            tasks=TASKS,
            models=HOSTILE,
        )
        for name in HOSTILE
    ]
    pairs = tuple((name, name) for name in HOSTILE)
    facts = replace(FACTS, may=HOSTILE[0], may_not=HOSTILE[1], numbers=pairs, signatures=pairs, provenance=pairs)
    figures = [Figure(title=name, svg=SVG, caption=name) for name in HOSTILE]
    return page(parts, figures, HOSTILE[3], facts)
