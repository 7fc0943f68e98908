"""Gatekeeping against a closed test over every intersection, statsmodels, Meinshausen 2008, and simulated nulls."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from unibench.stats.corrections import holm, resamples_for
from unibench.stats.gates import (
    CORRECTIONS,
    Adjusted,
    Hypothesis,
    family_size,
    flat_bh,
    flat_holm,
    gatekeeping,
    hardest,
)

NAN = float("nan")
Tests = dict[Hypothesis, float]


def tree(models: int, tasks: int, languages: int) -> list[Hypothesis]:
    out: list[Hypothesis] = []
    for m in range(models):
        out.append((f"m{m}", None, None))
        for t in range(tasks):
            out.append((f"m{m}", f"t{t}", None))
            out += [(f"m{m}", f"t{t}", f"l{i}") for i in range(languages)]
    return out


def above(name: Hypothesis) -> list[Hypothesis]:
    """The hypotheses that gate this one, the nearest first."""
    model, task, language = name
    gates: list[Hypothesis] = [] if language is None else [(model, task, None)]
    return gates if task is None else [*gates, (model, None, None)]


def shares(family: list[Hypothesis], rejected: set[Hypothesis]) -> dict[Hypothesis, Fraction]:
    """Each open test's share of alpha, by following the rules of the module from the top, given what is rejected."""

    def below(node: tuple[str, ...]) -> list[tuple[str, ...]]:
        paths = {tuple(part for part in name if part is not None) for name in family}
        prefixes = {path[:d] for path in paths for d in range(1, len(path) + 1)}
        return sorted(p for p in prefixes if len(p) == len(node) + 1 and p[: len(node)] == node)

    def name_of(node: tuple[str, ...]) -> Hypothesis:
        return (*node, None, None, None)[:3]  # type: ignore[return-value]

    def unfinished(node: tuple[str, ...]) -> bool:
        mine = bool(node) and name_of(node) in family and name_of(node) not in rejected
        return mine or any(unfinished(child) for child in below(node))

    out: dict[Hypothesis, Fraction] = {}

    def hand_out(node: tuple[str, ...], share: Fraction) -> None:
        if node and name_of(node) in family and name_of(node) not in rejected:
            out[name_of(node)] = share
            return
        heirs = [child for child in below(node) if unfinished(child)]
        for child in heirs:
            hand_out(child, share / len(heirs))

    hand_out((), Fraction(1))
    return out


def closed_test(tests: Tests) -> Tests:
    """A null is rejected when every intersection that holds it is (Marcus et al. 1976), here by weighted Bonferroni."""
    family = list(tests)
    adjusted = dict.fromkeys(family, 0.0)
    for size in range(1, len(family) + 1):
        for intersection in itertools.combinations(family, size):
            weights = shares(family, set(family) - set(intersection))
            assert sum(weights.values()) <= 1, "more than alpha was shared out"
            p = min([1.0, *(tests[name] / float(w) for name, w in weights.items())])
            for name in intersection:
                adjusted[name] = max(adjusted[name], p)
    return adjusted


SMALL: list[list[Hypothesis]] = [
    tree(1, 2, 2),
    tree(2, 1, 2),
    tree(3, 1, 1)[:8],
    [*tree(1, 1, 3), ("m1", None, None), ("m1", "t0", None)],
    [("m0", "t0", None), ("m0", "t1", None), ("m1", None, None), ("m1", "t0", "l0"), ("m1", "t0", "l1")],
]


@pytest.mark.parametrize("family", SMALL, ids=["one", "two", "three", "uneven", "gates missing"])
def test_gatekeeping_is_a_closed_test_and_so_controls_the_family_wise_error(family: list[Hypothesis]) -> None:
    rng = np.random.default_rng(0)
    for spread in (1, 2, 3, 4):
        tests = dict(zip(family, (float(x) for x in rng.random(len(family)) ** (2 * spread)), strict=True))
        expected = closed_test(tests)
        for name, found in gatekeeping(tests).items():
            assert found.p_adjusted == pytest.approx(expected[name]), (name, tests)


def test_more_rejections_lower_no_share() -> None:
    """What the closed test's shortcut and the sequential rejection principle rest on."""
    family = SMALL[3]
    rng = np.random.default_rng(1)
    for _ in range(200):
        some = {name for name in family if rng.random() < 0.5}
        more = some | {name for name in family if rng.random() < 0.5}
        before, after = shares(family, some), shares(family, more)
        assert all(after[name] >= share for name, share in before.items() if name not in more)


