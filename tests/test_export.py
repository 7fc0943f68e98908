"""The exported folder: it opens in transformers and in sentence-transformers, keeps its identity, appears whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import world

from unibert import curves, tokenizer
from unibert.config import ModelConfig
from unibert.export import export, sentence_files
from unibert.manifest import model_sha256, read_manifest
from unibert.model import UniBert, mean_pool, new

POSITIONS, WIDTH = 64, 128
TEXTS = (
    "the old house stands near the sea.", "", "x", "старый дом стоит у моря", "小小的房子靠近我们的学校。",
    "the quiet river " * 60,
)  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary(trained: Path) -> Path:
    [folder] = (trained / "tokenizers").iterdir()
    return folder


@pytest.fixture(scope="module")
def model(vocabulary: Path) -> UniBert:
    size = tokenizer.load(vocabulary).get_vocab_size()
    generator = torch.Generator().manual_seed(3)
    made = new(
        ModelConfig(layers=2, width=WIDTH, positions=POSITIONS), vocab_size=size, dropout=0.0, generator=generator
    )
    with torch.no_grad():  # as initialised, vectors differ by a few thousandths: too little to tell poolings apart
        for parameter in made.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return made.eval()


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work") / "metrics.jsonl"
    path.write_text('{"mlm": 6.0, "step": 20, "tokens": 900}\n{"mlm": 5.0, "step": 40, "tokens": 1800}\n')
    return path


@pytest.fixture(scope="module")
def folder(model: UniBert, vocabulary: Path, curve: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "made"
    return export(
        model, vocabulary, out, {"schema": 1, "name": "made"}, lambda m: f"hash {m['model_sha256']}", curve=curve
    )


def ids_of(folder: Path, text: str) -> torch.Tensor:
    """Returns what training reads of a line (1, T), by the `tokenizers` library alone, cut to the positions."""
    ids = tokenizer.load(folder).encode(text).ids
    return torch.tensor([ids if len(ids) <= POSITIONS else [*ids[: POSITIONS - 1], tokenizer.SEP]])


def pooled(model: UniBert, folder: Path) -> np.ndarray:  # type: ignore[type-arg]
    """Returns each text's vector (N, D) as pretraining pools it, a text at a time."""
    none = torch.zeros(0, dtype=torch.long)
    with torch.no_grad():
        rows = [mean_pool(model(ids, none).hidden_BTD, ids) for ids in (ids_of(folder, text) for text in TEXTS)]
    return torch.cat(rows).numpy()


def test_it_opens_in_transformers_and_computes_the_same(model: UniBert, folder: Path) -> None:
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

    reader = AutoTokenizer.from_pretrained(folder)
    batch = reader([lines[0] for lines in world.corpus().values()], padding=True, return_tensors="pt")
    mlm, encoder = AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoModel.from_pretrained(folder).eval()
    everywhere = torch.arange(batch["input_ids"].numel())
    with torch.no_grad():
        ours = model(batch["input_ids"], everywhere)
        torch.testing.assert_close(mlm(**batch).logits.flatten(0, 1), ours.logits_MV)
        torch.testing.assert_close(encoder(**batch).last_hidden_state, ours.hidden_BTD)
    assert mlm.config.hidden_dropout_prob == 0.1, "pretraining goes without, fine-tuning does not"
    assert reader.model_max_length == mlm.config.max_position_embeddings == POSITIONS
    assert reader.mask_token_id == tokenizer.MASK


def test_it_fills_in_masks(model: UniBert, folder: Path) -> None:
    from transformers import pipeline

    text = "the old [MASK] stands near the sea."
    ids = ids_of(folder, text)
    masked = (ids[0] == tokenizer.MASK).nonzero()[:, 0]
    with torch.no_grad():
        shares_V = model(ids, masked).logits_MV[0].softmax(0)
    found = pipeline("fill-mask", model=str(folder), top_k=3)(text)
    assert [row["token"] for row in found] == shares_V.topk(3).indices.tolist()
    assert [row["score"] for row in found] == pytest.approx(shares_V.topk(3).values.tolist())


