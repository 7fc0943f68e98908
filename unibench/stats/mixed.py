"""A mixed-effects model of every model's difference from the baseline: which part is the model's, and what varies.

The model of the scores is the usual one,

    score = cell + model (fixed) + model x task + model x language + model x cell + fine-tuning run + residual,

and it is fitted on the differences from the baseline within a cell and a seed, one model at a time. Subtracting removes
the cell (how hard a task is in a language) whatever its distribution, and another model in the table moves no number.
The variances are therefore those of *differences*: for two models alike, twice those of one model's scores.

What it claims: that the model differs from the baseline on average over tasks like these, in these languages (or in
languages like these, where they are asked for as random), when these checkpoints are fine-tuned again. What it doesn't:
that another pretraining would come out alike, or that tasks somebody chose are a random sample. So it is a description.
A task is weighed by what is known of it, so the estimate isn't the macro mean of the tables; where every task has every
language and seed the two are equal. "model x cell" is what a test set adds that all seeds share, its examples included;
what translated test sets share is part of "model x task", and unseen where there is but one task.

Legend: `N` differences, `X` fixed effects, `Q` levels of a random term, `K` variances.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from unibench.errors import UserError, one_line
from unibench.metrics import Array

NAN = float("nan")
LABEL = "mixed-effects model, REML, t with Satterthwaite's degrees of freedom; descriptive"
LANGUAGES_NEEDED = 10  # before an interval may speak of languages in general
TASK, LANGUAGE, CELL, RUN = "model x task", "model x language", "model x cell", "fine-tuning run"
RESIDUAL = "residual"

Scores = Mapping[str, Mapping[tuple[str, str], Mapping[int, float]]]  # model -> (task, language) -> seed -> score


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One model's mean difference from the baseline, its 95 % interval and two-sided p, and what the data vary by.

    `variances` are of differences; one that came out as 0 is 0. `n` differences entered, from `cells` cells. `note`
    says which terms couldn't be told apart or came out as 0. Where `withheld` gives a reason, every number is nan.
    """

    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    df: float = NAN
    variances: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    cells: int = 0
    converged: bool = False
    note: str = ""
    withheld: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """The effect of every model but the baseline; `withheld` is a reason that holds for all of them."""

    effects: Mapping[str, Effect]
    baseline: str
    test: str = LABEL
    withheld: str = ""


@dataclass(frozen=True, slots=True)
class _Rows:
    difference_N: Array
    task_N: tuple[str, ...]
    language_N: tuple[str, ...]
    run_N: tuple[tuple[str, str, int], ...]


def mixed(
    scores: Scores,
    baseline: str,
    *,
    random_languages: bool = False,
    trained_in: Mapping[tuple[str, str], str] | None = None,
) -> Mixed:
    """Returns every model's effect against `baseline`, from scores by model, (task, language) and seed.

    Differences are taken within a cell between equal seeds, which share the order of their examples; other seeds and
    nan don't enter. All languages of a task share a fine-tuning run per seed, unless `trained_in` names the language
    a cell's runs were trained in: then those with the same one do. Languages are a fixed set, whose unweighted mean is
    estimated; with `random_languages`, which needs 10, they stand for languages like these.
    A fit that fails is a reason in words, never an error. Raises UserError if the baseline has no scores.
    Sources: Bates et al. 2015 (the model); Satterthwaite 1946, Fai & Cornelius 1996 (the degrees of freedom).
    """
    if baseline not in scores:
        raise UserError(f"the baseline {baseline!r} has no scores; known: {', '.join(sorted(scores)) or 'none'}")
    others = sorted(model for model in scores if model != baseline)
    if not others:
        return Mixed(effects={}, baseline=baseline, withheld=f"one model alone: nothing to compare {baseline} with")
    effects = {
        model: _effect(_paired(scores[model], scores[baseline], trained_in or {}), random_languages)
        for model in others
    }  # fmt: skip
    return Mixed(effects=effects, baseline=baseline)