def test_models_alone_are_holm() -> None:
    rng = np.random.default_rng(2)
    for n in (1, 2, 7):
        p = rng.random(n) ** 3
        tests: Tests = {(f"m{i}", None, None): float(x) for i, x in enumerate(p)}
        expected = list(multipletests(p, method="holm")[1])
        assert [found.p_adjusted for found in gatekeeping(tests).values()] == pytest.approx(expected)
        # the cells of one model in one task, and nothing above them, are Holm as well
        cells: Tests = {("m", "t", f"l{i}"): float(x) for i, x in enumerate(p)}
        assert [found.p_adjusted for found in gatekeeping(cells).values()] == pytest.approx(expected)


def test_never_above_meinshausen_where_trees_are_even() -> None:
    """His p: that of a node by all leaves over its own, no smaller than its parent's."""
    rng = np.random.default_rng(3)
    models, tasks, languages = 3, 2, 4
    multiplier = {1: models, 2: models * tasks, 3: models * tasks * languages}
    smaller = 0
    for _ in range(50):
        p = {name: float(rng.random() ** 6) for name in tree(models, tasks, languages)}
        his = {name: min(1.0, max(p[g] * multiplier[3 - g.count(None)] for g in [name, *above(name)])) for name in p}
        ours = gatekeeping(p)
        assert all(ours[name].p_adjusted <= his[name] + 1e-12 for name in p)
        smaller += sum(ours[name].p_adjusted < his[name] - 1e-12 for name in p)
    assert smaller > 100


def test_by_hand() -> None:
    """Two models: a overall .01, its tasks .002 and .03, the first with languages .001 and .02; b overall .04."""
    tests: Tests = {
        ("a", None, None): 0.01,
        ("a", "t", None): 0.002,
        ("a", "t", "de"): 0.001,
        ("a", "t", "sw"): 0.02,
        ("a", "u", None): 0.03,
        ("b", None, None): 0.04,
    }
    found = gatekeeping(tests)
    # a: x 2 models = .02. t: x 2 tasks x 2 = .008, not below a's. de: .001 x 8 = .008, so .02 as well.
    # sw inherits de's half: .02 x 4 = .08; or b goes first: .04 x 2 = .08, then .02 x 2 = .04, so still .08
    # u: .03 x 4 = .12, but t used up at .08 leaves it all of a's half: .03 x 2 = .06, so .08
    # b: .04 x 2 = .08
    expected = [0.02, 0.02, 0.02, 0.08, 0.08, 0.08]
    assert [one.p_adjusted for one in found.values()] == pytest.approx(expected)
    assert [one.rejected for one in found.values()] == [True, True, True, False, False, False]
    assert not any(one.closed for one in found.values()), "every gate above what is not rejected was opened"


def test_a_closed_gate_is_marked_and_holds_whatever_lies_below() -> None:
    tests: Tests = {("m", None, None): 0.3, ("m", "t", None): 0.001, ("m", "t", "de"): 0.001, ("n", None, None): 0.2}
    found = gatekeeping(tests)
    assert found["m", "t", "de"] == Adjusted(p=0.001, p_adjusted=0.4, rejected=False, closed=True)
    assert found["m", "t", None].closed
    assert not found["m", None, None].closed
    assert gatekeeping(tests, alpha=0.5)["m", "t", "de"] == Adjusted(p=0.001, p_adjusted=0.4, rejected=True)


def test_no_test_is_nan_and_leaves_the_family_but_its_gate_open() -> None:
    tests: Tests = {("a", None, None): NAN, ("a", "t", None): 0.01, ("a", "u", None): 0.5, ("b", None, None): 0.04}
    for method in CORRECTIONS.values():
        found = method(tests, 0.05)
        assert list(found) == list(tests)
        assert math.isnan(found["a", None, None].p_adjusted)
        assert not found["a", None, None].rejected
        without = {name: p for name, p in tests.items() if not math.isnan(p)}
        assert {name: found[name] for name in without} == method(without, 0.05)
    # a's tasks have a quarter each of alpha, as though its overall test had passed its half on
    assert gatekeeping(tests)["a", "t", None] == Adjusted(p=0.01, p_adjusted=0.04, rejected=True)
    assert gatekeeping({}) == {}
    assert math.isnan(gatekeeping({("a", None, None): NAN})["a", None, None].p_adjusted)


def test_an_only_language_costs_nothing_and_order_means_nothing() -> None:
    once: Tests = {("a", None, None): 0.01, ("a", "t", None): 0.02, ("b", None, None): 0.03, ("b", "t", None): 0.04}
    twice: Tests = {**once, ("a", "t", "de"): 0.02, ("b", "t", "de"): 0.04}
    found = gatekeeping(twice)
    assert {name: found[name] for name in once} == gatekeeping(once)
    assert found["a", "t", "de"].p_adjusted == found["a", "t", None].p_adjusted
    assert gatekeeping(dict(reversed(twice.items()))) == found


def test_languages_over_all_tasks_are_a_branch_of_the_overall_test() -> None:
    found = gatekeeping({("a", None, None): 0.01, ("a", None, "de"): 0.01, ("a", "t", None): 0.5})
    assert found["a", None, "de"].p_adjusted == pytest.approx(0.02)