def test_the_modules_say_mean_over_every_real_token(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    assert [(m["path"], m["type"].rpartition(".")[2]) for m in modules] == [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
    ]
    assert all((folder / module["path"]).is_dir() for module in modules)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert [name for name, value in pooling.items() if value is True and "mode" in name] == ["pooling_mode_mean_tokens"]
    config = json.loads((folder / "config.json").read_text())
    assert pooling["word_embedding_dimension"] == config["hidden_size"] == WIDTH
    transformer = json.loads((folder / "sentence_bert_config.json").read_text())
    assert transformer["max_seq_length"] == config["max_position_embeddings"] == POSITIONS
    assert json.loads((folder / "config_sentence_transformers.json").read_text())["similarity_fn_name"] == "cosine"


def test_what_the_modules_say_is_what_pretraining_pools(model: UniBert, folder: Path) -> None:
    """By transformers alone: truncation to max_seq_length, model_args, the attention mask's mean."""
    from transformers import AutoModel, AutoTokenizer

    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    encoder = AutoModel.from_pretrained(folder, **settings["model_args"]).eval()
    assert encoder.pooler is None, "a random pooler would be made, and warned of"
    batch = AutoTokenizer.from_pretrained(folder)(
        list(TEXTS), padding=True, truncation=True, max_length=settings["max_seq_length"], return_tensors="pt"
    )
    assert batch["input_ids"].shape == (len(TEXTS), POSITIONS)
    mask = batch["attention_mask"].unsqueeze(-1)
    with torch.no_grad():
        vectors = (encoder(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
    np.testing.assert_allclose(vectors.numpy(), pooled(model, folder), atol=2e-5)


def test_sentence_transformers_gives_the_same_vectors(
    model: UniBert, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library = pytest.importorskip("sentence_transformers", reason="not needed to train; install it to check against it")
    opened = library.SentenceTransformer(str(folder), device="cpu")
    assert [type(module).__name__ for module in opened] == ["Transformer", "Pooling"]
    assert (opened.max_seq_length, opened.similarity_fn_name) == (POSITIONS, "cosine")
    assert "MISSING" not in caplog.text
    assert "new one" not in caplog.text
    np.testing.assert_allclose(opened.encode(list(TEXTS)), pooled(model, folder), atol=2e-5)


def test_the_modules_are_no_part_of_the_identity(folder: Path, tmp_path: Path) -> None:
    """A model exported before there were any, and one that lost them, are the same model."""
    manifest = read_manifest(folder)
    assert manifest is not None
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (bare / name).write_bytes((folder / name).read_bytes())
    assert manifest["model_sha256"] == model_sha256(folder) == model_sha256(bare)


def test_the_folder_is_all_there_and_readable_by_others(folder: Path, curve: Path, tmp_path: Path) -> None:
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "unibert.json", "README.md",
        "metrics.jsonl", "curves.png", *sentence_files(width=WIDTH, positions=POSITIONS),
    }  # fmt: skip
    assert {oct(os.stat(folder / name).st_mode & 0o777) for name in files} == {"0o644"}
    assert oct(folder.stat().st_mode & 0o777) == oct((folder / "1_Pooling").stat().st_mode & 0o777) == "0o755"
    assert (folder / "README.md").read_text() == f"hash {model_sha256(folder)}", "the card sees the finished manifest"
    assert (folder / "metrics.jsonl").read_bytes() == curve.read_bytes()
    curves.plot(curve, tmp_path / "again.png")
    assert (folder / "curves.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_the_tokenizer_is_named_as_transformers_4_knows_it(folder: Path, vocabulary: Path) -> None:
    before, after = (json.loads((f / "tokenizer_config.json").read_text()) for f in (vocabulary, folder))
    assert after.pop("tokenizer_class") == "PreTrainedTokenizerFast"
    before.pop("tokenizer_class")
    assert after == before
    assert (folder / "tokenizer.json").read_bytes() == (vocabulary / "tokenizer.json").read_bytes()


def test_an_export_that_fails_leaves_nothing(model: UniBert, vocabulary: Path, curve: Path, tmp_path: Path) -> None:
    def no_card(manifest: dict[str, Any]) -> str:
        raise RuntimeError("no card today")

    with pytest.raises(RuntimeError, match="no card today"):
        export(model, vocabulary, tmp_path / "models" / "out", {}, no_card, curve=curve)
    assert list((tmp_path / "models").iterdir()) == []


def test_what_training_exports_opens_too(trained: Path) -> None:
    from transformers import AutoModelForMaskedLM

    folder = trained / "models" / "first"
    assert {"modules.json", "curves.png"} <= {path.name for path in folder.iterdir()}
    assert "curves.png" in (folder / "README.md").read_text()
    manifest = read_manifest(folder)
    assert manifest is not None
    assert f"`{manifest['model_sha256']}`" in (folder / "README.md").read_text()
    assert AutoModelForMaskedLM.from_pretrained(folder).config.hidden_size == 64
