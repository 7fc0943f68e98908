"""Which encoders there are, which can be had here, and what opens when one is loaded. The Hub is offline, as in CI."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_runs
import torch
import world

from unibench import models
from unibench.errors import Unavailable, UnknownName, UserError


def reasons(results: Path) -> dict[str, str]:
    return {encoder.name: encoder.reason for encoder in models.pick("all", results)}


def test_all_is_what_was_trained_here_then_the_floor_then_the_catalogue(trained: Path) -> None:
    found = reasons(trained)
    assert list(found) == ["first", "scratch", *models.CATALOGUE]
    assert found["first"] == found["scratch"] == ""
    for name, (hub, _) in models.CATALOGUE.items():
        assert found[name] == f"{hub} is not in the Hugging Face cache and the Hub cannot be reached"


def test_a_teacher_is_left_out_of_all_and_used_when_named(trained: Path) -> None:
    [tutor] = models.pick(["tutor"], trained)
    assert (tutor.kind, tutor.folder, tutor.reason) == ("teacher", trained / "models" / "tutor", "")
    assert [encoder.name for encoder in models.teachers(trained)] == ["tutor"]
    assert "tutor" not in reasons(trained)


def test_names_are_kept_in_order_and_once(trained: Path) -> None:
    found = models.pick(["scratch", "tutor", "scratch:small", "first", "tutor"], trained)
    assert [encoder.name for encoder in found] == ["scratch", "tutor", "scratch:small", "first"]
    assert [encoder.kind for encoder in found] == ["scratch", "teacher", "scratch", "trained"]
    assert found[3].about["objectives"] == "mlm"
    assert found[3].about["corpus"] == "world"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frist", "no model 'frist' in {models} or the catalogue; did you mean 'first'?"),
        ("mbret", "did you mean 'mbert'?"),
        ("xlmr-base", "did you mean 'xlm-r-base'?"),
        ("scratch:smal", "no size 'smal' in the presets; did you mean 'small'?"),
        ("qqqq", "known: distilmbert, first, mbert, mminilm-l12, scratch, scratch:base"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(trained: Path, name: str, expected: str) -> None:
    with pytest.raises(UnknownName) as caught:
        models.pick([name], trained)
    assert expected.format(models=trained / "models") in str(caught.value)


@pytest.mark.parametrize("name", ["mbert", "some-owner/some-model"])
def test_a_hub_model_that_is_named_but_out_of_reach_stops_the_command(trained: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"model '{name}' cannot be used here: .* the Hub cannot be reached"):
        models.pick([name], trained)
    with pytest.raises(Unavailable, match="could not be fetched"):
        models.fetch(models.Encoder(name=name, kind="catalogue", hub="some-owner/some-model"))


def test_the_floor_has_no_vocabulary_before_the_first_training(tmp_path: Path) -> None:
    assert reasons(tmp_path)["scratch"] == "no vocabulary yet; run `unibench train` first"
    with pytest.raises(UserError, match="model 'scratch:small' cannot be used here: no vocabulary yet"):
        models.pick(["scratch:small"], tmp_path)


def test_the_floor_is_the_same_encoder_every_time(trained: Path) -> None:
    [scratch, small] = models.pick(["scratch", "scratch:small"], trained)
    torch.manual_seed(1)
    _, first = models.load(scratch)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    _, second = models.load(scratch)
    assert torch.equal(torch.get_rng_state(), before)
    assert first is not second
    weights = second.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())
    assert (first.config.num_hidden_layers, first.config.hidden_size) == (2, 128)
    assert models.sha256(scratch) == models.sha256(models.pick(["scratch"], trained)[0]) != models.sha256(small)


def test_the_floor_reads_with_the_vocabulary_of_the_oldest_model(results: Path) -> None:
    tiny_runs.train(tiny_runs.asked(results, "another", steps=1, vocab_size=700))
    vocabularies = {name: (results / "models" / name / "tokenizer.json").read_bytes() for name in ("another", "first")}
    assert vocabularies["another"] != vocabularies["first"]
    [scratch] = models.pick(["scratch"], results)
    identity = models.sha256(scratch)
    assert scratch.folder == results / "models" / "first"
    _date(results / "models" / "another", "2020-01-01T00:00:00+00:00")
    [moved] = models.pick(["scratch"], results)
    assert moved.folder == results / "models" / "another"
    assert models.sha256(moved) != identity
    tokenizer, encoder = models.load(moved)
    assert encoder.config.vocab_size == len(tokenizer)


def _date(model: Path, created: str) -> None:
    path = model / "unibert.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "created": created}))


def test_any_folder_that_holds_an_encoder_is_a_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(trained / "models" / "first", tmp_path / "copied"))
    [found] = models.pick([str(folder)], tmp_path)
    assert (found.name, found.kind, found.reason) == ("copied", "path", "")
    assert found.about["size"] == "xxsmall"
    [original] = models.pick(["first"], trained)
    assert models.sha256(found) == models.sha256(original)
    (folder / "unibert.json").unlink()  # as from any other trainer
    [foreign] = models.pick([f"{folder}/"], tmp_path)
    assert (foreign.name, foreign.kind, foreign.about) == ("copied", "path", {})
    monkeypatch.chdir(folder)
    assert models.pick(["."], tmp_path)[0].name == "copied"


def test_two_encoders_of_one_name_cannot_be_told_apart_in_a_table(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "models" / "tutor", tmp_path / "first"))
    with pytest.raises(UserError, match="two models are called 'first'") as caught:
        models.pick(["first", str(folder)], trained)
    assert str(folder) in str(caught.value)


def test_a_folder_without_safetensors_or_config_is_refused(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "models" / "first", tmp_path / "copied"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"copied holds no \.safetensors weights"):
        models.pick([str(folder)], tmp_path)
    with pytest.raises(UserError, match=r"holds no config\.json"):
        models.pick([str(tmp_path)], tmp_path)


def test_an_export_that_was_cut_off_is_no_model(results: Path) -> None:
    shutil.copytree(results / "models" / "first", results / "models" / ".export-cut")
    assert list(reasons(results))[:2] == ["first", "scratch"]


@pytest.mark.parametrize("name", ["first", "tutor", "scratch"])
def test_what_is_loaded_reads_text_in_every_script(trained: Path, name: str) -> None:
    [encoder] = models.pick([name], trained)
    tokenizer, model = models.load(encoder)
    assert tokenizer.is_fast
    batch = tokenizer([world.lines(code)[0] for code in world.WORDS] + ["𓀀 unseen"], padding=True, return_tensors="pt")
    assert tokenizer.unk_token_id not in batch["input_ids"]
    with torch.inference_mode():
        hidden_BTD = model.eval()(**batch).last_hidden_state
    assert hidden_BTD.shape == (*batch["input_ids"].shape, model.config.hidden_size)
    assert hidden_BTD.isfinite().all()
    assert hidden_BTD.std() > 0.01


def test_a_damaged_model_is_unavailable_with_a_reason_in_one_line(results: Path) -> None:
    weights = results / "models" / "first" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    [encoder] = models.pick(["first"], results)
    with pytest.raises(Unavailable, match=r"first cannot be opened") as caught:
        models.load(encoder)
    assert "\n" not in str(caught.value)