def _paired(
    ours: Mapping[tuple[str, str], Mapping[int, float]],
    theirs: Mapping[tuple[str, str], Mapping[int, float]],
    trained_in: Mapping[tuple[str, str], str],
) -> _Rows:
    rows = [
        (ours[cell][seed] - theirs[cell][seed], *cell, (cell[0], trained_in.get(cell, ""), seed))
        for cell in sorted(ours.keys() & theirs.keys())
        for seed in sorted(ours[cell].keys() & theirs[cell].keys())
    ]
    rows = [row for row in rows if not np.isnan(row[0])]
    return _Rows(
        np.array([row[0] for row in rows], dtype=np.float64),
        tuple(row[1] for row in rows), tuple(row[2] for row in rows), tuple(row[3] for row in rows),
    )  # fmt: skip


def _effect(rows: _Rows, random_languages: bool) -> Effect:
    n, cells = len(rows.difference_N), len(set(zip(rows.task_N, rows.language_N, strict=True)))

    def withhold(reason: str) -> Effect:
        return Effect(n=n, cells=cells, withheld=reason)

    if cells < 2:
        return withhold(f"{cells or 'no'} cell shared with the baseline; it takes two tasks or two languages")
    languages = len(set(rows.language_N))
    if random_languages and languages < LANGUAGES_NEEDED:
        return withhold(f"{languages} of the {LANGUAGES_NEEDED} languages it takes to speak of languages in general")
    spread = float(np.std(rows.difference_N))
    if spread < 1e-12:
        return withhold("every difference is the same: nothing says how far chance goes")
    fixed_NX = np.ones((n, 1)) if random_languages else _sum_coded(rows.language_N)
    terms, notes, reason = _terms(rows, fixed_NX, random_languages)
    if reason:
        return withhold(reason)
    # a unit spread, for the optimiser's tolerances are absolute
    fit = _fit(rows.difference_N / spread, fixed_NX, terms)
    if isinstance(fit, str):
        return withhold(fit)
    estimate, variances = fit
    se, df = _satterthwaite(fixed_NX, terms, variances)
    if not df >= 0.999 or not np.isfinite(se):
        return withhold("too little repeats to say how far chance goes; it takes more seeds or tasks")
    from scipy.stats import t

    half = float(t.ppf(0.975, df)) * se
    zero = [name for name, value in variances.items() if value == 0]
    return Effect(
        estimate=estimate * spread, low=(estimate - half) * spread, high=(estimate + half) * spread,
        p=float(2 * t.sf(abs(estimate) / se, df)), df=df, n=n, cells=cells, converged=True,
        variances={name: value * spread**2 for name, value in variances.items()},
        note="; ".join([*notes, *(f"{name}: no variance found" for name in zero)]),
    )  # fmt: skip


def _terms(rows: _Rows, fixed_NX: Array, random_languages: bool) -> tuple[dict[str, Array], list[str], str]:
    """Returns the random terms (N, Q) these data can tell apart, what became of the others, and why none can be fitted.

    Variances can be told apart if the REML information about them has full rank.
    """
    n = len(rows.difference_N)
    out_NN = np.eye(n) - fixed_NX @ np.linalg.pinv(fixed_NX)
    if round(float(np.trace(out_NN))) < 1:
        hint = f" (or {LANGUAGES_NEEDED} languages, as random ones)"
        return {}, [], "every language is seen once, so nothing repeats; it takes more seeds or tasks" + hint
    cell_N = tuple(zip(rows.task_N, rows.language_N, strict=True))
    wanted: dict[str, Sequence[Hashable]] = {TASK: rows.task_N, CELL: cell_N, RUN: rows.run_N}
    if random_languages:
        wanted = {LANGUAGE: rows.language_N, **wanted}
    terms: dict[str, Array] = {}
    notes: list[str] = []
    taken: dict[str, Array] = {RESIDUAL: np.eye(n)}
    for name, labels in wanted.items():
        design_NQ = _indicators(labels)
        same = [other for other, levels in taken.items() if _same_partition(levels, design_NQ)]
        if design_NQ.shape[1] == 1:
            notes.append(f"{name}: only one, so the effect speaks of that one")
        elif np.abs(out_NN @ design_NQ).max() < 1e-9:
            notes.append(f"{name}: fixed together with the languages")
        elif same:
            notes.append(f"{name}: part of {same[0]}, which it can't be told from")
        elif not _told_apart(out_NN, [*taken.values(), design_NQ]):
            return {}, [], f"{name} can't be told from the rest; it takes more seeds, or tasks that share languages"
        else:
            terms[name] = taken[name] = design_NQ
    return terms, notes, ""


