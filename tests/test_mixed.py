"""Mixed-effects models: by hand in balanced designs, as statsmodels fits the scores themselves, and under the null."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.regression.mixed_linear_model import MixedLM

from unibench.errors import UserError
from unibench.stats import mixed as rooms
from unibench.stats.mixed import CELL, LANGUAGE, RESIDUAL, RUN, TASK, mixed


def study(
    seed: int, tasks: int, languages: int, seeds: int, *, effect=0.0, task=0.0, language=0.0, cell=0.0, run=0.0,
    residual=1.0, missing=0.0,
) -> dict:  # fmt: skip
    """Scores of "new" and "old", whose differences have these standard deviations; a share `missing` of cells isn't."""
    rng = np.random.default_rng(seed)
    by_task, by_language = rng.normal(0, task, tasks), rng.normal(0, language, languages)
    by_run = rng.normal(0, run, (tasks, seeds))
    out: dict = {"new": {}, "old": {}}
    for t in range(tasks):
        for lang in range(languages):
            if rng.random() < missing:
                continue
            mean, shift = rng.normal(60, 10), by_task[t] + by_language[lang] + rng.normal(0, cell)
            old = {s: mean + rng.normal(0, 5) for s in range(seeds)}
            gap = {s: effect + shift + by_run[t, s] + rng.normal(0, residual) for s in range(seeds)}
            out["old"][f"t{t}", f"l{lang:02d}"] = old
            out["new"][f"t{t}", f"l{lang:02d}"] = {s: old[s] + gap[s] for s in range(seeds)}
    return out


def gaps(scores: dict) -> np.ndarray:
    """(T, L, S)"""
    keys = sorted(scores["new"])
    found = [[scores["new"][k][s] - scores["old"][k][s] for s in sorted(scores["old"][k])] for k in keys]
    tasks = len({task for task, _ in keys})
    return np.array(found).reshape(tasks, len(keys) // tasks, -1)


@pytest.mark.parametrize("seed", range(5))
def test_one_task_one_seed_is_the_paired_t_over_languages(seed: int) -> None:
    scores = study(seed, 1, 12, 1, effect=0.5)
    found = mixed(scores, "old", random_languages=True).effects["new"]
    new, old = (np.array([next(iter(scores[m][k].values())) for k in sorted(scores[m])]) for m in ("new", "old"))
    expected = scipy_stats.ttest_rel(new, old)
    assert found.estimate == pytest.approx((new - old).mean())
    assert (found.p, found.df, found.n) == (pytest.approx(expected.pvalue), pytest.approx(11), 12)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert "part of residual" in found.note


@pytest.mark.parametrize("seed", range(5))
def test_balanced_tasks_are_the_one_sample_t_of_their_means(seed: int) -> None:
    """With every variance found, the task means are independent and carry all that is known: T - 1 degrees."""
    scores = study(seed, 5, 3, 2, effect=1.0, task=3.0, run=1.0, cell=0.5)
    found = mixed(scores, "old").effects["new"]
    assert found.variances[TASK] > 0
    per_task = gaps(scores).mean(axis=(1, 2))
    expected = scipy_stats.ttest_1samp(per_task, 0)
    assert found.estimate == pytest.approx(per_task.mean())
    if all(value > 0 for value in found.variances.values()):
        assert found.df == pytest.approx(4, rel=1e-3)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-2)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-2)


def test_variances_of_a_balanced_design_are_those_of_the_mean_squares() -> None:
    """Tasks by languages, one seed, languages fixed: REML equals the analysis of variance where that is positive."""
    scores = study(3, 6, 4, 1, task=2.0, language=1.0)
    d_TL = gaps(scores)[:, :, 0]
    task_means, language_means = d_TL.mean(axis=1), d_TL.mean(axis=0)
    within = d_TL - task_means[:, None] - language_means[None] + d_TL.mean()
    residual = (within**2).sum() / (5 * 3)
    between = 4 * task_means.var(ddof=1)
    found = mixed(scores, "old").effects["new"]
    assert found.variances[RESIDUAL] == pytest.approx(residual, rel=1e-2)
    assert found.variances[TASK] == pytest.approx((between - residual) / 4, rel=1e-2)
    assert RUN not in found.variances
    assert f"{RUN}: part of {TASK}" in found.note


