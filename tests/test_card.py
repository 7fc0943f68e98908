"""The model card: the Hub's own library reads its metadata back, its code runs, and it says what the manifest says."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st

from unibert.card import card, hub_languages, measured
from unibert.config import Adversary, Distill, ModelConfig, TrainConfig, to_plain
from unibert.languages import LANGUAGES

CONFIG = TrainConfig(model=ModelConfig(layers=2, width=128), languages=("de", "en"), steps=2000, precision="bf16")
MANIFEST: dict[str, Any] = {
    "schema": 1,
    "name": "unibert-xxsmall",
    "size": "xxsmall",
    "objectives": "mlm",
    "created": "2026-01-02T03:04:05+00:00",
    "languages": ["en", "de"],
    "corpus": "mixed",
    "corpus_sha256": "c" * 64,
    "tokenizer_sha256": "d" * 64,
    "model_sha256": "a" * 64,
    "vocab_size": 4000,
    "config": to_plain(CONFIG),
    "steps": 2000,
    "tokens": 3_600_000,
    "seconds": 70.5,
    "threads": 2,
    "device": "cpu (x86_64)",
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "parameters": 974_464,
    "parameters_without_embeddings": 396_544,
    "heldout": {"mlm": {"de": 4.5, "en": 3.5, "mean": 4.0}, "unigram": 6.5, "language_unigram": 6.125},
    "probe": {
        "probe_accuracy": 0.75,
        "chance": 0.5,
        "same_language_neighbours": 0.625,
        "effective_rank": 80.25,
        "sequences": 128,
    },
    "adversary": None,
    "teacher": None,
}


def changed(**values: Any) -> dict[str, Any]:
    return {**copy.deepcopy(MANIFEST), **values}


def metadata(text: str) -> dict[str, Any]:
    """Returns the metadata by PyYAML alone, from the text between the first two rules."""
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_the_hub_library_reads_it_back(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(card(MANIFEST), encoding="utf-8")
    raw = metadata_load(path)
    assert raw is not None
    assert raw["language"] == ["de", "en", "multilingual"]
    assert (raw["library_name"], raw["pipeline_tag"]) == ("transformers", "fill-mask")
    assert "sentence-transformers" in raw["tags"]
    assert "license" not in raw, "that is for whoever publishes it"
    found = ModelCard.load(path)
    assert found.data.to_dict() == raw
    assert found.text.startswith("# unibert-xxsmall\n")
    values = {result.metric_type: result.metric_value for result in found.data.eval_results}  # type: ignore[attr-defined]
    assert values == {"loss": 4.0, "accuracy": 0.75, "neighbours": 0.625, "effective_rank": 80.25}
    [model] = raw["model-index"]
    assert model["name"] == "unibert-xxsmall"
    for result in model["results"]:  # what the Hub's model-index requires of each
        assert {"type", "name"} <= result["task"].keys()
        assert {"type", "name", "split"} <= result["dataset"].keys()
        assert all({"type", "value"} <= metric.keys() for metric in result["metrics"])


def test_it_says_what_the_manifest_says() -> None:
    text = card(MANIFEST)
    for part in (
        "2 layers, width 128", "974,464 parameters", "3,600,000 tokens", "4.000 nats (unigram 6.500", "accuracy 0.750",
        "| de | German | 4.500 |", "| en | English | 3.500 |", "seed 0", "bf16", f"`{'a' * 64}`", f"`{'c' * 64}`",
        f"`{'d' * 64}`", "![Training curves](curves.png)", "peak rate 0.002", "power\nof 0.3", "512 pieces at most",
    ):  # fmt: skip
        assert part in text, part
    for part in ("adversary", "Distillation", "Teacher", "ISO 639-1", "facebook/xnli", "None", "nan"):
        assert part not in text, part
    opening = text.split("\n# ", 1)[1].split("\n## ", 1)[0]
    assert len(opening.splitlines()) < 20, "the opening is what is shown after training"


def test_settings_and_cost_of_adversary_and_teacher_are_told_and_paths_are_not() -> None:
    secret = "/home/somebody/results/models/tutor"
    config = to_plain(TrainConfig(
        model=ModelConfig(layers=2, width=128), languages=("de", "en"), steps=10,
        adversary=Adversary(strength=0.25), distill=Distill(teacher=secret, temperature=3.0),
    ))  # fmt: skip
    teacher = {
        "folder": secret, "halved": True, "why": f"teacher {secret}, trained within half of the budget",
        "size": "xsmall", "steps": 1000, "tokens": 1_800_000, "seconds": 55.5, "model_sha256": "b" * 64,
    }  # fmt: skip
    outcome = {"backoff": 0.5, "reference": None, "discriminator_accuracy": 0.125}
    text = card(changed(config=config, teacher=teacher, adversary=outcome, objectives="mlm+adversary+distill"))
    for part in (
        "Teacher, on top of that: tutor, trained within half of the budget (xsmall, 1,000 steps, 1,800,000 tokens, 5",
        "strength 0.25", "strength at its end times 0.5", "the discriminator's accuracy 0.125", "temperature 3.0",
        f"| teacher | `{'b' * 64}` |",
    ):  # fmt: skip
        assert part in text, part
    assert "somebody" not in text
    none = {"folder": None, "halved": False, "why": "no teacher, as asked: trained without distillation"}
    assert "- Teacher: no teacher, as asked" in card(changed(teacher=none))


# Languages


def test_the_languages_of_107_are_codes_that_the_hub_takes() -> None:
    """ISO 639-1 withdrew sh, which ISO 639-3 calls hbs; every other code here is in use in one of the two."""
    language, tagged = hub_languages(LANGUAGES)
    assert tagged == []
    assert set(language) == (set(LANGUAGES) - {"sh"}) | {"hbs"}
    text = card(changed(languages=list(LANGUAGES)))
    assert metadata(text)["language"] == [*sorted(language), "multilingual"]
    assert "Without an ISO 639-1 code: ast, azb, bar, bpy, ceb," in text
    assert "<details><summary>107 languages" in text
    assert "| azb | South Azerbaijani | – |" in text, "no held-out line, no number"


@pytest.mark.parametrize(
    ("code", "language", "tagged"),
    [
        ("no", ["no"], []),  # which YAML reads as false unless it is quoted
        ("eng_Latn", ["eng"], ["eng-Latn"]),
        ("pt-BR", ["pt"], ["pt-BR"]),
        ("zh-min-nan", [], ["zh-min-nan"]),
        ("be-x-old", [], ["be-x-old"]),
        ("simple", [], []),
        ("DE", [], []),
        ("c++", [], []),
    ],
)
def test_codes_of_another_kind(code: str, language: list[str], tagged: list[str]) -> None:
    assert hub_languages([code]) == (language, tagged)
    read = metadata(card(changed(languages=[code])))
    assert read.get("language", []) == language
    assert read.get("language_bcp47", []) == tagged
    assert f"| {code} |" in card(changed(languages=[code]))


# Names


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30))
def test_any_name_survives_yaml_and_markdown(name: str) -> None:
    text = card(changed(name=name, corpus=name))
    line = " ".join(name.split())
    [model] = metadata(text)["model-index"]
    assert model["name"] == line
    assert model["results"][0]["dataset"]["type"] == line
    assert ModelCard(text).data.to_dict() == metadata(text)
    block = re.search(r"```python\n(.*?)\n```", text, re.DOTALL)
    assert block is not None
    folders: dict[str, str] = {}
    exec(next(row for row in block[1].splitlines() if row.startswith("folder =")), folders)
    assert folders["folder"] == line


@pytest.mark.parametrize(
    "name", ["null", "true", "1.0", "- a: b", "a # b", "'\"", "{x}", "%TAG", "---", "@me", "*a", "2020-01-01"]
)
def test_names_that_yaml_takes_for_something_else(name: str) -> None:
    [model] = metadata(card(changed(name=name)))["model-index"]
    assert model["name"] == name


def test_what_is_not_a_number_is_left_out() -> None:
    manifest = changed(heldout={"mlm": {"mean": float("nan")}, "unigram": 6.5, "language_unigram": 6.0})
    assert [row["metric_type"] for row in measured(manifest)] == ["accuracy", "neighbours", "effective_rank"]
    assert ".nan" not in card(manifest)


# Its code


def test_its_code_runs_as_printed(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained / "models")
    first, second = re.findall(r"```python\n(.*?)```", Path("first/README.md").read_text(), re.DOTALL)
    space: dict[str, Any] = {}
    exec(first, space)
    assert "'score'" in capsys.readouterr().out
    assert space["vectors"].shape == (2, 64)
    pytest.importorskip("sentence_transformers", reason="not needed to train; install it to run this part")
    vectors = space.pop("vectors")
    exec(second, space)
    torch.testing.assert_close(torch.from_numpy(space["vectors"]), vectors, atol=2e-5, rtol=0)
    assert json.loads(Path("first/unibert.json").read_text())["name"] == "first"
