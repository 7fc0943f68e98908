"""What a job leaves behind: whole records, what an oracle would have chosen, predictions, reasons where it failed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_runs
from safetensors.torch import load_file, save_file
from toy_jobs import around, forget, planned_for, run

from unibench import adapters, data, jobs, metrics, models, predictions, store, sweep
from unibench.cards import TaskCard, load_card
from unibench.errors import DataError


@pytest.fixture
def nli(toys: Path) -> TaskCard:
    return load_card(toys / "tasks" / "toy_nli.toml")


@pytest.fixture
def sts(toys: Path) -> TaskCard:
    return load_card(toys / "tasks" / "toy_sts.toml")


@pytest.fixture(scope="module")
def ran(trained: Path, toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one job done, predictions kept: `first`, toy_nli, seed 0. To be read only."""
    results = Path(shutil.copytree(trained, tmp_path_factory.mktemp("ran") / "results"))
    here = around(results, toys / "hub", predictions=True)
    forget()
    run(planned_for(["first"], [load_card(toys / "tasks" / "toy_nli.toml")], here), here)
    return results


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
        own = {"dev ru"} if record.language == "ru" else set()
        assert set(made.extra["counts"]) == {"train", "dev", record.language} | own
    assert len({r.provenance.data_sha256 for r in records if r.provenance}) == 3


def test_doing_a_job_that_was_done_meanwhile_changes_nothing(
    ran: Path, tmp_path: Path, toys: Path, nli: TaskCard
) -> None:
    done = Path(shutil.copytree(ran, tmp_path / "results"))
    here = around(done, toys / "hub", predictions=True)
    before = {path: path.read_bytes() for path in done.glob("runs/*/*/*/*")}
    run(planned_for(["first"], [nli], here), here)
    assert {path: path.read_bytes() for path in done.glob("runs/*/*/*/*")} == before


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


def test_an_oracle_is_what_the_languages_own_dev_split_would_have_chosen(ran: Path, toys: Path, nli: TaskCard) -> None:
    found = {record.language: record for record in store.load(ran)}
    assert found["en"].oracle == found["zh"].oracle == {}, "trained on, and without a dev split"
    oracle = found["ru"].oracle
    assert set(oracle) == {"learning_rate", "dev_score", "scores", "source"}
    assert oracle["source"] == "12 ru examples: toy/nli validation"
    # The same training, told to use that rate: its dev and test scores are the oracle's.
    import torch

    from unibench.finetune import finetune

    here = around(ran, toys / "hub")
    torch.set_num_threads(here.threads)  # another test may have left another number, and sums depend on it
    [item] = planned_for(["first"], [nli], here)
    part = {name: list(data.load(nli, name, [code], here.origin).examples)  # type: ignore[arg-type]
            for name, code in (("train", "en"), ("dev", "ru"), ("eval", "ru"))}  # fmt: skip
    scores = {}
    for rate in adapters.RECIPES["nli"].learning_rates:
        tuned = finetune(
            lambda: models.load(item.encoder), nli, part["train"], part["dev"],
            {"dev": part["dev"], "eval": part["eval"]}, item.job.recipe, 0, learning_rate=rate,
        )  # fmt: skip
        scores[rate] = [metrics.score("accuracy", tuned.units[name]) for name in ("dev", "eval")]
    assert oracle["learning_rate"] == max(scores, key=lambda rate: scores[rate][0])
    assert [oracle["dev_score"], oracle["scores"]["accuracy"]] == scores[oracle["learning_rate"]]


def test_an_oracle_moves_no_record(ran: Path, tmp_path: Path, toys: Path, nli: TaskCard) -> None:
    forget()
    shutil.copytree(ran / "models", tmp_path / "models")
    here = around(tmp_path, toys / "hub")
    run(planned_for(["first"], [nli], here, oracle=False), here)
    without = {record.language: record for record in store.load(tmp_path)}
    for record in store.load(ran):
        other = without[record.language]
        assert other.oracle == {}
        assert record.units is not None
        assert other.units is not None
        np.testing.assert_array_equal(record.units, other.units)
        assert (record.job, record.scores) == (other.job, other.scores)