def _told_apart(out_NN: Array, designs: Sequence[Array]) -> bool:
    information_KK = np.array([[np.sum((a.T @ out_NN @ b) ** 2) for b in designs] for a in designs])
    scale = np.sqrt(np.diag(information_KK))
    return bool(np.linalg.eigvalsh(information_KK / np.outer(scale, scale))[0] > 1e-8)


def _fit(difference_N: Array, fixed_NX: Array, terms: Mapping[str, Array]) -> tuple[float, dict[str, float]] | str:
    """Returns the mean difference and every variance; or why statsmodels could not find them.

    Where a variance is best 0, its optimiser divides by it and stops short. So the terms are fitted, then every subset
    of them, larger ones first, until one is the optimum of all: a variance left out would not grow from 0.
    """
    failures = []
    for size in range(len(terms), -1, -1):
        for kept in combinations(terms, size):
            try:
                estimate, found, residual = _statsmodels(difference_N, fixed_NX, {k: terms[k] for k in kept})
                variances = {k: v if (v := found.get(k, 0.0)) > 1e-6 else 0.0 for k in terms} | {RESIDUAL: residual}
                if not np.isfinite([estimate, *variances.values()]).all():
                    failures.append("a variance is not a number")
                elif residual < 1e-10:
                    failures.append("the differences are an exact sum of the terms")
                elif _at_optimum(difference_N, fixed_NX, terms, variances):
                    return estimate, variances
            except (np.linalg.LinAlgError, ValueError, ZeroDivisionError, FloatingPointError) as error:
                failures.append(one_line(error, 80))
    return f"the fit did not converge{f': {failures[0]}' if failures else ''}"


def _statsmodels(
    difference_N: Array, fixed_NX: Array, terms: Mapping[str, Array]
) -> tuple[float, dict[str, float], float]:
    """Returns the first fixed effect, the terms' variances and the residual's, wherever its optimiser stopped."""
    import statsmodels.api as sm
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    # it warns of a boundary and of a failed search; `_at_optimum` looks at the numbers those are about
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not terms:
            plain = sm.OLS(difference_N, fixed_NX).fit()
            return float(plain.params[0]), {}, float(plain.scale)
        columns = [[[str(q) for q in range(design_NQ.shape[1])]] for design_NQ in terms.values()]
        spec = VCSpec(list(terms), columns, [[design_NQ] for design_NQ in terms.values()])
        model = MixedLM(difference_N, fixed_NX, groups=np.ones(len(difference_N)), exog_vc=spec)
        # near a variance of 0 gradients stop the default search early: most small simulated fits were no optimum
        result = model.fit(reml=True, method="nm", maxiter=2000, start_params=np.full(len(terms), 0.3))
        return float(result.fe_params[0]), dict(zip(terms, map(float, result.vcomp), strict=True)), float(result.scale)


