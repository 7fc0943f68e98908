"""What is to be done, and what of it is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from safetensors.torch import load_file, save_file
from toy_jobs import around, forget, planned_for, run

from unibench import adapters, models, store, stored, sweep
from unibench.cards import Source, TaskCard, load_card
from unibench.errors import StaleRecord, UserError
from unibench.jobs import Planned, Surroundings
from unibench.models import Encoder
from unibench.store import EVERYTHING
from unibench.sweep import plan

FIRST = Encoder(name="first", kind="trained", folder=Path("nowhere"))
OTHER = Encoder(name="o/ther", kind="catalogue", hub="o/ther")
GONE = Encoder(name="gone", kind="catalogue", hub="o/gone", reason="o/gone is not in the cache")


@pytest.fixture
def nli(toys: Path) -> TaskCard:
    return load_card(toys / "tasks" / "toy_nli.toml")


@pytest.fixture
def sts(toys: Path) -> TaskCard:
    return load_card(toys / "tasks" / "toy_sts.toml")


def having(**absent: Sequence[str]) -> Callable[..., str | None]:
    """Availability where the named parts of the named languages are absent."""
    return lambda card, part, code: f"no {part} for {code}" if code in absent.get(part, ()) else None


def outline(planned: Sequence[Planned]) -> list[tuple[Any, ...]]:
    return [(p.job.model, p.job.task, p.job.train_languages, p.job.seed, p.languages) for p in planned]


def test_zero_shot_trains_once_for_all_languages(nli: TaskCard, sts: TaskCard) -> None:
    planned = plan([FIRST, OTHER], [nli, sts], availability=having(), seeds=2, train_limit=9, eval_limit=5)
    everywhere = ("en", "ru", "zh")
    assert outline(planned) == [
        ("first", "toy_nli", ("en",), 0, everywhere),
        ("first", "toy_nli", ("en",), 1, everywhere),
        ("o/ther", "toy_nli", ("en",), 0, everywhere),
        ("o/ther", "toy_nli", ("en",), 1, everywhere),
        ("first", "toy_sts", (), 0, ("en-ru", "en-en")),
        ("o/ther", "toy_sts", (), 0, ("en-ru", "en-en")),
    ]
    trained, untrained = planned[0].job, planned[-1].job
    assert (trained.protocol, trained.recipe) == ("zero-shot", adapters.RECIPES["nli"])
    assert (trained.train_limit, trained.eval_limit) == (9, 5)
    assert (untrained.protocol, untrained.recipe) == ("none", None)
    assert (untrained.train_limit, untrained.eval_limit) == (None, 5)
    assert planned == plan([FIRST, OTHER], [nli, sts], availability=having(), seeds=2, train_limit=9, eval_limit=5)


def test_zero_shot_trains_on_the_cards_language_or_the_one_asked_for(nli: TaskCard) -> None:
    russian = replace(nli, train_language="ru")
    assert plan([FIRST], [russian], availability=having(train="en"))[0].job.train_languages == ("ru",)
    found = plan([FIRST], [russian], availability=having(), train_languages=["en", "zh"])
    assert found[0].job.train_languages == ("en", "zh")


def test_monolingual_trains_and_measures_each_language_alone(nli: TaskCard) -> None:
    planned = plan([FIRST], [nli], availability=having(dev=["zh"]), protocol="monolingual", seeds=2)
    assert outline(planned) == [
        ("first", "toy_nli", (code,), seed, (code,)) for code in ("en", "ru") for seed in (0, 1)
    ]  # fmt: skip
    assert [p.missing for p in planned] == [{"zh": "no dev for zh"}, {}, {}, {}]


def test_multilingual_trains_on_what_there_is_and_measures_everywhere(nli: TaskCard) -> None:
    planned = plan([FIRST], [nli], availability=having(train=["zh"]), protocol="multilingual", seeds=1)
    assert outline(planned) == [("first", "toy_nli", ("en", "ru"), 0, ("en", "ru", "zh"))]
    assert planned[0].missing == {}


def test_a_protocol_moves_no_task_that_trains_nothing(sts: TaskCard) -> None:
    for protocol in sweep.PROTOCOLS:
        [item] = plan([FIRST], [sts], availability=having(train=["en"]), protocol=protocol)
        assert (item.job.protocol, item.job.train_languages) == ("none", ())


def test_languages_narrow_a_task(nli: TaskCard, sts: TaskCard) -> None:
    planned = plan([FIRST], [nli], availability=having(), languages=["zh", "en", "sw"], seeds=1)
    assert planned[0].languages == ("en", "zh")
    assert planned[0].job.train_languages == ("en",)
    with pytest.raises(UserError, match="task 'toy_sts' has none of the languages zh"):
        plan([FIRST], [nli, sts], availability=having(), languages=["zh"])
    planned = plan([FIRST], [nli, sts], availability=having(), languages=["zh"], named_tasks=False, seeds=1)
    assert [p.job.task for p in planned] == ["toy_nli"]


def test_a_language_out_of_reach_is_said_once_a_model(nli: TaskCard) -> None:
    planned = plan([FIRST, OTHER], [nli], availability=having(eval=["ru"]), seeds=2)
    assert {p.languages for p in planned} == {("en", "zh")}
    assert [p.missing for p in planned] == [{"ru": "no eval for ru"}, {}] * 2


@pytest.mark.parametrize("absent", [{"train": ["en"]}, {"dev": ["en"]}, {"eval": ["en", "ru", "zh"]}])
def test_an_impossible_task_stops_when_named_and_is_a_line_under_all(nli: TaskCard, absent: dict[str, Any]) -> None:
    [part] = absent
    with pytest.raises(UserError, match=f"task 'toy_nli' cannot be run with --protocol zero-shot: no {part} for en"):
        plan([FIRST], [nli], availability=having(**absent))
    planned = plan([FIRST, OTHER], [nli], availability=having(**absent), named_tasks=False, seeds=2)
    assert [p.languages for p in planned] == [()] * 4
    assert [p.missing for p in planned] == [{EVERYTHING: f"no {part} for en"}, {}] * 2


def test_zero_shot_from_two_languages_of_which_one_is_missing_is_another_experiment(nli: TaskCard) -> None:
    with pytest.raises(UserError, match="no train for zh"):
        plan([FIRST], [nli], availability=having(train=["zh"]), train_languages=("en", "zh"))


def test_an_encoder_out_of_reach_is_one_line_a_task(nli: TaskCard, sts: TaskCard) -> None:
    planned = plan([GONE, FIRST], [nli, sts], availability=having(eval=["ru"]), seeds=3)
    gone = [p for p in planned if p.job.model == "gone"]
    assert [(p.job.task, p.languages, p.missing) for p in gone] == [
        (task, (), {EVERYTHING: GONE.reason}) for task in ("toy_nli", "toy_sts")
    ]
    assert len(planned) == 2 + 3 + 1


def confused(planned: Sequence[Planned]) -> list[tuple[Any, ...]]:
    return [(p.job.train_languages, p.job.adversarial, p.languages, dict(p.without_text)) for p in planned]


def test_an_adversary_reads_the_training_languages_and_the_text_of_the_others(nli: TaskCard) -> None:
    everywhere = ("en", "ru", "zh")
    options: dict[str, Any] = {"adversarial": True, "seeds": 1}
    assert confused(plan([FIRST], [nli], availability=having(), **options)) == [(("en",), everywhere, everywhere, {})]
    lacking = having(train=["ru", "zh"], dev=["zh"])  # a dev split will do
    [item] = plan([FIRST], [nli], availability=lacking, **options)
    assert confused([item]) == [(("en",), ("en", "ru"), everywhere, {"zh": "no train for zh"})]
    assert item.job.setting == "zero-shot.en.adversarial-en+ru"
    [narrow] = plan([FIRST], [nli], availability=having(), languages=["ru"], **options)
    assert confused([narrow]) == [(("en",), ("en", "ru"), ("ru",), {})]
    multilingual = plan([FIRST], [nli], availability=having(train=["ru"]), protocol="multilingual", **options)
    assert confused(multilingual) == [(("en", "zh"), ("en", "zh", "ru"), everywhere, {})]
    monolingual = plan([FIRST], [nli], availability=having(), protocol="monolingual", **options)
    assert [p.job.adversarial for p in monolingual] == [("en", "ru", "zh"), ("ru", "en", "zh"), ("zh", "en", "ru")]
    assert all(p.job.adversarial == () for p in plan([FIRST], [nli], availability=having()))


def test_a_task_that_trains_nothing_has_no_adversary(sts: TaskCard) -> None:
    [item] = plan([FIRST], [sts], availability=having(), adversarial=True)
    assert (item.job.adversarial, item.languages) == ((), ("en-ru", "en-en"))


def test_an_adversary_with_nothing_to_tell_apart_stops_when_named_and_is_a_line_under_all(nli: TaskCard) -> None:
    lacking = having(train=["ru", "zh"], dev=["ru", "zh"])
    reason = "a discriminator needs text in two languages, and there is only en: no train for ru"
    with pytest.raises(UserError, match=f"task 'toy_nli' cannot be run with --adversarial: {reason}"):
        plan([FIRST], [nli], availability=lacking, adversarial=True)
    with pytest.raises(UserError, match="there is only en: no other language was asked for"):
        plan([FIRST], [nli], availability=having(), languages=["en"], protocol="monolingual", adversarial=True)
    planned = plan([FIRST, OTHER], [nli], availability=lacking, adversarial=True, named_tasks=False, seeds=1)
    assert [(p.languages, p.missing) for p in planned] == [((), {EVERYTHING: reason})] * 2
    plain = plan([FIRST], [nli], availability=having(), seeds=1)
    assert planned[0].job.setting != plain[0].job.setting, "the reason must not stand beside records without one"


def test_what_is_scored_is_neither_read_as_text_nor_an_oracle(nli: TaskCard) -> None:
    own = Source(hub="toy/nli", config="{lang}", split="test")  # the scored split, under the name of dev
    leaking = replace(nli, dev=(replace(nli.dev[0], language="en"), replace(own, language="ru")))
    [item] = plan([FIRST], [leaking], availability=having(train=["ru"]), seeds=1, adversarial=True)
    assert item.job.adversarial == ("en", "zh")
    assert item.oracle == ("zh",)
    # A config under another name is the same rows
    renamed = replace(own, config="{lang}", aliases={"ru": "rus"}, language="ru")
    other = replace(nli, eval=replace(nli.eval, config="rus"), dev=(nli.dev[0], renamed), languages=("en", "ru"))
    assert plan([FIRST], [other], availability=having(), seeds=1)[0].oracle == ()


def test_an_oracle_is_for_languages_not_trained_on_where_there_is_a_choice(nli: TaskCard, sts: TaskCard) -> None:
    found = plan([FIRST], [nli, sts], availability=having(dev=["zh"]), seeds=1)
    assert [p.oracle for p in found] == [("ru",), ()]
    for protocol in ("monolingual", "multilingual"):
        assert plan([FIRST], [nli], availability=having(), protocol=protocol, seeds=1)[0].oracle == ()
    assert plan([FIRST], [nli], availability=having(), oracle=False, seeds=1)[0].oracle == ()


def test_an_oracle_needs_rates_to_choose_from(nli: TaskCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(adapters.RECIPES, "nli", replace(adapters.RECIPES["nli"], learning_rates=(1e-4,)))
    assert plan([FIRST], [nli], availability=having(), seeds=1)[0].oracle == ()


@pytest.mark.parametrize("count", [1, 2, 4, 8, 40])
def test_shares_of_a_plan_are_disjoint_and_make_up_the_whole(nli: TaskCard, sts: TaskCard, count: int) -> None:
    planned = plan([GONE, FIRST, OTHER], [nli, sts], availability=having(eval=["ru"]), seeds=4)
    shares = [sweep.shard(planned, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted((p.job.task, p.job.model, p.job.seed) for share in shares for p in share) == sorted(
        (p.job.task, p.job.model, p.job.seed) for p in planned
    )
    if count == 4:
        assert {len(s) - sum(p.encoder == GONE or not p.job.recipe for p in s) for s in shares} == {2}, (
            "a seed of each model"
        )
    # A machine that sees other models leaves none of the others out, and does none of them twice.
    elsewhere = plan([OTHER], [nli, sts], availability=having(eval=["ru"]), seeds=4)
    for number, share in enumerate(shares, start=1):
        mine = {p.job for p in sweep.shard(elsewhere, f"{number}/{count}")}
        assert mine == {p.job for p in share if p.job.model == OTHER.name}


@pytest.mark.parametrize(
    "spec", ["0/8", "9/8", "1/0", "a/8", "2", "2/", "/8", "-1/8", "1/-8", "1.5/8", "1/8/2", "", " 1/8"]
)
def test_a_share_that_makes_no_sense_is_refused(spec: str) -> None:
    with pytest.raises(UserError, match="expected K/N with K from 1 to N, such as 2/8") as caught:
        sweep.shard([], spec)
    assert repr(spec) in str(caught.value)


def test_a_folder_is_asked_once_for_each_part_of_a_language(nli: TaskCard) -> None:
    asked: list[tuple[str, str]] = []
    plan(
        [FIRST, OTHER], [nli], seeds=2, adversarial=True,
        availability=lambda card, part, code: asked.append((part, code)),  # type: ignore[func-returns-value]
    )  # fmt: skip
    assert len(asked) == len(set(asked))


def test_planning_and_a_dry_run_import_no_torch(toys: Path, trained: Path, tmp_path: Path) -> None:
    code = """
