"""Which encoders there are, which can be had here, and what opens when one is loaded. The Hub is offline, as in CI."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_runs
import torch
import world
from safetensors.torch import load_file, save_file

from unibench import models
from unibench.catalogue import CATALOGUE
from unibench.errors import Unavailable, UnknownName, UserError
from unibench.facts import recipe_of

SHAPE = ("layers", "width", "vocabulary", "parameters", "parameters_without_embeddings")


def reasons(results: Path) -> dict[str, str]:
    return {encoder.name: encoder.reason for encoder in models.pick("all", results)}


def test_all_is_what_was_trained_here_then_the_floor_then_the_catalogue(trained: Path) -> None:
    found = reasons(trained)
    assert list(found) == ["first", "scratch", *CATALOGUE]
    assert found["first"] == found["scratch"] == ""
    for name, entry in CATALOGUE.items():
        assert found[name] == f"{entry.hub} is not in the Hugging Face cache and the Hub cannot be reached"


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
    asked = json.loads((trained / "models" / found[3].name / "unibert.json").read_text())["asked"]
    made = [found[3].about[name] for name in ("recipe", "pretraining_seed", "teacher_sha256")]
    assert made == [recipe_of(asked), asked["seed"], ""]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frist", "no model 'frist' in {models} or the catalogue; did you mean 'first'?"),
        ("mbret", "did you mean 'mbert'?"),
        ("xlmr-base", "did you mean 'xlm-r-base'?"),
        ("scratch:smal", "no size 'smal' in the presets; did you mean 'small'?"),
        ("qqqq", "known: distilmbert, e5-base, e5-small, eurobert-210m, first, labse, mbert, mdeberta-v3-base, "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(trained: Path, name: str, expected: str) -> None:
    with pytest.raises(UnknownName) as caught:
        models.pick([name], trained)
    assert expected.format(models=trained / "models") in str(caught.value)


@pytest.mark.parametrize("name", ["mbert", "some-owner/some-model", "some-owner/some-model@refs/pr/3"])
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
    assert (foreign.name, foreign.kind) == ("copied", "path")
    assert foreign.about == {key: original.about[key] for key in SHAPE}
    monkeypatch.chdir(folder)
    assert models.pick(["."], tmp_path)[0].name == "copied"


def test_two_encoders_of_one_name_cannot_be_told_apart_in_a_table(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "models" / "tutor", tmp_path / "first"))
    with pytest.raises(UserError, match="two models are called 'first'") as caught:
        models.pick(["first", str(folder)], trained)
    assert str(folder) in str(caught.value)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.json"):
        models.pick([str(tmp_path)], tmp_path)


def test_what_has_no_safetensors_is_refused_with_a_command_that_makes_them(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(trained / "models" / "first", tmp_path / "copied"))
    (folder / "unibert.json").unlink()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"copied holds no \.safetensors weights") as caught:
        models.pick([str(folder)], tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    command, _, given = message.partition('python -c "')[2].partition('" and give --model ')
    monkeypatch.chdir(tmp_path)
    exec(command, {})
    [made] = models.pick([given], tmp_path)
    _, encoder = models.load(made)
    _, original = models.load(models.pick(["first"], trained)[0])
    vectors = [module.get_input_embeddings().weight for module in (encoder, original)]
    assert torch.equal(*vectors)


def in_cache(monkeypatch: pytest.MonkeyPatch, cache: Path, hub: str, commit: str, source: Path) -> Path:
    """Lays a folder into a Hugging Face cache as the revision `commit`, and as main, of `hub`."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    kept = cache / f"models--{hub.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    return Path(shutil.copytree(source, kept / "snapshots" / commit))


def test_a_hub_model_in_the_cache_is_here_and_its_size_is_read_from_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    source = trained / "models" / "first"
    folder = in_cache(monkeypatch, tmp_path / "hub", "some-owner/some-model", commit, source)
    [first] = models.pick(["first"], trained)
    for name in ("some-owner/some-model", f"some-owner/some-model@{commit}"):
        [found] = models.pick([name], tmp_path)
        assert (found.name, found.kind, found.folder, found.reason) == (name, "catalogue", None, "")
        assert found.about == {**{key: first.about[key] for key in SHAPE}, "revision": commit}
        assert models.downloaded(found).folder == models.fetch(found).folder == folder
        assert models.fetch(found).about == found.about
        assert models.sha256(found) == models.sha256(first)
    with pytest.raises(UserError, match="some-owner/some-model is not in the Hugging Face cache"):
        models.pick(["some-owner/some-model@refs/pr/3"], tmp_path)


def test_a_hub_model_without_safetensors_says_what_to_do(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.copytree(trained / "models" / "first", tmp_path / "copied"))
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    in_cache(monkeypatch, tmp_path / "hub", "some-owner/some-model", "0123456789abcdef0123456789abcdef01234567", source)
    encoder = models.Encoder(name="any", kind="catalogue", hub="some-owner/some-model")
    assert models.downloaded(encoder).folder is None
    with pytest.raises(
        Unavailable, match=r"no safetensors weights.*some-owner/some-model@refs/pr/1.*python -c"
    ) as caught:
        models.fetch(encoder)
    assert "\n" not in str(caught.value)


def test_the_catalogue_fetches_the_revision_that_has_safetensors(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CATALOGUE["mdeberta-v3-base"]
    assert entry.revision is not None
    folder = in_cache(monkeypatch, tmp_path / "hub", entry.hub, entry.revision, trained / "models" / "first")
    (folder.parents[1] / "refs" / "main").write_text("f" * 40)  # main is another commit
    [found] = models.pick(["mdeberta-v3-base"], tmp_path)
    assert models.fetch(found).folder == folder
    assert found.about["revision"] == entry.revision


@pytest.mark.parametrize("name", ["first", "tutor", "scratch", "scratch:small"])
def test_sizes_are_those_of_what_is_loaded(trained: Path, name: str) -> None:
    [encoder] = models.pick([name], trained)
    _, module = models.load(encoder)
    own = {key: p.numel() for key, p in module.named_parameters() if not key.startswith("pooler.")}
    before = sum(size for key, size in own.items() if key.startswith("embeddings."))
    assert {key: encoder.about[key] for key in SHAPE} == {
        "layers": module.config.num_hidden_layers,
        "width": module.config.hidden_size,
        "vocabulary": module.config.vocab_size,
        "parameters": sum(own.values()),
        "parameters_without_embeddings": sum(own.values()) - before,
    }


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


def test_a_model_that_lacks_weights_of_its_encoder_is_unavailable(results: Path) -> None:
    weights = results / "models" / "first" / "model.safetensors"
    kept = {name: value for name, value in load_file(weights).items() if "layer.0.attention.self.query" not in name}
    save_file(kept, weights, metadata={"format": "pt"})
    [encoder] = models.pick(["first"], results)
    with pytest.raises(Unavailable, match=r"lacks 2 weights of its encoder, '.*query\.bias' for one"):
        models.load(encoder)


def test_loading_draws_nothing_from_the_global_generator(trained: Path) -> None:
    before = torch.get_rng_state()
    models.load(models.pick(["first"], trained)[0])  # its pooler is drawn, for its pretraining had none
    assert torch.equal(torch.get_rng_state(), before)
