"""What is to be done, what is left of it, and what becomes of a job that fails."""

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

from unibench import adapters, data, jobs, models, store, sweep
from unibench.cards import TaskCard, load_card
from unibench.errors import DataError, StaleRecord, UserError
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
    assert "8 fine-tunings, 22 records" in done.stdout  # of first and scratch: 3 seeds x 3 languages, and 2 pairs
    assert sorted(trained.rglob("*")) == before


# From here on jobs really run.


def around(results: Path, hub: Path) -> Surroundings:
    return Surroundings(
        results=results, origin=data.Origin(kind="mirror", root=hub), device="cpu", precision="fp32", threads=1
    )


def planned_for(names: list[str], cards: list[TaskCard], here: Surroundings, **options: Any) -> list[Planned]:
    found = lambda card, part, code: data.availability(card, part, code, here.origin)  # noqa: E731
    return plan(models.pick(names, here.results), cards, availability=found, **{"seeds": 1, **options})


def run(planned: Sequence[Planned], here: Surroundings) -> list[store.RunRecord]:
    return [record for item in planned for record in jobs.execute(item, here, lambda *_: None)]


def forget() -> None:
    """Makes this process read data and models afresh, as another command would."""
    jobs._LOADED.clear()
    jobs._HASHED.clear()
    models._hash.cache_clear()


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


def test_a_job_leaves_one_whole_record_a_language(ran: Path, nli: TaskCard) -> None:
    records = list(store.load(ran))
    assert [(r.language, r.status) for r in records] == [("en", "ok"), ("ru", "ok"), ("zh", "ok")]
    for record in records:
        assert record.units is not None
        assert record.units.shape == (18, 2)
        assert record.scores["accuracy"] == pytest.approx((record.units[:, 0] == record.units[:, 1]).mean())
        assert (record.split, record.parallel, record.metric) == ("test", True, "accuracy")
        assert record.example_ids_sha256 == records[0].example_ids_sha256 == store.ids_sha256(record.example_ids)
        made = record.provenance
        assert made is not None
        assert made.card_sha256 == nli.sha256
        assert made.model_sha256 == models.sha256(models.pick(["first"], ran)[0])
        assert made.extra["learning_rate"] in adapters.RECIPES["nli"].learning_rates
        assert made.extra["objectives"] == "mlm"
        assert set(made.extra["counts"]) == {"train", "dev", record.language}
    assert len({r.provenance.data_sha256 for r in records if r.provenance}) == 3


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


def test_doing_a_job_that_was_done_meanwhile_changes_nothing(done: Path, toys: Path, nli: TaskCard) -> None:
    here = around(done, toys / "hub")
    before = {path: path.read_bytes() for path in done.glob("runs/*/*/*/*")}
    run(planned_for(["first"], [nli], here), here)
    assert {path: path.read_bytes() for path in done.glob("runs/*/*/*/*")} == before


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
    assert f"{language}.seed0.json was made by another data than today's" in message


def test_a_failed_job_is_an_attempt_with_its_reason_and_is_tried_again(
    results: Path, toys: Path, nli: TaskCard, sts: TaskCard
) -> None:
    forget()
    weights = results / "models" / "first" / "model.safetensors"
    whole = weights.read_bytes()
    tensors = load_file(weights)
    tensors["bert.embeddings.LayerNorm.weight"].fill_(float("nan"))
    save_file(tensors, weights, metadata={"format": "pt"})
    here = around(results, toys / "hub")
    for _ in range(2):
        left = sweep.outstanding(planned_for(["first"], [nli, sts], here), here)
        assert len(left) == 2
        records = run(left, here)
        assert {r.status for r in records} == {"failed"}
        assert records[0].reason.startswith("DivergedError: no learning rate gave a usable model")
    folder = results / "runs" / "toy_nli" / "first" / "zero-shot.en"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        f"{code}.seed0.attempt-{n}.json" for code in ("en", "ru", "zh") for n in (1, 2)
    )
    weights.write_bytes(whole)
    forget()
    assert {r.status for r in run(sweep.outstanding(planned_for(["first"], [nli], here), here), here)} == {"ok"}
    assert {(r.job.task, r.status) for r in store.load(results)} == {("toy_nli", "ok"), ("toy_sts", "failed")}


def test_a_malformed_file_stops_the_command_and_stores_nothing(
    trained: Path, tmp_path: Path, nli: TaskCard, write_mirror: Callable[..., Path]
) -> None:
    forget()
    tiny_runs.write_toys(tmp_path / "unused", write_mirror)
    hub = tmp_path / "hub"
    [path] = (hub / "toy" / "nli" / "zh").glob("test-*.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    here = replace(around(trained, hub), results=tmp_path / "results")
    item = replace(planned_for(["first"], [nli], around(trained, hub))[0])
    with pytest.raises(DataError, match=r"zh/test-.*parquet cannot be read as parquet"):
        jobs.execute(item, here, lambda *_: None)
    assert not (tmp_path / "results").exists()


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