import sys
from unibench.cli import main
sys.argv = ["unibench", "run", *sys.argv[1:], "--dry-run"]
try:
    main()
finally:
    print("heavy:", [name for name in ("torch", "transformers", "datasets", "pyarrow") if name in sys.modules])
"""
    arguments = ["--data", str(toys / "hub"), "--tasks-dir", str(toys / "tasks"), "--tasks", "toy_nli,toy_sts"]
    before = sorted(trained.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--results", str(trained)],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    # of first and scratch: 3 seeds x 3 languages, and 2 pairs
    assert "8 jobs (2 without training), 22 records" in done.stdout
    assert sorted(trained.rglob("*")) == before


# From here on jobs really run.


@pytest.fixture(scope="module")
def ran(trained: Path, toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one job done: `first`, toy_nli, seed 0, all languages. To be read only."""
    results = Path(shutil.copytree(trained, tmp_path_factory.mktemp("ran") / "results"))
    here = around(results, toys / "hub")
    forget()
    run(planned_for(["first"], [load_card(toys / "tasks" / "toy_nli.toml")], here), here)
    return results


@pytest.fixture
def done(ran: Path, tmp_path: Path) -> Path:
    forget()
    return Path(shutil.copytree(ran, tmp_path / "results"))


def test_nothing_is_left_after_a_run_and_only_what_is_missing_otherwise(done: Path, toys: Path, nli: TaskCard) -> None:
    here = around(done, toys / "hub")
    assert sweep.outstanding(planned_for(["first"], [nli], here), here) == []
    more = sweep.outstanding(planned_for(["first", "scratch"], [nli], here, seeds=2), here)
    assert [(p.job.model, p.job.seed) for p in more] == [("first", 1), ("scratch", 0), ("scratch", 1)]
    for path in done.glob("runs/*/*/*/ru.*"):
        path.unlink()
    [again] = sweep.outstanding(planned_for(["first"], [nli], here), here)
    assert again.languages == ("ru",)
    assert [r.status for r in run([again], here)] == ["ok"]
    assert sweep.outstanding(planned_for(["first"], [nli], here), here) == []


