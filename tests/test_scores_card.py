"""Scores in a model card: the Hub's own library reads them back, and not a byte of anybody else's changes."""

from __future__ import annotations

import difflib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_runs
import typer
from huggingface_hub import EvalResult, ModelCard
from toy_records import missing, record

from unibench import metrics, store
from unibench.cards import TaskCard, card_folders, load_card
from unibench.errors import StaleRecord, UserError
from unibench.score_cards import card as command
from unibench.scores_card import with_scores
from unibench.store import RunRecord

THEIRS = """\
  - task: {type: fill-mask, name: 'Masked language modelling'}   # kept as it is
    dataset:
        name: "held-out lines"
        type:   mixed
    metrics:
    - {type: loss, value: 4.29520}

  # a remark
"""
README = f"""---
language: [de, en]
license:   apache-2.0  # a remark
model-index:
- name: small
  results:
{THEIRS}tags:
- unibert
---
# small

model-index: not this one
---
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def scored(quality: float = 0.7, seed: int = 0, task: str = "xnli", language: str = "de", **more) -> RunRecord:
    extra = {"dataset_commits": {"facebook/xnli": COMMIT}}
    made = record("small", task, language, seed, quality, provenance={"extra": extra, "commit": "c" * 40}, **more)
    assert made.units is not None
    return replace(made, scores=metrics.scores(made.unit_names, made.units))


def cards() -> list[TaskCard]:
    return [load_card(card_folders()[-1] / f"{name}.toml") for name in ("xnli", "sts17", "wikiann")]


def read(text: str) -> list[EvalResult]:
    return [r for r in ModelCard(text).data.eval_results if r.metric_type != "loss"]


def test_an_entry_by_hand() -> None:
    runs = [scored(0.6), scored(0.8, seed=1)]
    (found,) = read(with_scores(README, runs, cards()))
    mean = np.mean([(r.units[:, 0] == r.units[:, 1]).mean() for r in runs])
    assert found.metric_value == pytest.approx(mean, abs=5e-5)
    assert (found.task_type, found.dataset_name) == ("text-classification", "XNLI (de)")
    assert (found.dataset_type, found.dataset_config, found.dataset_split) == ("facebook/xnli", "de", "test")
    assert found.dataset_revision == COMMIT
    assert (found.metric_type, found.metric_name) == (
        "accuracy",
        "accuracy, zero-shot from en, mean of 2 fine-tuning seeds",
    )
    assert found.metric_args == {"measured_by": "unibench", "commit": "c" * 12, "seeds": [0, 1]}
    assert not found.verified


def test_the_hub_names_of_every_family_metric_and_language() -> None:
    runs = [scored(task="wikiann", language="ro"), scored(task="sts17", language="en-tr", job={"protocol": "none"})]
    sts, ner = read(with_scores(README, runs, cards()))
    assert (ner.task_type, ner.metric_type, ner.dataset_type) == ("token-classification", "f1", "unimelb-nlp/wikiann")
    assert ner.metric_name == "span_f1, zero-shot from en, one fine-tuning seed"
    assert (sts.task_type, sts.metric_type) == ("sentence-similarity", "spearmanr")
    assert sts.metric_name == "spearman, nothing trained"
    (unknown,) = read(with_scores(README, runs[:1]))
    assert (unknown.dataset_type, unknown.dataset_name, unknown.dataset_config) == ("wikiann", "wikiann (ro)", None)


def test_nothing_else_changes_by_a_byte_and_again_changes_nothing() -> None:
    once = with_scores(README, [scored()], cards())
    assert THEIRS.split("\n\n")[0] in once
    lines = difflib.ndiff(README.splitlines(keepends=True), once.splitlines(keepends=True))
    assert {line[0] for line in lines} == {" ", "+"}
    assert with_scores(once, [scored()], cards()) == once
    more = with_scores(once, [scored(), scored(language="en")], cards())
    assert more == with_scores(README, [scored(), scored(language="en")], cards())
    assert with_scores(more, [scored()], cards()) == once, "what is stored no longer leaves the card"
    better = with_scores(once, [scored(0.9)], cards())
    changed = [line for line in difflib.ndiff(once.splitlines(), better.splitlines()) if line[0] in "+-"]
    assert len(changed) == 2
    assert all("value: 0." in line for line in changed)


@pytest.mark.parametrize(
    "readme",
    [
        README.replace("\n", "\r\n"),
        "\ufeff" + README,
        "# No metadata\n\ntext\n",
        "",
        "---\nlanguage: de\n---\n# No index",
        "---\n---\n",
        README.replace(THEIRS, THEIRS + THEIRS.split("\n\n")[0] + "\n"),
    ],
)
def test_cards_of_other_shapes(readme: str) -> None:
    found = with_scores(readme, [scored()], cards())
    assert [r.dataset_name for r in read(found.removeprefix("\ufeff"))] == ["XNLI (de)"]
    assert with_scores(found, [scored()], cards()) == found
    assert found.endswith(readme.removeprefix("\ufeff").split("---")[-1])
    assert found.startswith("\ufeff") == readme.startswith("\ufeff")
    assert ("\r\n" in found) == ("\r\n" in readme)
    assert found.count("\n") == found.count("\r\n") or "\r\n" not in found


def test_an_entry_of_ours_before_one_of_theirs() -> None:
    once = with_scores("# small\n", [scored()], cards())
    late = once.replace("---\n# small", f"{THEIRS}---\n# small")
    found = with_scores(late, [scored(0.9)], cards())
    assert THEIRS.split("\n\n")[0] in found
    assert "# a remark" in found
    assert len(read(found)) == 1


def test_the_generated_sample_passes_for_no_dataset() -> None:
    (found,) = read(with_scores(README, [scored(job={"origin": "sample"})], cards()))
    assert found.dataset_type == "sample"
    assert found.dataset_name == "generated sample made like XNLI (de), not that dataset"
    assert "sample data" in found.metric_name
    assert (found.dataset_config, found.dataset_split, found.dataset_revision) == (None, None, None)


def test_settings_stand_side_by_side_and_limits_are_said() -> None:
    runs = [
        scored(),
        scored(job={"eval_limit": 100}),
        scored(job={"protocol": "monolingual", "train_languages": ("de",)}),
    ]
    names = [r.metric_name for r in read(with_scores(README, runs, cards()))]
    assert names == [
        "accuracy, monolingual, one fine-tuning seed",
        "accuracy, zero-shot from en, one fine-tuning seed",
        "accuracy, zero-shot from en, at most 100 test examples, one fine-tuning seed",
    ]


def test_a_moving_ref_is_no_revision() -> None:
    run = scored()
    assert run.provenance is not None
    run = replace(run, provenance=replace(run.provenance, extra={"dataset_commits": {"facebook/xnli": "refs/pr/1"}}))
    assert read(with_scores(README, [run], cards()))[0].dataset_revision is None


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match="no scores of any model to write"):
        with_scores(README, [])
    with pytest.raises(UserError, match="no scores of small to write"):
        with_scores(README, [missing("small"), replace(scored(), scores={"accuracy": float("nan")})])
    with pytest.raises(UserError, match="of one model; these records are of mbert, small"):
        with_scores(README, [scored(), record("mbert")])
    odd = scored(seed=1)
    assert odd.provenance is not None
    with pytest.raises(StaleRecord, match="differ in their model"):
        with_scores(README, [scored(), replace(odd, provenance=replace(odd.provenance, model_sha256="other"))])
    for front, said in (
        ("a: [", "metadata is no YAML"),
        ("- a", "no list of keys and values"),
        ("model-index: []", "not of one model"),
        ("model-index:\n- name: x\n  results: [{metrics: []}]", "written in brackets"),
        ("model-index:\n- name: x\n  results:\n  - metrics: []", "the Hub could not read"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            with_scores(f"---\n{front}\n---\n", [scored()])
        assert "\n" not in str(caught.value)


def test_the_command_writes_the_card_of_a_model_trained_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    app.command()(command)

    def run(*words: str) -> int:
        return int(app([*words, "--results", str(tmp_path)], standalone_mode=False) or 0)

    tiny_runs.train(tiny_runs.asked(tmp_path, "small", steps=2))
    folder = tmp_path / "models" / "small"
    sha256 = json.loads((folder / "unibert.json").read_text())["model_sha256"]
    (task, *_) = cards()
    for language in ("de", "en"):
        made = scored(language=language)
        assert made.provenance is not None
        made = replace(made, provenance=replace(made.provenance, model_sha256=sha256, card_sha256=task.sha256))
        store.write(tmp_path, made)
    before = (folder / "README.md").read_text(encoding="utf-8")
    assert run("small", "--check") == 1
    assert "lacks the scores of 2 records" in capsys.readouterr().out
    assert (folder / "README.md").read_text(encoding="utf-8") == before
    assert run("small") == 0
    after = (folder / "README.md").read_text(encoding="utf-8")
    assert {line[0] for line in difflib.ndiff(before.splitlines(), after.splitlines())} == {" ", "+"}
    names = [r.dataset_name for r in ModelCard(after).data.eval_results if r.metric_type == "accuracy"]
    assert names[-2:] == ["XNLI (de)", "XNLI (en)"]
    assert run("small", "--check") == run("small") == 0
    with pytest.raises(UserError, match="model 'scratch' has no card here"):
        run("scratch")
    made = scored(language="ru")
    store.write(tmp_path, made)
    with pytest.raises(StaleRecord, match="1 of 3 records of 'small' were made by other weights or another task card"):
        run("small")