@pytest.mark.parametrize("missing", [0.0, 0.25])
def test_equals_the_model_of_the_scores_themselves(missing: float) -> None:
    """statsmodels' formula interface on both models' scores, cells and seeds as fixed effects: same effect and error,
    and half the variances. Its optimiser is another one (its own default is a trap, see the module)."""
    scores = study(5, 6, 5, 2, effect=1.0, task=2.0, run=1.5, cell=1.0, missing=missing)
    rows = pd.DataFrame(
        [
            {"score": score, "new": float(model == "new"), "model": model, "task": task, "language": language, "s": s}
            for model, cells in scores.items()
            for (task, language), seeds in cells.items()
            for s, score in seeds.items()
        ]
    )
    rows["place"] = rows.task + rows.language + rows.s.astype(str)
    codes = pd.get_dummies(rows.language, dtype=float)
    for name in codes.columns[1:]:  # sum coding of model x language, by hand
        rows[f"x_{name}"] = rows.new * (codes[name] - codes[codes.columns[0]])
    formula = "score ~ 0 + new + C(place) + " + " + ".join(f"x_{name}" for name in codes.columns[1:])
    parts = {"a": "0 + C(model):C(task)", "b": "0 + C(model):C(task):C(language)", "c": "0 + C(model):C(task):C(s)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = MixedLM.from_formula(formula, rows.assign(one=1), groups="one", re_formula="0", vc_formula=parts).fit(
            method="nm", maxiter=2000, start_params=np.full(3, 0.5)
        )
    found = mixed(scores, "old").effects["new"]
    assert found.estimate == pytest.approx(fit.params["new"], abs=2e-3)
    assert (found.high - found.low) / 2 / scipy_stats.t.ppf(0.975, found.df) == pytest.approx(fit.bse["new"], rel=0.02)
    assert [found.variances[k] for k in (TASK, CELL, RUN)] == pytest.approx(list(2 * fit.vcomp), rel=0.05, abs=0.02)
    assert found.variances[RESIDUAL] == pytest.approx(2 * fit.scale, rel=0.02)


def test_planted_variances_are_recovered() -> None:
    planted = {LANGUAGE: 0.8, TASK: 1.5, CELL: 0.6, RUN: 1.0}
    names = {LANGUAGE: "language", TASK: "task", CELL: "cell", RUN: "run"}
    sds = {names[k]: v for k, v in planted.items()}
    found = [mixed(study(i, 6, 10, 2, **sds), "old", random_languages=True).effects["new"] for i in range(16)]
    for name, sd in planted.items():
        values = np.array([x.variances[name] for x in found])
        assert values.mean() == pytest.approx(sd**2, abs=4 * values.std() / 4), name
    assert np.mean([x.variances[RESIDUAL] for x in found]) == pytest.approx(1.0, rel=0.1)
    assert all(x.converged and not x.withheld for x in found)


@pytest.mark.parametrize(
    "design",
    [
        {"tasks": 4, "languages": 4, "seeds": 2, "task": 1.0, "run": 1.0, "cell": 0.5},
        {"tasks": 4, "languages": 6, "seeds": 2, "task": 0.3, "run": 0.3, "missing": 0.2},
        {"tasks": 2, "languages": 4, "seeds": 3, "task": 0.5, "run": 0.5},
        {"tasks": 1, "languages": 5, "seeds": 4, "run": 1.0},
        {"tasks": 4, "languages": 3, "seeds": 1},
    ],
)
def test_a_true_null_is_seldom_rejected(design: dict) -> None:
    """At most 5 %: where a variance is found to be 0, fewer, for its degrees of freedom are kept."""
    runs = 80
    found = [mixed(study(i, **design), "old").effects["new"] for i in range(runs)]
    told = [x for x in found if not x.withheld]
    assert len(told) >= 0.95 * runs, {x.withheld for x in found}
    rejected = sum(x.p <= 0.05 for x in told)
    assert rejected <= scipy_stats.binom.ppf(0.9995, runs, 0.05), f"{rejected} of {runs}"
    assert sum(x.low <= 0 <= x.high for x in told) == len(told) - rejected


def test_an_effect_beyond_what_tasks_and_runs_vary_by_is_found() -> None:
    design = {"tasks": 5, "languages": 4, "seeds": 3, "task": 0.5, "run": 0.5, "effect": 2.0}
    found = [mixed(study(i, **design), "old").effects["new"] for i in range(20)]
    assert sum(x.p <= 0.05 for x in found) >= 17


def test_as_if_runs_did_not_exist_a_null_would_be_rejected_too_often() -> None:
    """The reason for the run term, and the proof that the calibration above can fail: a t over cells and seeds."""
    rejected = 0
    for i in range(100):
        d = gaps(study(i, 1, 5, 4, run=1.0)).ravel()
        rejected += scipy_stats.ttest_1samp(d, 0).pvalue <= 0.05
    assert rejected > 20


