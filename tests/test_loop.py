"""Encoders of every build are given rows that they have positions for, and no longer ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import bert, examples_of, roberta, tokenizer_of
from torch import nn
from toy_tasks import NLI
from transformers import (
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    EuroBertConfig,
    EuroBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from unibench.finetune import finetune
from unibench.loop import max_row_tokens
from unibench.store import Recipe

TOKENIZER = tokenizer_of("byte-level")
POSITIONS = 40
SMALL: dict[str, Any] = {
    "vocab_size": len(TOKENIZER), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": POSITIONS, "pad_token_id": TOKENIZER.pad_token_id,
    "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2, "mask_token_id": 3,
}  # fmt: skip
RELATIVE: dict[str, Any] = {
    "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0,
}  # fmt: skip

# what it is -> an encoder of it, and its longest row: padding has id 1, and RoBERTa and its kin count from behind it
BUILDS: dict[str, tuple[Any, int]] = {
    "BERT: a table": (lambda: bert(TOKENIZER, positions=POSITIONS), POSITIONS),
    "RoBERTa: a table with an offset": (lambda: roberta(TOKENIZER, positions=POSITIONS), POSITIONS - 2),
    "XLM-R": (lambda: XLMRobertaModel(XLMRobertaConfig(**SMALL)), POSITIONS - 2),
    "MPNet: a table with an offset and relative buckets": (lambda: MPNetModel(MPNetConfig(**SMALL)), POSITIONS - 2),
    "DistilBERT: other names": (
        lambda: DistilBertModel(
            DistilBertConfig(
                vocab_size=len(TOKENIZER), dim=32, n_layers=1, n_heads=2, hidden_dim=64,
                max_position_embeddings=POSITIONS, pad_token_id=TOKENIZER.pad_token_id,
            )
        ),
        POSITIONS,
    ),
    "ModernBERT: rotary": (lambda: ModernBertModel(ModernBertConfig(**SMALL)), POSITIONS),
    "EuroBERT: rotary": (lambda: EuroBertModel(EuroBertConfig(**SMALL, num_key_value_heads=2)), POSITIONS),
    "DeBERTa: relative alone": (
        lambda: DebertaV2Model(DebertaV2Config(**SMALL, **RELATIVE, position_biased_input=False)), POSITIONS,
    ),
    "DeBERTa: relative and a table": (
        lambda: DebertaV2Model(DebertaV2Config(**SMALL, **RELATIVE, position_biased_input=True)), POSITIONS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("build", BUILDS)
def test_a_row_is_as_long_as_the_encoder_has_positions_and_is_trained_on(build: str) -> None:
    made, longest = BUILDS[build]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = made()
    assert max_row_tokens(encoder, 384) == longest
    assert max_row_tokens(encoder, 16) == 16
    lengths: list[int] = []
    encoder.register_forward_pre_hook(
        lambda module, args, given: lengths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    long = examples_of(
        [({"premise": "river Danube " * (1 + 30 * (i % 2)), "hypothesis": "Anna"}, i % 3) for i in range(6)]
    )
    recipe = Recipe(learning_rates=(1e-3,), epochs=1, batch_size=6, max_tokens=384)
    found = finetune(lambda: (TOKENIZER, encoder), NLI, long, [], {"en": long}, recipe, 0)
    assert max(lengths) == longest
    assert found.counts["en"]["truncated"] == 3
    assert np.isfinite(found.trials[0].losses).all()


@pytest.mark.parametrize("build", [name for name in BUILDS if "table" in name or name == "XLM-R"])
def test_one_token_more_has_no_position_in_a_table(build: str) -> None:
    made, longest = BUILDS[build]
    ids_BT = torch.full((1, longest + 1), 7)
    with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
        made().eval()(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT))


@pytest.mark.parametrize("build", BUILDS)
def test_padding_changes_nothing_whatever_the_build(build: str) -> None:
    made, _ = BUILDS[build]
    encoder: nn.Module = made().eval()
    ids_BT = torch.tensor([[0, 5, 9, 2, 1, 1, 1, 1], [0, 8, 7, 6, 5, 9, 11, 2]])
    mask_BT = (ids_BT != 1).long()
    with torch.no_grad():
        together = encoder(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state[0, :4]
        alone = encoder(input_ids=ids_BT[:1, :4], attention_mask=mask_BT[:1, :4]).last_hidden_state[0]
    assert torch.allclose(together, alone, atol=1e-5)