def test_predictions_say_what_the_units_say(ran: Path, toys: Path, nli: TaskCard) -> None:
    for record in store.load(ran):
        path = store.record_path(ran, record.job, record.language)
        rows = predictions.read(path, record)
        examples = data.load(nli, "eval", [record.language], around(ran, toys / "hub").origin).examples
        assert [row["id"] for row in rows] == list(record.example_ids)
        assert [row["group"] for row in rows] == list(record.groups)
        assert [row["target"] for row in rows] == [example.target for example in examples]
        assert record.units is not None
        for row, (gold, predicted) in zip(rows, record.units.tolist(), strict=True):
            assert row["units"] == {"gold_id": gold, "pred_id": predicted}
            assert nli.labels[int(predicted)] in str(row["output"])


def test_predictions_are_kept_only_when_asked_for(tmp_path: Path, trained: Path, toys: Path, sts: TaskCard) -> None:
    forget()
    shutil.copytree(trained / "models", tmp_path / "models")
    here = around(tmp_path, toys / "hub")
    [record, *_] = run(planned_for(["first"], [sts], here), here)
    assert record.predictions == {}
    assert not list(tmp_path.rglob("*.gz"))


def test_an_adversary_is_noted_with_what_it_read_and_did_without(
    trained: Path, tmp_path: Path, toys: Path, nli: TaskCard
) -> None:
    forget()
    shutil.copytree(trained / "models", tmp_path / "models")
    here = around(tmp_path, toys / "hub")
    planned = planned_for(["first"], [nli], here, adversarial=True)
    assert [r.status for r in run(planned, here)] == ["ok"] * 3
    for record in store.load(tmp_path):
        made = record.provenance
        assert made is not None
        assert record.job.adversarial == ("en", "ru")
        assert made.extra["without_text"] == {"zh": f"toy/nli has no train split for zh in {toys / 'hub'}"}
        assert made.extra["adversary"]["languages"] == ["en", "ru"]
        assert made.extra["adversary"]["unlabelled_rows"] == 24


def test_translations_that_cannot_be_matched_are_noted_in_every_record(
    ran: Path, trained: Path, tmp_path: Path, toys: Path, sts: TaskCard
) -> None:
    assert all("translations" not in r.provenance.extra for r in store.load(ran) if r.provenance)
    forget()
    shutil.copytree(trained / "models", tmp_path / "models")
    here = around(tmp_path, toys / "hub")
    loose = replace(sts, about={**sts.about, "translations": "unmatched"})
    run(planned_for(["first"], [loose], here), here)
    records = list(store.load(tmp_path))
    assert records
    assert [r.provenance.extra["translations"] for r in records if r.provenance] == ["unmatched"] * len(records)


def test_tokens_are_kept_for_the_next_command(ran: Path) -> None:
    assert list((ran / "cache" / "rows").iterdir())


def test_a_score_that_chance_explains_is_warned_of(
    trained: Path, tmp_path: Path, nli: TaskCard, write_mirror: Callable[..., Path]
) -> None:
    forget()
    shutil.copytree(trained / "models", tmp_path / "models")
    tiny_runs.write_toys(tmp_path / "unused", write_mirror)
    rows = [{**row, "y": 0} for row in tiny_runs.nli_rows("zh", 30, 1)]
    here = around(tmp_path, write_mirror("toy/nli", {"zh/test": rows}, readme=False))
    found = {r.language: r.provenance for r in run(planned_for(["first"], [nli], here), here)}
    assert found["zh"] is not None
    assert "all 30 gold labels are class 0" in found["zh"].extra["warning"]
    assert found["en"] is not None
    assert "warning" not in found["en"].extra, "18 examples say nothing"
