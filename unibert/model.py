"""The encoder (transformers' BERT) and its masked-LM head, evaluated on masked positions only.

Legend: B sequences, T tokens, M masked positions, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from unibert.config import ModelConfig
from unibert.tokenizer import PAD

FINETUNING_DROPOUT = 0.1


class Outputs(NamedTuple):
    """Logits (M, V) in float32 at the masked positions; last hidden states (B, T, D)."""

    logits_MV: Tensor
    hidden_BTD: Tensor


class UniBert(nn.Module):
    """A `BertForMaskedLM` whose forward never makes the (B, T, V) logits: 85% of them would be thrown away."""

    def __init__(self, mlm: Any) -> None:
        super().__init__()
        self.mlm = mlm

    def forward(self, tokens_BT: Tensor, picked_M: Tensor) -> Outputs:
        """Returns logits at the flat positions `picked_M` and every hidden state; [PAD] is attended to by none."""
        hidden_BTD = self.mlm.bert(input_ids=tokens_BT, attention_mask=tokens_BT != PAD).last_hidden_state
        logits_MV = self.mlm.cls(hidden_BTD.flatten(0, 1)[picked_M])
        return Outputs(logits_MV.float(), hidden_BTD)

    def start_from(self, frequency_V: Tensor) -> None:
        """Sets the head's bias to log piece frequencies, so that training starts at the unigram loss.

        Adam moves a bias by at most the learning rate a step, and rare pieces are ten nats apart from frequent ones:
        from zero, the first thousand steps went into learning frequencies.
        """
        with torch.no_grad():
            self.mlm.cls.predictions.bias.copy_(frequency_V.log())

    def place(self, device: str) -> UniBert:
        """Moves the model to a device, with the attention that is fastest there; returns it.

        On a CPU torch's fused attention loses to plain matrix products: its backward pass took a third of a training
        step of the smallest size (2,048 tokens, bf16), which took 73 to 83 ms with it and 54 ms without.
        """
        if device.startswith("cpu"):
            self.mlm.set_attn_implementation("eager")
        return self.to(device)

    def shared_parameters(self) -> list[nn.Parameter]:
        """The encoder's parameters, embeddings and LayerNorms included: those an adversary's gradient reaches."""
        return [p for p in self.mlm.bert.parameters() if p.requires_grad]


def new(config: ModelConfig, *, vocab_size: int, dropout: float, generator: torch.Generator) -> UniBert:
    """Returns a freshly initialised model; the same generator state gives the same weights."""
    from transformers import BertConfig, BertForMaskedLM

    bert = BertConfig(
        vocab_size=vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.width // 64,
        intermediate_size=4 * config.width,
        max_position_embeddings=config.positions,
        type_vocab_size=1,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=PAD,
    )
    # transformers draws from the global generator; borrow it, so that nobody else's stream moves.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return UniBert(BertForMaskedLM(bert))


def load(folder: str) -> UniBert:
    """Returns the masked-LM encoder stored in a folder (a teacher, say), from safetensors and nothing else."""
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(
        folder, trust_remote_code=False, use_safetensors=True, local_files_only=True
    )
    if not hasattr(model, "bert") or not hasattr(model, "cls"):
        raise ValueError(f"{folder} holds a {type(model).__name__}; expected a BERT-style masked-LM encoder")
    return UniBert(model)


def autocast(device: str, bf16: bool) -> torch.autocast:
    """Returns the context in which forward passes run: bf16 matrix products where wanted, fp32 otherwise."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bf16)


def mean_pool(hidden_BTD: Tensor, tokens_BT: Tensor) -> Tensor:
    """Returns the mean over real tokens, [CLS] and [SEP] included, as float32 (B, D), as sentence-transformers does."""
    mask_BT1 = (tokens_BT != PAD).unsqueeze(-1).float()
    return (hidden_BTD.float() * mask_BT1).sum(1) / mask_BT1.sum(1)


def parameter_counts(model: UniBert) -> dict[str, int]:
    """Returns the encoder's parameters, with and without its embeddings (the head is not counted)."""
    bert = model.mlm.bert
    total = sum(p.numel() for p in bert.parameters())
    embeddings = sum(p.numel() for p in cast(nn.Module, bert.embeddings).parameters())
    return {"parameters": total, "parameters_without_embeddings": total - embeddings}
