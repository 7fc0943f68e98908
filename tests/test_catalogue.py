"""The catalogue's figures, rebuilt from the published configurations, and the architectures it names, fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_encoders import LINES, card_of, examples_of, tokenizer_of

from unibench import models
from unibench.catalogue import CATALOGUE
from unibench.finetune import finetune
from unibench.loop import max_row_tokens
from unibench.metrics import NLI_UNITS
from unibench.store import Recipe
from unibench.weights import shape

BERT = {"num_attention_heads": 12, "num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072}
MINI = {"num_attention_heads": 12, "hidden_size": 384, "intermediate_size": 1536}
XLM_R = {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}
# config.json as published, without what has no bearing on the size
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "mbert": ("Bert", {**BERT, "vocab_size": 119547}),
    "distilmbert": ("DistilBert", {"n_layers": 6, "dim": 768, "hidden_dim": 3072, "vocab_size": 119547}),
    "xlm-r-base": ("XLMRoberta", {**BERT, **XLM_R}),
    "xlm-r-large": (
        "XLMRoberta",
        {
            **XLM_R,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
        },
    ),
    "mminilm-l6": ("XLMRoberta", {**MINI, **XLM_R, "num_hidden_layers": 6}),
    "mminilm-l12": ("Bert", {**MINI, "num_hidden_layers": 12, "vocab_size": 250037}),
    "mdeberta-v3-base": (
        "DebertaV2",
        {
            **BERT,
            "vocab_size": 251000,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "position_buckets": 256,
            "relative_attention": True,
            "share_att_key": True,
            "type_vocab_size": 0,
        },
    ),
    "e5-small": ("Bert", {**MINI, "num_hidden_layers": 12, "vocab_size": 250037}),
    "e5-base": ("XLMRoberta", {**BERT, **XLM_R}),
    "labse": ("Bert", {**BERT, "vocab_size": 501153}),
    "mmbert-small": (
        "ModernBert",
        {
            "hidden_size": 384,
            "intermediate_size": 1152,
            "num_hidden_layers": 22,
            "num_attention_heads": 6,
            "vocab_size": 256000,
            "pad_token_id": 0,
        },
    ),
    "mmbert-base": (
        "ModernBert",
        {
            "hidden_size": 768,
            "intermediate_size": 1152,
            "num_hidden_layers": 22,
            "num_attention_heads": 12,
            "vocab_size": 256000,
            "pad_token_id": 0,
        },
    ),
    "eurobert-210m": ("EuroBert", {**BERT, "num_key_value_heads": 12, "vocab_size": 128256}),
}
# what cards and papers state, in millions: embeddings apart where they do, poolers or not as they like
STATED = {
    "mbert": 177,
    "distilmbert": 134,
    "mminilm-l6": 107,
    "mminilm-l12": 21 + 96,
    "mdeberta-v3-base": 86 + 190,
    "labse": 471,
    "mmbert-small": 140,
    "mmbert-base": 307,
    "eurobert-210m": 210,
}


def built(name: str) -> Any:
    """The encoder on torch's meta device: every tensor's shape, and no memory."""
    family, config = PUBLISHED[name]
    with torch.device("meta"):
        return getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**config))


@pytest.mark.parametrize("name", CATALOGUE)
def test_figures_are_those_of_the_published_configuration(name: str) -> None:
    entry, encoder = CATALOGUE[name], built(name)
    sizes = {key: p.numel() for key, p in encoder.named_parameters() if not key.startswith("pooler.")}
    vectors = encoder.get_input_embeddings()
    before = sum(size for key, size in sizes.items() if key.startswith(("embeddings.", "embed_tokens.")))
    assert entry.parameters == sum(sizes.values())
    assert entry.parameters_without_embeddings == sum(sizes.values()) - before
    assert (entry.vocabulary, entry.width) == tuple(vectors.weight.shape)
    assert entry.layers == encoder.config.num_hidden_layers


@pytest.mark.parametrize("name", STATED)
def test_figures_are_near_those_that_its_authors_state(name: str) -> None:
    assert CATALOGUE[name].parameters / 1e6 == pytest.approx(STATED[name], rel=0.015)


def test_every_entry_names_its_source_and_a_commit_where_it_needs_one() -> None:
    assert set(PUBLISHED) == set(CATALOGUE)
    for name, entry in CATALOGUE.items():
        assert entry.source.startswith("https://"), name
        assert entry.hub.count("/") == 1, name
        assert entry.revision is None or (len(entry.revision) == 40 and int(entry.revision, 16)), name
    assert len({entry.hub for entry in CATALOGUE.values()}) == len(CATALOGUE)


TINY = {"num_attention_heads": 2, "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64}
LONGEST = {"Bert": 64, "DistilBert": 64, "XLMRoberta": 64, "DebertaV2": 64, "ModernBert": 64, "EuroBert": 64}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "Bert": ("wordpiece", {**TINY, "max_position_embeddings": 64}),
    # fast tokenizers of no particular class name token_type_ids, and this encoder takes none
    "DistilBert": (
        "wordpiece",
        {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64, "max_position_embeddings": 64},
    ),
    "XLMRoberta": ("unigram", {**TINY, "max_position_embeddings": 66, "type_vocab_size": 1}),
    "DebertaV2": (
        "unigram",
        {
            **TINY,
            **{key: PUBLISHED["mdeberta-v3-base"][1][key] for key in ("norm_rel_ebd", "pos_att_type", "share_att_key")},
            "position_biased_input": False,
            "position_buckets": 16,
            "relative_attention": True,
            "max_position_embeddings": 64,
            "type_vocab_size": 0,
        },
    ),
    "ModernBert": ("byte-level", {**TINY, "max_position_embeddings": 64, "local_attention": 8}),
    "EuroBert": ("byte-level", {**TINY, "num_key_value_heads": 2, "max_position_embeddings": 64}),
}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A tiny encoder of one architecture with a tokenizer, as save_pretrained writes them."""
    kind, config = SMALL[request.param]
    tokenizer = tokenizer_of(kind)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "cls", "sep")}
    made = getattr(transformers, f"{request.param}Config")(
        vocab_size=len(tokenizer), **config, **{key: value for key, value in ids.items() if value is not None}
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        getattr(transformers, f"{request.param}Model")(made).save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("folder", SMALL, indirect=True)
def test_its_size_is_read_without_loading_it(folder: Path) -> None:
    _, encoder = models.load(models.find(str(folder), folder))
    sizes = {key: p.numel() for key, p in encoder.named_parameters() if not key.startswith("pooler.")}
    before = sum(size for key, size in sizes.items() if key.startswith(("embeddings.", "embed_tokens.")))
    assert shape(folder) == {
        "layers": 2,
        "width": 32,
        "vocabulary": encoder.get_input_embeddings().num_embeddings,
        "parameters": sum(sizes.values()),
        "parameters_without_embeddings": sum(sizes.values()) - before,
    }


@pytest.mark.parametrize("folder", SMALL, indirect=True)
def test_every_architecture_is_fine_tuned_and_predicts(folder: Path, request: pytest.FixtureRequest) -> None:
    [encoder] = models.pick([str(folder)], folder)
    card = card_of("nli", "accuracy", ("yes", "no"))
    lines = [LINES[i % len(LINES)] for i in range(13)]
    rows = [({"premise": lines[i], "hypothesis": lines[i + 1][: 4 + 5 * i]}, i % 2) for i in range(12)]
    rows.append(({"premise": LINES[0] * 9, "hypothesis": LINES[1]}, 0))  # longer than any of them has positions for
    examples = examples_of(rows)
    recipe = Recipe(learning_rates=(1e-3,), epochs=1, batch_size=5, max_tokens=128)
    tokenizer, module = models.load(encoder)
    assert max_row_tokens(module, 128) == LONGEST[type(module).__name__.removesuffix("Model")]
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    tuned = finetune(lambda: (tokenizer, module), card, examples, [], {"en": examples}, recipe, seed=1)
    assert tuned.unit_names == NLI_UNITS
    assert tuned.units["en"].shape == (13, 2)
    assert np.isfinite(tuned.units["en"]).all()
    [trial] = tuned.trials
    assert np.isfinite(trial.losses).all()
    assert len(trial.losses) == 1
    assert tuned.counts["en"]["truncated"] >= 1
    moved = {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
    unmoved = {name for name in before if name not in moved and not name.startswith("pooler.")}
    assert not unmoved, "these weights were not trained"


@pytest.mark.parametrize("folder", SMALL, indirect=True)
def test_padding_changes_no_vector(folder: Path) -> None:
    tokenizer, encoder = models.load(models.find(str(folder), folder))
    names = ("input_ids", "attention_mask")
    short, padded = (
        {name: value for name, value in tokenizer(texts, padding=True, return_tensors="pt").items() if name in names}
        for texts in ([LINES[6]], [LINES[6], LINES[1][:50]])
    )
    length = short["input_ids"].shape[1]
    assert padded["input_ids"].shape[1] > length
    with torch.inference_mode():
        alone = encoder.eval()(**short).last_hidden_state[0]
        beside = encoder(**padded).last_hidden_state[0, :length]
    assert torch.allclose(alone, beside, atol=1e-5)
