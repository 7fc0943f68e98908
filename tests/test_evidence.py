"""What a study says beyond pairs: scipy and hand-made sums on the scores of toy records, and what must be withheld."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from toy_records import record

from unibench import evidence, metrics, pairing, remembered
from unibench.cells import cells
from unibench.compare import Compared, compared
from unibench.evidence import Evidence
from unibench.evidence_tables import tables
from unibench.facts import BASELINES, VARIANTS
from unibench.recipe_evidence import spread_of
from unibench.stats import corrections
from unibench.store import RunRecord

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw")
TASKS = (("xnli", ("de", "en", "ro")), ("wikiann", ("en", "ro")), ("sts17", ("en-tr",)))


def runs_of(model: str, quality: float = 0.6, seeds=(0, 1), tasks=TASKS, **said) -> list[RunRecord]:
    more = {"provenance": {"extra": said}} if said else {}
    return [
        record(model, task, language, seed, quality, **more)
        for task, languages in tasks
        for language in languages
        for seed in seeds
    ]


def recipe(name: str, qualities, size: str = "small", **more) -> list[RunRecord]:
    return [
        one
        for seed, quality in enumerate(qualities)
        for one in runs_of(f"{name}-s{seed}", quality, recipe=f"{name} hash", pretraining_seed=seed, size=size, **more)
    ]


def renamed(original: RunRecord, name: str) -> RunRecord:
    """The same predictions under another name."""
    return replace(original, job=replace(original.job, model=name))


def study_of(records, baseline: str | None = "base", resamples: int = 400) -> Compared:
    return compared(cells(records), baseline=baseline, signature="toy", resamples=resamples)


def of(records, baseline: str | None = "base", **more) -> Evidence:
    made = study_of(records, baseline)
    return evidence.evidence(
        made.study, made.draws, made.comparisons.rows, evidence.facts(records), alpha=0.05, signature="toy",
        trained_in=evidence.trained_in(records), **more,
    )  # fmt: skip


def score(records, model: str, key: tuple[str, str], seeds=(0, 1)) -> float:
    found = [r for r in records if (r.job.model, r.job.task, r.language) == (model, *key) and r.job.seed in seeds]
    assert len(found) == len(seeds)
    return float(np.mean([metrics.score(r.metric, metrics.columns(r.metric, r.unit_names, r.units)) for r in found]))


def test_ranks_and_letters_of_models_far_apart_and_of_twins() -> None:
    twin = [renamed(r, "twin") for r in runs_of("base", 0.5)]
    found = of([*runs_of("base", 0.5), *twin, *runs_of("good", 0.9)]).standings
    assert list(found) == [None, "sts17", "wikiann", "xnli"]
    for standings in found.values():
        assert [(s.model, s.rank, s.letters) for s in standings] == [
            ("good", 1, "a"), ("base", 2.5, "b"), ("twin", 2.5, "b"),
        ]  # fmt: skip


def test_a_model_without_all_cells_or_with_other_seeds_has_no_rank_and_is_told_why() -> None:
    part = runs_of("part", tasks=TASKS[:2])
    found = of([*runs_of("base"), *runs_of("other"), *part, *runs_of("fewer", seeds=(1,))]).standings
    reasons = {s.model: s.reason for s in found[None] if s.reason}
    assert reasons == {
        "part": "it has 5 of 6 cells",
        "fewer": "its seeds are 1, those of the models ranked 0 1",
    }
    assert all(np.isnan(s.rank) and not s.letters for s in found[None] if s.reason)
    assert {s.model for s in found["xnli"] if not s.reason} == {"base", "other", "part"}
    assert {s.model for s in found["sts17"]} == {"base", "other", "fewer"}


def test_two_models_without_a_cell_in_common_are_not_ranked() -> None:
    found = of([*runs_of("base", tasks=TASKS[:1]), *runs_of("other", tasks=TASKS[1:])]).standings
    assert found == {}
    found = of([*runs_of("base"), *runs_of("other", tasks=TASKS[1:])]).standings
    assert {s.model: s.reason for s in found[None]} == {
        "base": "no other model has all its cells, on its seeds", "other": "it has 3 of 6 cells",
    }  # fmt: skip


def test_ranks_do_not_ask_who_the_baseline_is() -> None:
    records = [*runs_of("base", 0.5), *runs_of("good", 0.8)]
    ranked = {name: of(records, name).standings[None] for name in ("base", "good", None)}
    assert ranked["base"] == ranked["good"] == ranked[None]


def test_friedman_is_scipys_over_the_cells_and_seeds_that_models_share() -> None:
    records = [*runs_of("base"), *runs_of("a", 0.65, seeds=(0, 1, 2)), *runs_of("b", 0.62, tasks=TASKS[:2])]
    found = of([*records, *runs_of("hardly", tasks=(("sts17", ("en-tr",)),))]).friedman
    shared = [(task, language) for task, languages in TASKS[:2] for language in languages]
    columns = [[score(records, model, key) for key in shared] for model in ("a", "b", "base")]
    expected = scipy_stats.friedmanchisquare(*columns)
    assert found is not None
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.blocks == 5
    assert set(found.names) == {"a", "b", "base"}
    assert "hardly" in found.note
    two = of([*runs_of("base"), *runs_of("a")]).friedman
    assert two is not None
    assert two.reason
    assert np.isnan(two.p)


def test_tests_over_cells_and_over_task_means_are_scipys() -> None:
    records = [*runs_of("base"), *runs_of("a", 0.66)]
    (found,) = of(records).across
    delta = {
        (task, language): score(records, "a", (task, language)) - score(records, "base", (task, language))
        for task, languages in TASKS
        for language in languages
    }
    tasks = [np.mean([d for (t, _), d in delta.items() if t == task]) for task, _ in TASKS]
    for deltas, ranked, t in ((list(delta.values()), found.cells, found.cells_t), (tasks, found.tasks, found.tasks_t)):
        assert ranked.p == pytest.approx(scipy_stats.wilcoxon(deltas, method="exact").pvalue)
        assert t.p == pytest.approx(scipy_stats.ttest_1samp(deltas, 0).pvalue)
    assert found.note == "3 differing tasks cannot be significant: the smallest two-sided Wilcoxon p is 0.25"


def test_a_planted_gap_between_recipes_is_found_and_luck_alone_is_not() -> None:
    records = [
        *recipe("base", (0.60, 0.61, 0.62, 0.59, 0.60)), *recipe("same", (0.61, 0.59, 0.60, 0.62, 0.60)),
        *recipe("good", (0.80, 0.81, 0.79, 0.82, 0.80), "base"),
    ]  # fmt: skip
    found = of(records, "base-s0")
    assert [r.name for r in found.recipes] == ["small #base (5 runs)", "base (5 runs)", "small #same (5 runs)"]
    tests = {(t.recipe.split(" (")[0], t.task): t for t in found.recipe_tests}
    assert {task for _, task in tests} == {None, "sts17", "wikiann", "xnli"}
    good, same = tests["base", None], tests["small #same", None]
    assert good.claim.p == pytest.approx(2 / 252) == good.claim.smallest_p
    assert good.claim.low > 0.1
    assert same.claim.p > 0.05
    assert same.claim.low < 0 < same.claim.high
    assert (good.cells, good.cells_wanted) == (6, 6)
    mean = {
        name: np.mean([
            np.mean([np.mean([score(records, f"{name}-s{i}", (task, la)) for la in las]) for task, las in TASKS])
            for i in range(5)
        ])
        for name in ("base", "good")
    }  # fmt: skip
    assert good.claim.delta == pytest.approx(mean["good"] - mean["base"])
    adjusted = corrections.holm([t.claim.p for t in found.recipe_tests])
    assert [t.p_adjusted for t in found.recipe_tests] == pytest.approx(adjusted)


def test_another_recipe_moves_no_raw_p_and_the_correction_is_the_one_asked_for() -> None:
    records = [*recipe("base", (0.60, 0.61, 0.62, 0.59, 0.60)), *recipe("next", (0.62, 0.59, 0.63, 0.62, 0.60), "m")]
    third = recipe("third", (0.5, 0.7, 0.6, 0.6, 0.6), "l")
    alone, beside = of(records, "base-s0"), of([*records, *third], "base-s0", correction="bh")
    assert [t.claim for t in alone.recipe_tests] == [t.claim for t in beside.recipe_tests if t.recipe == "m (5 runs)"]
    adjusted = corrections.benjamini_hochberg([t.claim.p for t in beside.recipe_tests])
    assert [t.p_adjusted for t in beside.recipe_tests] == pytest.approx(adjusted)


@pytest.mark.parametrize(
    ("ours", "theirs", "one"),
    [("ttttt", "", True), ("", "ttttt", True), ("ttttu", "", False), ("tuvwx", "", False), ("", "", False)],
)
def test_one_teacher_is_said_of_a_side_whose_runs_all_learned_from_it(ours: str, theirs: str, one: bool) -> None:
    def side(name: str, size: str, teachers: str) -> list[RunRecord]:
        return [
            made
            for seed, quality in enumerate((0.60, 0.61, 0.62, 0.59, 0.60))
            for made in runs_of(f"{name}-s{seed}", quality, recipe=name, pretraining_seed=seed, size=size,
                                **({"teacher_sha256": teachers[seed]} if teachers else {}))
        ]  # fmt: skip

    found = of([*side("base", "small", theirs), *side("good", "base", ours)], "base-s0")
    assert len(found.recipe_tests) == 4
    assert {test.one_teacher for test in found.recipe_tests} == {one}
    notes = " ".join(note for table in tables(found, "toy") for note in table.footnotes)
    assert ("what is claimed holds given this teacher" in notes) == one


def test_few_runs_are_shown_but_claim_nothing_and_a_copy_is_no_run() -> None:
    records = [*recipe("base", (0.60, 0.61, 0.62, 0.59, 0.60)), *recipe("good", (0.8, 0.8, 0.8, 0.8), "base")]
    copy = [renamed(r, "copy") for r in records if r.job.model == "good-s0"]
    found = of([*records, *copy, *runs_of("hub")], "base-s0")
    good = next(r for r in found.recipes if not r.of_baseline)
    assert [(run.seed, run.model, run.copies) for run in good.runs][1:] == [(i, f"good-s{i}", ()) for i in (1, 2, 3)]
    assert {good.runs[0].model, *good.runs[0].copies} == {"copy", "good-s0"}
    assert all("4 runs against 5" in t.claim.withheld and np.isnan(t.claim.p) for t in found.recipe_tests)
    assert all(t.claim.delta > 0.05 for t in found.recipe_tests)
    assert found.unknown == ("hub",)


def test_a_run_without_a_cell_takes_it_from_the_claim_and_one_without_any_from_all() -> None:
    records = recipe("base", (0.60, 0.61, 0.62, 0.59, 0.60))
    other = recipe("next", (0.62, 0.59, 0.63, 0.62, 0.60), "m")
    lost = [r for r in other if (r.job.model, r.language) != ("next-s2", "ro")]
    tests = {t.task: t for t in of([*records, *lost], "base-s0").recipe_tests}
    assert {task: (t.cells, t.cells_wanted) for task, t in tests.items()} == {
        None: (4, 6), "sts17": (1, 1), "wikiann": (1, 2), "xnli": (2, 3),
    }  # fmt: skip
    gone = [r for r in other if r.job.model != "next-s2" or r.job.task == "sts17"]
    tests = {t.task: t for t in of([*records, *gone], "base-s0").recipe_tests}
    assert tests["xnli"].claim.withheld == "no cell in which all runs of both have a score"
    assert not tests["sts17"].claim.withheld
    apart = [r for r in other if r.job.model != "next-s2" or r.job.seed == (r.language == "ro")]
    (overall,) = [t for t in of([*records, *apart], "base-s0").recipe_tests if t.task is None]
    assert overall.claim.withheld == "next-s2: no seed in all cells"


def test_the_spread_of_one_recipe_and_how_often_its_runs_are_told_apart() -> None:
    records = recipe("base", (0.60, 0.66, 0.62, 0.58, 0.60))
    found = of(records, "base-s1")
    (own,) = found.recipes
    values = {i: np.mean([score(records, f"base-s{i}", ("xnli", la)) for la in ("de", "en", "ro")]) for i in range(5)}
    spread = own.spread["xnli"]
    assert {run.seed: run.scores["xnli"] for run in own.runs} == pytest.approx(values)
    assert (spread.low, spread.high) == pytest.approx((min(values.values()), max(values.values())))
    assert spread.sd == pytest.approx(np.std(list(values.values()), ddof=1))
    rows = study_of(records, "base-s1").comparisons.rows
    assert found.siblings is not None
    assert found.siblings.models == 4
    assert found.siblings.cells == 4 * 6
    assert found.siblings.cells_differ == sum(row.language is not None and row.p <= 0.05 for row in rows)
    assert found.recipe_tests == ()


def test_luck_is_exceeded_by_two_further_runs_once_in_twenty() -> None:
    rng = np.random.default_rng(1)
    drawn = rng.normal(0.5, 0.02, size=(4000, 7))
    beyond = [abs(row[5] - row[6]) > spread_of(row[:5]).luck for row in drawn]
    assert np.mean(beyond) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 4000))


def test_groups_permute_clusters_by_hand() -> None:
    variant = {"objectives": "mlm+distill", "teacher_sha256": "t"}
    records = [*runs_of("base", 0.5), *runs_of("v0", 0.9, **variant), *runs_of("v1", 0.88, **variant)]
    records += runs_of("v2", 0.80, objectives="mlm+adversary")
    records += [*runs_of("b0", 0.6), *runs_of("b1", 0.62), *runs_of("b2", 0.55), *runs_of("scratch", 0.4)]
    records += runs_of("hardly", tasks=(("sts17", ("en-tr",)),))
    ri, delta = of(records).groups
    assert (ri.improved, delta.improved) == (True, False)
    assert delta.members == {
        "b0": BASELINES, "b1": BASELINES, "b2": BASELINES, "v0": VARIANTS, "v1": VARIANTS, "v2": VARIANTS
    }  # fmt: skip
    assert delta.left_out == ("hardly",)

    def mean(model: str) -> float:
        gaps = [[score(records, model, (t, la)) - score(records, "base", (t, la)) for la in las] for t, las in TASKS]
        return float(np.mean([np.mean(of_task) for of_task in gaps]))

    values = [(mean("v0") + mean("v1")) / 2, mean("v2"), mean("b0"), mean("b1"), mean("b2")]
    assert delta.claim.delta == pytest.approx(np.mean(values[:2]) - np.mean(values[2:]))
    gaps = [np.mean([values[i] for i in a]) - np.mean([values[i] for i in {*range(5)} - {*a}])
            for a in combinations(range(5), 2)]  # fmt: skip
    assert delta.claim.p == pytest.approx(2 * np.mean([gap >= delta.claim.delta - 1e-12 for gap in gaps]))
    assert delta.claim.clusters == (2, 3)
    assert delta.claim.smallest_p == pytest.approx(2 / 10)
    assert delta.cells == 6
    near_chance = study_of(records).comparisons.ineligible
    assert 0 < len(near_chance) < 6
    fair = [[(t, la) for la in las if (t, la) not in near_chance] for t, las in TASKS]
    assert ri.cells == sum(map(len, fair))
    better = [[score(records, "v2", k) / score(records, "base", k) - 1 for k in keys] for keys in fair if keys]
    others = [np.mean([score(records, m, k) / score(records, "base", k) - 1 for m in ("v0", "v1") for k in keys])
              for keys in fair if keys]  # fmt: skip
    assert ri.claim.mean_a == pytest.approx((np.mean([np.mean(of_task) for of_task in better]) + np.mean(others)) / 2)


def test_runs_of_one_recipe_have_one_vote() -> None:
    records = [*runs_of("base"), *recipe("v", (0.7, 0.72, 0.71), objectives="mlm+adversary"), *runs_of("b", 0.6)]
    _, delta = of(records).groups
    assert delta.claim.models == (3, 1)
    assert delta.claim.clusters == (1, 1)
    assert delta.claim.withheld
    assert of([*runs_of("base"), *runs_of("b", 0.6)]).groups == ()


def test_other_languages_take_ten_of_them_and_say_so() -> None:
    tasks = (("xnli", LANGUAGES), ("wikiann", ("en", "ro")))
    records = [*runs_of("base", tasks=tasks), *runs_of("good", 0.7, tasks=tasks)]
    found = {one.task: one.claim for one in of(records).languages}
    deltas = [score(records, "good", ("xnli", la)) - score(records, "base", ("xnli", la)) for la in LANGUAGES]
    assert found["xnli"].delta == pytest.approx(np.mean(deltas))
    plain = scipy_stats.ttest_1samp(deltas, 0).confidence_interval()
    width = found["xnli"].high - found["xnli"].low
    assert 0.9 < width / (plain.high - plain.low) < 1.5  # what translations share of the examples comes on top
    assert "2 languages" in found["wikiann"].withheld
    assert np.isnan(found["wikiann"].low)
    twin = [renamed(r, "twin") for r in records if r.job.model == "base"]
    same = next(o.claim for o in of([*records, *twin]).languages if (o.model, o.task) == ("twin", "xnli"))
    assert (same.delta, same.withheld) == (0, "all languages differ alike, so none says how others do")
    assert np.isnan(same.low)


def test_the_mixed_model_hears_in_what_cells_were_trained() -> None:
    records = [*runs_of("base", seeds=(0, 1, 2)), *runs_of("good", 0.7, seeds=(0, 1, 2))]
    made = study_of(records)

    def run(trained_in):
        found = evidence.evidence(
            made.study, made.draws, made.comparisons.rows, {}, alpha=0.05, signature="toy", trained_in=trained_in
        )
        assert found.mixed is not None
        return found.mixed.effects["good"]

    alike = run(dict.fromkeys(made.study.cells, "en"))
    assert alike == run(None)
    assert run({key: key[1] for key in made.study.cells}) != alike  # a fine-tuning in each language
    assert alike.n == 18
    assert alike.estimate > 0


def test_what_cannot_be_said_is_empty_for_one_model_no_baseline_and_no_facts() -> None:
    alone = of(runs_of("base"))
    assert (alone.standings, alone.friedman, alone.across, alone.groups, alone.languages) == ({}, None, (), (), ())
    assert (alone.mixed, alone.siblings, alone.recipes, alone.unknown) == (None, None, (), ("base",))
    without = of([*runs_of("a"), *runs_of("b", 0.7)], None)
    assert (without.across, without.mixed, without.recipe_tests, without.groups) == ((), None, (), ())
    absent = of([*runs_of("a"), *runs_of("b", 0.7)], "gone")
    assert (absent.across, absent.mixed, len(absent.standings[None])) == ((), None, 2)
    assert pairing.plan((), None).cells == {}


def test_it_is_kept_as_plain_json_and_comes_back_the_same(tmp_path: Path) -> None:
    records = [*recipe("base", (0.60, 0.61, 0.62)), *recipe("good", (0.8, 0.7, 0.7), "base", objectives="distill")]
    found = of([*records, *runs_of("hub", tasks=TASKS[1:])], "base-s0")
    remembered.keep(tmp_path, "key", found)
    back = remembered.recall(tmp_path, "key", Evidence)
    assert repr(back) == repr(found)
    assert json.loads(next(tmp_path.glob("*.json")).read_text())
    assert asdict(found)["baseline"] == "base-s0"


def test_the_same_records_say_the_same_in_any_order() -> None:
    records = [*recipe("base", (0.60, 0.61, 0.62, 0.59, 0.6)), *recipe("good", (0.7, 0.7, 0.71, 0.7, 0.72), "base")]
    assert repr(of(records, "base-s0")) == repr(of(records[::-1], "base-s0"))