@pytest.mark.parametrize(("ours", "method"), [(flat_holm, "holm"), (flat_bh, "fdr_bh")])
def test_flat_corrections_equal_statsmodels(ours: Callable[..., dict[Hypothesis, Adjusted]], method: str) -> None:
    p = np.random.default_rng(4).random(31) ** 3
    rejected, expected = multipletests(p, alpha=0.1, method=method)[:2]
    found = ours(dict(zip(tree(1, 3, 9), map(float, p), strict=True)), 0.1).values()
    assert [one.p_adjusted for one in found] == pytest.approx(list(expected))
    assert [one.rejected for one in found] == list(rejected)
    assert not any(one.closed for one in found)


@pytest.mark.parametrize("p", [-0.1, 1.5, math.inf])
def test_what_is_no_probability_is_refused(p: float) -> None:
    for method in CORRECTIONS.values():
        with pytest.raises(ValueError, match="expected a number from 0 to 1"):
            method({("a", None, None): p}, 0.05)


@pytest.mark.parametrize("family", SMALL, ids=["one", "two", "three", "uneven", "gates missing"])
def test_the_hardest_step_of_a_test_is_one_over_its_share_with_nothing_but_its_gates_rejected(
    family: list[Hypothesis],
) -> None:
    steps = hardest("gatekeeping", family)
    assert list(steps) == family
    for name in family:
        assert Fraction(1, steps[name]) == shares(family, set(above(name)))[name]
        # so, where nothing else has a small p, that is what its own is multiplied by
        tests: Tests = {other: 0.0 if other in above(name) else 1.0 for other in family} | {name: 0.001}
        assert gatekeeping(tests)[name].p_adjusted == pytest.approx(0.001 * steps[name])
    assert family_size("gatekeeping", family) == max(len(family), *steps.values())
    rng = np.random.default_rng(7)
    for _ in range(30):  # and no p is ever multiplied by more, but for what its gates hold it back
        tests = {name: float(rng.random() ** 6) for name in family}
        for name, found in gatekeeping(tests).items():
            most = max(tests[g] * steps[g] for g in [name, *above(name)] if g in tests)
            assert found.p_adjusted <= min(1.0, most) + 1e-12


def test_flat_corrections_have_one_hardest_step_the_number_of_tests() -> None:
    family = tree(2, 3, 4)
    for correction in ("holm", "bh"):
        assert hardest(correction, family) == dict.fromkeys(family, len(family))
        assert family_size(correction, family) == len(family)
    assert hardest("gatekeeping", []) == hardest("holm", []) == {}


def test_resamples_follow_the_smallest_share() -> None:
    even = tree(2, 3, 4)
    assert family_size("gatekeeping", even) == family_size("holm", even) == len(even) == 32
    uneven: list[Hypothesis] = [*tree(1, 10, 15), *((f"n{i}", None, None) for i in range(19))]
    assert family_size("holm", uneven) == len(uneven) == 180
    assert family_size("gatekeeping", uneven) == 20 * 10 * 15
    assert family_size("gatekeeping", []) == 0
    # the smallest p that the resamples allow is small enough to be significant in the least language
    least = 1 / (resamples_for(3000) + 1)
    tests: Tests = dict.fromkeys(uneven, 1.0) | {("m0", None, None): least, ("m0", "t0", None): least}
    assert gatekeeping({**tests, ("m0", "t0", "l0"): least})["m0", "t0", "l0"].p_adjusted < 0.05
    assert gatekeeping({**tests, ("m0", "t0", "l0"): 1 / 10_001})["m0", "t0", "l0"].p_adjusted > 0.05


# --- simulated: models share a baseline, languages share their items, a model's cells share its training

MODELS, TASKS, LANGUAGES, RUNS = 4, 3, 4, 1500


def simulated(effect_MTL: np.ndarray, rng: np.random.Generator, *, dependent: bool) -> Tests:
    """Exact two-sided p of each mean of normal differences of known covariance; effects in a cell's standard errors."""
    noise = rng.normal(size=effect_MTL.shape)
    variance = dict.fromkeys(("cell", "task", "overall"), 1.0)
    if dependent:
        baseline, items = rng.normal(size=(1, TASKS, LANGUAGES)), rng.normal(size=(MODELS, TASKS, 1))
        trained = rng.normal(size=(MODELS, 1, 1))
        noise = math.sqrt(0.2) * noise + math.sqrt(0.3) * baseline + math.sqrt(0.3) * items + math.sqrt(0.2) * trained
        own = 0.5 / LANGUAGES + 0.3
        variance = {"cell": 1.0, "task": own + 0.2, "overall": own / TASKS + 0.2}
    else:
        variance = {"cell": 1.0, "task": 1 / LANGUAGES, "overall": 1 / (LANGUAGES * TASKS)}
    at = effect_MTL + noise

    def p(value: float, level: str) -> float:
        return math.erfc(abs(value) / math.sqrt(2 * variance[level]))

    out: Tests = {}
    for m in range(MODELS):
        out[f"m{m}", None, None] = p(at[m].mean(), "overall")
        for t in range(TASKS):
            out[f"m{m}", f"t{t}", None] = p(at[m, t].mean(), "task")
            out.update({(f"m{m}", f"t{t}", f"l{i}"): p(at[m, t, i], "cell") for i in range(LANGUAGES)})
    return out