def _at_optimum(
    difference_N: Array, fixed_NX: Array, terms: Mapping[str, Array], variances: Mapping[str, float]
) -> bool:
    """Returns whether the REML likelihood is highest here: a hundredth of a standard error off at most.

    Where a variance is 0 the likelihood must fall as it grows.
    """
    designs = [*terms.values(), np.eye(len(difference_N))]
    value_K = np.array([variances[name] for name in (*terms, RESIDUAL)])
    _, projected_NN = _inverses(fixed_NX, designs, value_K)
    weighed_N = projected_NN @ difference_N
    score_K = np.array([(np.sum((z.T @ weighed_N) ** 2) - np.sum((projected_NN @ z) * z)) / 2 for z in designs])
    information_KK = _information(projected_NN, designs)
    free = value_K > 0
    decrement = score_K[free] @ np.linalg.solve(information_KK[np.ix_(free, free)], score_K[free])
    return bool(decrement < 1e-4 and (score_K[~free] < 1e-2 * np.sqrt(np.diag(information_KK)[~free])).all())


def _satterthwaite(fixed_NX: Array, terms: Mapping[str, Array], variances: Mapping[str, float]) -> tuple[float, float]:
    """Returns the standard error of the first fixed effect, and its degrees of freedom 2 C^2 / Var(C).

    C, its variance, is a function of the variances, whose own covariance is the inverse of the REML information.
    Variances found to be 0 keep their cost in degrees of freedom, unlike in the sources: as if known to be 0, a true
    null with two tasks, or one task in two runs, was rejected in 8-9 % of simulations at a nominal 5 % (with four
    tasks, in 3-5 %); this way, in 0-4 %. The price is power where tasks are few.
    """
    designs = [*terms.values(), np.eye(len(fixed_NX))]
    value_K = np.array([variances[name] for name in (*terms, RESIDUAL)])
    inverse_NN, projected_NN = _inverses(fixed_NX, designs, value_K)
    covariance_XX = np.linalg.inv(fixed_NX.T @ inverse_NN @ fixed_NX)
    weights_N = inverse_NN @ fixed_NX @ covariance_XX[:, 0]  # of the differences in the estimate
    gradient_K = np.array([np.sum((z.T @ weights_N) ** 2) for z in designs])
    c = float(covariance_XX[0, 0])
    spread = gradient_K @ np.linalg.solve(_information(projected_NN, designs), gradient_K)
    return float(np.sqrt(c)), float(2 * c**2 / spread)


def _inverses(fixed_NX: Array, designs: Sequence[Array], value_K: Array) -> tuple[Array, Array]:
    """Returns the inverse V of the differences' covariance, and P = V - V X (X' V X)^-1 X' V."""
    root = np.concatenate([z * np.sqrt(value) for z, value in zip(designs, value_K, strict=True)], axis=1)
    inverse_NN = np.linalg.inv(root @ root.T)
    half_NX = inverse_NN @ fixed_NX
    return inverse_NN, inverse_NN - half_NX @ np.linalg.solve(fixed_NX.T @ half_NX, half_NX.T)


def _information(projected_NN: Array, designs: Sequence[Array]) -> Array:
    """Returns the expected REML information (K, K) about the variances."""
    return np.array([[np.sum((a.T @ projected_NN @ b) ** 2) / 2 for b in designs] for a in designs])


def _indicators(labels: Sequence[Hashable]) -> Array:
    levels = {label: q for q, label in enumerate(dict.fromkeys(labels))}
    return np.eye(len(levels))[[levels[label] for label in labels]]


def _sum_coded(labels: Sequence[Hashable]) -> Array:
    """A 1, then levels against the last one so that they sum to 0: the first effect is the levels' unweighted mean."""
    levels_NQ = _indicators(labels)
    return np.column_stack([np.ones(len(labels)), levels_NQ[:, :-1] - levels_NQ[:, -1:]])


def _same_partition(a_NQ: Array, b_NQ: Array) -> bool:
    return a_NQ.shape == b_NQ.shape and np.count_nonzero(a_NQ.T @ b_NQ) == a_NQ.shape[1]
