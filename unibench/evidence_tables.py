"""Evidence -> tables: ranks, tests over cells, recipes and their runs, groups of models, languages, a mixed model.

Legend: `M` models.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unibench import recipe_tables
from unibench.evidence import Across, Evidence, GroupTest
from unibench.facts import BASELINES, VARIANTS
from unibench.recipe_tables import DIFFERENCE, MODEL, P_FLOOR, TASK, WITHHELD, P, made
from unibench.stats import languages as random_languages
from unibench.stats import letters, ranks
from unibench.stats import mixed as mixed_model
from unibench.stats.mixed import Effect
from unibench.tables import Column, Entry, Table, Value, entry, with_notes


def tables(found: Evidence, title: str) -> list[Table]:
    """Returns the tables of what there is evidence about; what has none is said in one footnote, under the first.

    None where one model is alone: there is nothing to say of it.
    """
    parts = {
        "ranks": _ranks(found, f"Ranks and ties: {title}"),
        "tests across cells": _across(found, f"Across cells: {title}"),
        "mean ranks": _friedman(found, f"Mean ranks over cells: {title}"),
        "pretraining runs": recipe_tables.runs(found, f"Pretraining runs: {title}"),
        "recipes": recipe_tables.claims(found, f"Recipes: {title}"),
        "groups": _groups(found, f"Groups of models: {title}"),
        "other languages": _languages(found, f"Other languages like these: {title}"),
        "a mixed-effects model": _mixed(found, f"Mixed-effects model: {title}"),
    }
    out = [table for table in parts.values() if isinstance(table, Table)]
    reasons: dict[str, list[str]] = {}
    for name, why in parts.items():
        if isinstance(why, str):
            reasons.setdefault(why, []).append(name)
    if out and reasons:
        words = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
        out[0] = with_notes(out[0], [f"Without a table: {words}."])
    return out


def _ranks(found: Evidence, title: str) -> Table | str:
    rows: list[tuple[Value, ...]] = []
    ranked = 0
    for task, standings in found.standings.items():
        if task is not None and len(found.standings) < 3:
            continue  # the mean of the only task is the overall one
        rows += [
            (
                task or "overall", of.model, Entry(value=of.rank, low=of.low, high=of.high), of.letters or None,
                of.reason or None,
            )
            for of in standings
        ]  # fmt: skip
        ranked = max(ranked, sum(not of.reason for of in standings))
    if len(rows) < 2:
        return "it takes two models"
    notes = [ranks.note(ranked, found.resamples, found.alpha)]
    if ranked > 1:
        text = found.signed("boot:groups,shifted", "rank of mean score", found.resamples, "bootstrap", "holm")
        notes.append(text)
    return made(title, (TASK, MODEL, Column(name="rank", kind="rank"), Column(name="ties"), WITHHELD), rows, notes)


def _across(found: Evidence, title: str) -> Table | str:
    if not found.across:
        return "no model is compared with a baseline"
    columns = (
        MODEL,
        Column(name="over"),
        Column(name="n", kind="count"),
        Column(name="mean Δ", kind="difference"),
        Column(name="p Wilcoxon", kind="p"),
        P_FLOOR,
        Column(name="p paired t", kind="p"),
        WITHHELD,
    )
    few = sorted({of.note for of in found.across if of.note})
    notes = [
        "Descriptive: cells that share a fine-tuning or a language move together, so these p come out too small; they "
        "prove nothing about a model, and are not corrected. Exact two-sided signed-rank test of the differences from "
        f"{found.baseline} that aren't 0 (Wilcoxon 1945), and Student's paired t, whose p has no floor only because it "
        "takes a few differences to be normal.",
        *([f"Whatever the differences are, {'; '.join(few)}."] if few else []),
        found.signed("wilcoxon:exact,two-sided", "delta of scores"),
    ]
    return made(title, columns, [row for of in found.across for row in _over(of)], notes)


def _over(of: Across) -> list[tuple[Value, ...]]:
    return [
        (
            of.model, over, t.n, entry(t.mean, t.low, t.high), ranked.p, ranked.smallest_p, t.p,
            "; ".join(dict.fromkeys(filter(None, (ranked.reason, t.reason)))) or None,
        )
        for over, ranked, t in (("cells", of.cells, of.cells_t), ("task means", of.tasks, of.tasks_t))
    ]  # fmt: skip


def _friedman(found: Evidence, title: str) -> Table | str:
    tested = found.friedman
    if tested is None:
        return "it takes three models"
    if tested.reason:
        return tested.reason.rstrip(".")
    ranked = sorted(zip(tested.mean_ranks, tested.names, tested.nemenyi_p, strict=True))
    best = tested.names.index(ranked[0][1])
    place_M = np.array([rank for rank, _, _ in ranked])
    apart_MM = np.abs(place_M[:, None] - place_M) >= tested.critical_difference
    rows = [
        (model, f"{rank:.2f}", None if model == ranked[0][1] else p[best], ties)
        for (rank, model, p), ties in zip(ranked, letters.letters(apart_MM), strict=True)
    ]
    first = Column(name=f"p against {ranked[0][1]}", kind="p")
    notes = [tested.note, found.signed("friedman:chi2,nemenyi", "rank in each cell")]
    return made(title, (MODEL, Column(name="mean rank"), first, Column(name="ties")), rows, notes)


def _groups(found: Evidence, title: str) -> Table | str:
    if not found.groups:
        return f"it takes {VARIANTS} and {BASELINES}, one of each beside the baseline"
    ri, delta = sorted(found.groups, key=lambda test: not test.improved)
    columns = (
        Column(name="group"), Column(name="models"), Column(name="clusters", kind="count"),
        Column(name="RI %", kind="relative"), Column(name="p of RI", kind="p"), DIFFERENCE,
        Column(name="p of Δ", kind="p"), P_FLOOR, WITHHELD,
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = [
        (
            group, ", ".join(model for model, kind in delta.members.items() if kind == group) or "none",
            delta.claim.clusters[side], (ri.claim.mean_a, ri.claim.mean_b)[side], None,
            (delta.claim.mean_a, delta.claim.mean_b)[side], None, None, None,
        )
        for side, group in enumerate((VARIANTS, BASELINES))
    ]  # fmt: skip
    why = dict.fromkeys(
        f"{of}: {test.claim.withheld}" for of, test in (("RI", ri), ("Δ", delta)) if test.claim.withheld
    )
    rows.append((
        "difference", None, None, ri.claim.delta, ri.claim.p, delta.claim.delta, delta.claim.p, delta.claim.smallest_p,
        "; ".join(why) or None,
    ))  # fmt: skip
    notes = [
        f"Relative improvement over {found.baseline} in {ri.cells} cells, and difference from it in {delta.cells}: "
        f"those that all members have. By {delta.claim.test}, two measures of one question, uncorrected: whether the "
        "label matters among models like these, with whatever else differs between the groups (size, data, budget).",
        _clusters(ri, delta),
        *dict.fromkeys(f"{note[:1].upper()}{note[1:]}." for note in (ri.claim.note, delta.claim.note) if note),
    ]
    if not delta.claim.withheld:
        at = delta.claim.arrangements
        notes.append(found.signed("perm:models,clusters", "RI and delta over shared cells", at, "groups"))
    return made(title, columns, rows, notes)


def _clusters(ri: GroupTest, delta: GroupTest) -> str:
    together: dict[str, list[str]] = {}
    for model, of in delta.shared.items():
        together.setdefault(of, []).append(model)
    joined = "; ".join(", ".join(of) for of in together.values() if len(of) > 1)
    gone = sorted({*ri.left_out, *delta.left_out})
    return (
        "Models that share a teacher are one cluster and count once, and so are runs of one recipe: they differ by "
        f"luck alone, and the question is about kinds of models. Clusters of several: {joined or 'none here'}."
    ) + (f" Left out, lacking half of the cells: {', '.join(gone)}." if gone else "")


def _languages(found: Evidence, title: str) -> Table | str:
    """One row a task and model; a task that all models are withheld for, for one reason, has one row."""
    if not found.languages:
        return "no model is compared with a baseline"
    rows: list[tuple[Value, ...]] = []
    withheld: dict[tuple[str, str, int], list[str]] = {}
    for of in found.languages:
        if of.claim.withheld:
            withheld.setdefault((of.task, of.claim.withheld, of.claim.n), []).append(of.model)
        else:
            rows.append((of.task, of.model, entry(of.claim.delta, of.claim.low, of.claim.high), of.claim.n, None))
    if not rows and all(n < random_languages.FEWEST for _, _, n in withheld):
        return f"no task has the {random_languages.FEWEST} languages it takes"
    rows += [(task, ", ".join(models), None, n, why) for (task, why, n), models in withheld.items()]
    notes = [
        f"Mean difference from {found.baseline}, were languages drawn again from those that these stand for, and "
        f"examples too: t over languages plus what translations share, from {random_languages.FEWEST} languages on. "
        "Nobody drew these at random, so it holds as far as others are like them, and a single one may lie outside. "
        "Everywhere else in this report languages are a fixed set.",
        found.signed("t:languages,examples", "delta of scores, mean over languages"),
    ]
    return made(title, (TASK, MODEL, DIFFERENCE, Column(name="languages", kind="count"), WITHHELD), rows, notes)


def _mixed(found: Evidence, title: str) -> Table | str:
    if found.mixed is None:
        return "no model is compared with a baseline"
    effects = found.mixed.effects
    reasons = dict.fromkeys(of.withheld for of in effects.values())
    if found.mixed.withheld or "" not in reasons:
        return found.mixed.withheld or "; ".join(reasons)
    rows: list[tuple[Value, ...]] = []
    for model, of in effects.items():
        parts = [
            f"{name.removeprefix('model x ')} {100 * variance**0.5:.1f}"
            for name, variance in of.variances.items()
            if variance > 0
        ]
        rows.append((
            model, entry(of.estimate, of.low, of.high), of.p, None if of.withheld else f"{of.df:.1f}", of.n, of.cells,
            ", ".join(parts) or None, of.withheld or None,
        ))  # fmt: skip
    columns = (
        MODEL, DIFFERENCE, P, Column(name="df"), Column(name="n", kind="count"), Column(name="cells", kind="count"),
        Column(name="sd of Δ by"), WITHHELD,
    )  # fmt: skip
    terms = _terms(effects)
    notes = [
        f"Differences from {found.mixed.baseline} within a cell and a seed, by a {mixed_model.LABEL}; and what they "
        "vary by (sd in points, where any was found). It speaks of these checkpoints, fine-tuned again, on tasks like "
        "these: tasks that somebody chose are no random sample, another pretraining is not part of it, and p is not "
        "corrected.",
        *([f"Terms: {terms}."] if terms else []),
        found.signed("mixed:reml,satterthwaite", "delta of scores"),
    ]
    return made(title, columns, rows, notes)


def _terms(effects: Mapping[str, Effect]) -> str:
    """Returns what became of the terms, each said once with the models it is said of; of all of them without names."""
    fitted = [model for model, of in effects.items() if not of.withheld]
    said: dict[str, list[str]] = {}
    for model in fitted:
        for part in effects[model].note.split("; "):
            if part and not part.endswith("no variance found"):  # the table shows that
                said.setdefault(part, []).append(model)
    return "; ".join(part if of == fitted else f"{part} ({', '.join(of)})" for part, of in said.items())
