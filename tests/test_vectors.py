"""What is read off an encoder: pooled vectors, bits of masked pieces, bytes and surfaces of pieces."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import KINDS, bert, tokenizer_of
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from unibench import engines, probing
from unibench.errors import Unavailable
from unibench.vectors import Reader, open_reader, piece_bytes, surfaces


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    engines.silence()
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def first(trained: Path) -> Reader:
    return open_reader(trained / "models" / "first", untrained=False, device="cpu")


TEXTS = (
    "the old house stands near the sea.",
    "этот дом",
    "高高的大山",
    "red 😀 garden, quiet river and the market",
    "",
)


def test_vectors_are_means_over_a_layers_tokens(first: Reader) -> None:
    tokens = first.tokens(TEXTS)
    for layer in (0, 1):
        vectors_RD = first.vectors(tokens.ids, layer)
        for ids, vector in zip(tokens.ids, vectors_RD, strict=True):
            with torch.no_grad():
                one = first.model.bert(input_ids=torch.from_numpy(ids)[None], output_hidden_states=True)
            torch.testing.assert_close(vector, one.hidden_states[layer][0].mean(0), atol=1e-5, rtol=1e-4)


def test_a_sentence_without_tokens_is_near_nothing(first: Reader) -> None:
    vectors_RD = first.vectors([np.zeros(0, np.int64), np.array([2, 3])], 1)
    assert not vectors_RD[0].any()
    assert vectors_RD[1].any()


def full_bits(model: object, mask: int, ids: np.ndarray, at: Sequence[int]) -> float:
    """The bits of the pieces at `at` when all of them are masked, from the whole (T, V) logits."""
    masked = torch.from_numpy(ids.copy())
    masked[list(at)] = mask
    with torch.no_grad():
        logits_TV: Tensor = model(input_ids=masked[None]).logits[0]  # type: ignore[operator]
    log_p = logits_TV.log_softmax(1)[list(at), torch.from_numpy(ids)[list(at)]]
    return -log_p.sum().item() / math.log(2)


def test_masked_bits_are_those_of_the_whole_logits(first: Reader) -> None:
    tokens = first.tokens(TEXTS)
    bits_R, bytes_R = first.masked_bits(tokens, rate=1.0, seed=0)  # all of them masked: nothing is left to chance
    for ids, special, bits in zip(tokens.ids, tokens.special, bits_R, strict=True):
        assert bits == pytest.approx(full_bits(first.model, 4, ids, np.flatnonzero(~special).tolist()), rel=1e-4)
    assert bytes_R.tolist() == [len(text.replace(" ", "").encode()) for text in TEXTS]
    assert bits_R[-1] == 0


def test_masks_are_drawn_by_the_seed_and_not_by_batches(first: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = first.tokens(TEXTS * 8)
    once = first.masked_bits(tokens, rate=0.15, seed=1)
    monkeypatch.setattr("unibench.vectors.PREDICT_TOKENS", {"cpu": 8})
    again = first.masked_bits(tokens, rate=0.15, seed=1)
    np.testing.assert_allclose(once[0], again[0], rtol=1e-4)
    assert once[1].tolist() == again[1].tolist()
    assert once[1].tolist() != first.masked_bits(tokens, rate=0.15, seed=2)[1].tolist()
    everything = first.masked_bits(tokens, rate=1.0, seed=1)
    assert all(few < whole for few, whole, text in zip(once[0], everything[0], TEXTS * 8, strict=True) if text)


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_other_families_are_read_too(tmp_path: Path, family: str) -> None:
    tokenizer = tokenizer_of("unigram")
    tokenizer = AutoTokenizer.from_pretrained(tokenizer.save_pretrained(tmp_path)[0].rsplit("/", 1)[0])
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    tokenizer.save_pretrained(tmp_path)
    size = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = (
            RobertaForMaskedLM(RobertaConfig(
                **size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                max_position_embeddings=40, type_vocab_size=1,
            )) if family == "roberta" else
            DistilBertForMaskedLM(DistilBertConfig(**size, dim=32, n_layers=2, n_heads=2, hidden_dim=64,
                                                   max_position_embeddings=38))
        )  # fmt: skip
    model.save_pretrained(tmp_path)
    reader = open_reader(tmp_path, untrained=False, device="cpu")
    assert (reader.layers, reader.width, reader.has_head) == (2, 32, True)
    assert probing._shape(tmp_path) == (2, 32, len(tokenizer))
    tokens = reader.tokens(["the river", "a much longer sentence " * 30])
    assert tokens.cut == 1
    assert len(tokens.ids[1]) == 38
    assert reader.vectors(tokens.ids, 2).shape == (2, 32)
    bits_R, _ = reader.masked_bits(tokens, rate=1.0, seed=0)
    at = np.flatnonzero(~tokens.special[0] & (tokens.ids[0] != tokenizer.unk_token_id)).tolist()
    assert bits_R[0] == pytest.approx(full_bits(model.eval(), tokenizer.mask_token_id, tokens.ids[0], at), rel=1e-4)


def test_an_encoder_without_head_or_weights_is_found_out(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("wordpiece")
    for name, model in (("bare", bert(tokenizer)), ("whole", BertForMaskedLM(bert(tokenizer).config))):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    assert not open_reader(tmp_path / "bare", untrained=False, device="cpu").has_head
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    (tmp_path / "whole" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(Unavailable, match="lacks weights of its encoder"):
        open_reader(tmp_path / "whole", untrained=False, device="cpu")
    (tmp_path / "bare" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_reader(tmp_path / "bare", untrained=False, device="cpu")


def test_an_untrained_twin_is_the_same_every_time_and_moves_no_other_stream(trained: Path, first: Reader) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    twins = [open_reader(trained / "models" / "first", untrained=True, device="cpu") for _ in range(2)]
    assert torch.rand(3).equal(expected)
    a, b = (twin.vectors([np.array([2, 300, 3])], 1) for twin in twins)
    assert a.equal(b)
    assert a.shape == (1, first.width)
    assert not a.allclose(first.vectors([np.array([2, 300, 3])], 1))


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_hold_the_bytes_of_their_text(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    for text in ("the river danube flows through vienna", "北京大学在北京市", "река волга"):
        ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"])
        if (ids == tokenizer.unk_token_id).any():
            continue
        found = piece_bytes(tokenizer, ids)
        assert sum(found[int(id)] for id in ids) == len(text.replace(" ", "").encode()), (kind, text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_surface_is_what_is_read(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    pieces = {piece: id for piece, id in tokenizer.get_vocab().items() if id > 4}
    found = dict(zip(pieces, surfaces(tokenizer, np.array(list(pieces.values()))).tolist(), strict=True))
    mark = {"wordpiece": "##", "unigram": "▁"}.get(kind, "Ġ")
    pairs = [(piece, mark + piece) for piece in pieces if mark + piece in pieces]
    assert pairs
    assert all(found[a] == found[b] for a, b in pairs)
    assert all(found[p] == found[p.lower()] for p in pieces if p.lower() in pieces and p.isascii())
    if mark != "Ġ":
        assert len(set(found.values())) == len({p.removeprefix(mark).casefold() for p in pieces})


def test_a_byte_that_looks_like_a_letter_is_none() -> None:
    tokenizer = tokenizer_of("byte-level")
    # "Ð" and "ð" stand for the bytes D0 and F0: halves of characters, not a letter in two cases
    ids = np.array(tokenizer.convert_tokens_to_ids(["Ð", "ð", "Ðº", "ÐĴ", "Ð²"]))
    found = surfaces(tokenizer, ids).tolist()
    assert found[0] != found[1]
    if tokenizer.unk_token_id not in ids:
        assert found[3] == found[4]  # В and в