def test_a_copied_mirror_is_the_same_data(done: Path, toys: Path, tmp_path: Path, nli: TaskCard) -> None:
    hub = Path(shutil.copytree(toys / "hub", tmp_path / "copied"))
    for path in hub.rglob("*.parquet"):
        os.utime(path, (1, 1))
    here = around(done, hub)
    assert sweep.outstanding(planned_for(["first"], [nli], here), here) == []


def stale(card: TaskCard, here: Surroundings) -> str:
    with pytest.raises(StaleRecord) as caught:
        sweep.outstanding(planned_for(["first"], [card], here), here)
    message = str(caught.value)
    assert message.startswith(str(here.results / "runs" / "toy_nli" / "first" / "zero-shot.en"))
    assert "\n" not in message
    return message


def test_another_card_is_stale(done: Path, toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "toy_nli.toml"
    path.write_text(tiny_runs.NLI_CARD.replace('metric = "accuracy"', 'metric = "macro_f1"'))
    assert "en.seed0.json was made by another card than today's" in stale(load_card(path), around(done, toys / "hub"))


def test_another_recipe_is_stale(done: Path, toys: Path, nli: TaskCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(adapters.RECIPES, "nli", replace(adapters.RECIPES["nli"], epochs=7))
    assert "made by another recipe than today's" in stale(nli, around(done, toys / "hub"))


def test_another_model_of_the_same_name_is_stale(done: Path, toys: Path, nli: TaskCard) -> None:
    weights = done / "models" / "first" / "model.safetensors"
    tensors = load_file(weights)
    tensors["bert.embeddings.word_embeddings.weight"][7, 0] += 1e-3
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "made by another model than today's" in stale(nli, around(done, toys / "hub"))


@pytest.mark.parametrize(("place", "language"), [("ru/test", "ru"), ("en/train", "en"), ("en/validation", "en")])
def test_other_data_are_stale(
    done: Path, toys: Path, nli: TaskCard, write_mirror: Callable[..., Path], place: str, language: str
) -> None:
    code = place.split("/")[0]
    tiny_runs.write_toys(done / "unused", write_mirror)
    hub = write_mirror("toy/nli", {place: tiny_runs.nli_rows(code, 25, 9)}, readme=False)
    message = stale(nli, around(done, hub))
    # what was trained on enters every language, a test set its own
    assert message.count("seed0.json was made from other data") == (3 if "test" not in place else 1)
    assert f"{language}.seed0.json was made from other data than today's" in message


def test_other_text_for_the_adversary_is_other_data(
    done: Path, toys: Path, nli: TaskCard, write_mirror: Callable[..., Path]
) -> None:
    here = around(done, toys / "hub")
    planned = planned_for(["first"], [nli], here, languages=["en", "ru"], adversarial=True)
    assert {r.status for r in run(planned, here)} == {"ok"}
    assert sweep.outstanding(planned, here) == []
    tiny_runs.write_toys(done / "unused", write_mirror)
    hub = write_mirror("toy/nli", {"ru/train": tiny_runs.nli_rows("ru", 25, 9)}, readme=False)
    there = around(done, hub)
    with pytest.raises(StaleRecord, match=r"en\.seed0\.json was made from other data than today's"):
        sweep.outstanding(planned_for(["first"], [nli], there, languages=["en", "ru"], adversarial=True), there)
    assert sweep.outstanding(planned_for(["first"], [nli], there, languages=["en", "ru"]), there) == [], "unread"


def test_only_what_ran_on_such_a_machine_says_how_long_it_takes(done: Path, toys: Path, nli: TaskCard) -> None:
    here = around(done, toys / "hub")
    planned = planned_for(["first", "scratch"], [nli], here, seeds=2)
    [took] = stored.done_before(planned, here)
    made = store.read(store.record_path(done, planned[0].job, "en"), units=False).provenance
    assert made is not None
    assert (took.item, took.seconds) == (planned[0], made.seconds)
    assert took.train_tokens == made.extra["counts"]["train"]["tokens"]
    assert stored.done_before(planned, replace(here, threads=2)) == []
    assert stored.done_before(planned, replace(here, device="cuda")) == []


def test_what_was_out_of_reach_and_then_measured_is_no_longer_missing(
    results: Path, tmp_path: Path, toys: Path, sts: TaskCard
) -> None:
    forget()
    empty = around(tmp_path / "empty", toys / "hub")
    encoders = [e for e in models.pick("all", empty.results) if e.name == "scratch"]
    found = lambda card, part, code: None  # noqa: E731
    unreachable = sweep.outstanding(plan(encoders, [sts], availability=found), empty)
    assert [(r.language, r.status) for r in run(unreachable, empty)] == [(EVERYTHING, "unavailable")]
    assert sweep.outstanding(plan(encoders, [sts], availability=found), empty) == [], "noted once"
    shutil.copytree(results / "models", empty.results / "models")
    run(sweep.outstanding(planned_for(["scratch"], [sts], empty), empty), empty)
    assert [(r.language, r.status) for r in store.load(empty.results)] == [("en-en", "ok"), ("en-ru", "ok")]


def test_a_language_without_gold_labels_is_noted_once_and_tried_again_only_when_asked(
    results: Path, tmp_path: Path, nli: TaskCard, write_mirror: Callable[..., Path]
) -> None:
    forget()
    tiny_runs.write_toys(tmp_path / "unused", write_mirror)
    rows = [{**row, "y": -1} for row in tiny_runs.nli_rows("zh", 6, 1)]
    here = around(results, write_mirror("toy/nli", {"zh/test": rows}, readme=False))
    planned = planned_for(["first"], [nli], here)
    found = {r.language: (r.status, r.reason) for r in run(sweep.outstanding(planned, here), here)}
    assert found["en"] == found["ru"] == ("ok", "")
    assert found["zh"][0] == "unavailable"
    assert "no row for zh is labelled" in found["zh"][1]
    assert sweep.outstanding(planned, here) == []
    [again] = sweep.outstanding(planned, here, retry=True)
    assert again.languages == ("zh",)