def truths(effect_MTL: np.ndarray) -> set[Hypothesis]:
    """The true nulls: means that are 0."""
    out: set[Hypothesis] = set()
    for m in range(MODELS):
        if abs(effect_MTL[m].mean()) < 1e-12:
            out.add((f"m{m}", None, None))
        for t in range(TASKS):
            if abs(effect_MTL[m, t].mean()) < 1e-12:
                out.add((f"m{m}", f"t{t}", None))
            out |= {(f"m{m}", f"t{t}", f"l{i}") for i in range(LANGUAGES) if effect_MTL[m, t, i] == 0}
    return out


def effects(kind: str) -> np.ndarray:
    out = np.zeros((MODELS, TASKS, LANGUAGES))
    if kind == "two models, one task":
        out[:2, 0] = 6
    elif kind == "one language":
        out[0, 0, 0] = 15
    elif kind == "they cancel":  # the overall null is true, what lies below is not
        out[:, 0], out[:, 1] = 4, -4
    elif kind == "all but a task each":
        out[:, 1:] = 6
    elif kind == "one model":
        out[0, 0] = 20
    return out


def false_rejection_rate(kind: str, rejects: Callable[[Tests], set[Hypothesis]], *, dependent: bool) -> float:
    effect, rng = effects(kind), np.random.default_rng(11)
    true = truths(effect)
    return sum(bool(rejects(simulated(effect, rng, dependent=dependent)) & true) for _ in range(RUNS)) / RUNS


def by_gates(tests: Tests) -> set[Hypothesis]:
    return {name for name, found in gatekeeping(tests).items() if found.rejected}


def by_levels(tests: Tests) -> set[Hypothesis]:
    """What looks right and isn't: Holm over each whole level, opened by the parent."""
    out: set[Hypothesis] = set()
    for depth in (1, 2, 3):
        level = [name for name in tests if 3 - name.count(None) == depth and set(above(name)) <= out]
        adjusted = holm([tests[name] for name in level])
        out |= {name for name, p in zip(level, adjusted, strict=True) if p <= 0.05}
    return out


@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize(
    "kind", ["nothing", "two models, one task", "one language", "they cancel", "all but a task each", "one model"]
)
def test_any_false_rejection_has_a_chance_of_alpha_at_most(kind: str, dependent: bool) -> None:
    found = false_rejection_rate(kind, by_gates, dependent=dependent)
    low, high = scipy_stats.binom.ppf([0.0005, 0.9995], RUNS, 0.05) / RUNS
    assert found <= high
    assert kind != "nothing" or dependent or found >= low, "independent tests of true nulls should use alpha up"


def test_holm_by_levels_would_reject_too_often() -> None:
    """The reason for one alpha shared out, and the proof that the simulation above can fail."""
    assert false_rejection_rate("one model", by_levels, dependent=False) > 0.08


@pytest.mark.parametrize("dependent", [False, True])
def test_a_planted_gap_is_found_more_often_than_by_flat_holm(dependent: bool) -> None:
    """One model is a little better everywhere: the question of a leaderboard."""
    effect = np.zeros((MODELS, TASKS, LANGUAGES))
    effect[0] = 1.8 if dependent else 0.9
    rng, runs = np.random.default_rng(5), 400
    found: Mapping[str, list[int]] = {"gates": [0, 0], "flat": [0, 0]}
    for _ in range(runs):
        tests = simulated(effect, rng, dependent=dependent)
        for name, adjusted in (("gates", gatekeeping(tests)), ("flat", flat_holm(tests))):
            found[name][0] += adjusted["m0", None, None].rejected
            found[name][1] += sum(adjusted["m0", f"t{t}", None].rejected for t in range(TASKS))
    assert found["gates"][0] >= found["flat"][0] + 0.1 * runs, found
    assert found["gates"][1] > found["flat"][1], found


def test_what_cancels_in_the_mean_is_not_found_which_is_the_price() -> None:
    tests = simulated(effects("they cancel"), np.random.default_rng(6), dependent=False)
    assert flat_holm(tests)["m0", "t0", None].rejected
    assert not gatekeeping(tests)["m0", "t0", None].rejected