def test_another_model_moves_no_number() -> None:
    scores = study(0, 4, 4, 2, task=1.0)
    alone = mixed(scores, "old").effects["new"]
    noisy = {key: {s: v * 0.2 for s, v in seeds.items()} for key, seeds in scores["new"].items()}
    both = mixed({**scores, "scratch": noisy}, "old")
    assert both.effects["new"] == alone
    assert list(both.effects) == ["new", "scratch"]


def test_points_or_fractions_say_the_same() -> None:
    scores = study(1, 4, 4, 2, task=1.0)
    small = {m: {k: {s: v / 100 for s, v in by.items()} for k, by in cells.items()} for m, cells in scores.items()}
    a, b = mixed(scores, "old").effects["new"], mixed(small, "old").effects["new"]
    assert b.estimate == pytest.approx(a.estimate / 100)
    assert b.p == pytest.approx(a.p, rel=1e-3)
    assert b.variances[RESIDUAL] == pytest.approx(a.variances[RESIDUAL] / 1e4, rel=1e-3)


def test_cells_trained_apart_share_no_run() -> None:
    scores = study(2, 3, 4, 3, task=1.0, run=2.0)
    shared = mixed(scores, "old").effects["new"]
    apart = mixed(scores, "old", trained_in={key: key[1] for key in scores["new"]}).effects["new"]
    assert RUN in shared.variances
    assert RUN not in apart.variances
    assert f"{RUN}: part of {RESIDUAL}" in apart.note


def reason(scores: dict, **how) -> str:
    found = mixed(scores, "old", **how).effects["new"]
    if found.withheld:
        assert all(math.isnan(x) for x in (found.estimate, found.low, found.high, found.p, found.df))
        assert (found.variances, found.converged) == ({}, False)
    return found.withheld


def test_what_cannot_be_told_is_withheld_with_the_reason() -> None:
    assert reason(study(0, 1, 1, 5)).startswith("1 cell")
    assert reason({"new": {("a", "en"): {0: 1.0}}, "old": {("b", "en"): {0: 1.0}}}).startswith("no cell")
    unpaired = {"new": {("a", "en"): {0: 1.0}}, "old": {("a", "en"): {1: 1.0}}}
    assert reason(unpaired).startswith("no cell")
    assert "every language is seen once" in reason(study(0, 1, 5, 1))
    assert reason(study(0, 1, 9, 1), random_languages=True).startswith("9 of the 10 languages")
    same = study(0, 3, 3, 2)
    assert "every difference is the same" in reason({"old": same["old"], "new": same["old"]})
    assert reason(study(0, 3, 3, 2, residual=0.0, task=1.0)), "an exact sum of the terms has no residual"
    alone = mixed({"old": same["old"]}, "old")
    assert "one model alone" in alone.withheld
    assert alone.effects == {}
    with pytest.raises(UserError, match="'older' has no scores; known: new, old"):
        mixed(same, "older")


def test_tasks_that_share_no_two_languages_leave_their_variance_unknown() -> None:
    """One task in five languages, another in one of them: what the task adds and what chance adds are one number."""
    scores = study(0, 2, 5, 1)
    cells = {key for key in scores["new"] if key[0] == "t0" or key[1] == "l00"}
    kept = {model: {key: by[key] for key in cells} for model, by in scores.items()}
    assert TASK in reason(kept)


def test_nan_and_lone_seeds_do_not_enter() -> None:
    scores = study(5, 4, 4, 2, task=1.0)
    expected = mixed(scores, "old").effects["new"]
    key = ("t0", "l00")
    more = {**scores["new"], key: {**scores["new"][key], 7: 99.0}, ("t9", "l00"): {0: float("nan")}}
    old = {**scores["old"], ("t9", "l00"): {0: 50.0}}
    assert mixed({"new": more, "old": old}, "old").effects["new"] == expected
    assert expected.n == 32
    assert expected.cells == 16


def test_a_search_that_stops_short_is_never_a_silent_number(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = study(6, 4, 4, 2, task=1.0, run=1.0)
    real = rooms._statsmodels

    def stops_short(difference_N, fixed_NX, terms):
        estimate, found, residual = real(difference_N, fixed_NX, terms)
        return estimate, {name: value * 3 + 0.1 for name, value in found.items()}, residual * 2

    monkeypatch.setattr(rooms, "_statsmodels", stops_short)
    assert reason(scores) == "the fit did not converge"

    def breaks(difference_N, fixed_NX, terms):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(rooms, "_statsmodels", breaks)
    assert reason(scores) == "the fit did not converge: Singular matrix"
