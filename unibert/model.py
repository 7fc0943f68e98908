"""The encoder (transformers' BERT) and its masked-LM head, evaluated on masked positions only.

Legend: B sequences, T tokens, M masked positions, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from unibert import fused, fused_loss, packed
from unibert.config import ModelConfig
from unibert.micro import Micro
from unibert.tokenizer import PAD

FINETUNING_DROPOUT = 0.1


class Outputs(NamedTuple):
    """Logits (M, V) in float32 at the masked positions; last hidden states (B, T, D)."""

    logits_MV: Tensor
    hidden_BTD: Tensor


class States(NamedTuple):
    """What a training pass makes: the summed masked-LM loss; states (N, D) of the embeddings and of every layer.

    `logits_MV`, as computed, where they were asked for.
    """

    mlm: Tensor
    layers: list[Tensor]
    logits_MV: Tensor | None


class UniBert(nn.Module):
    """A `BertForMaskedLM` whose forward never makes the (B, T, V) logits: 85% of them would be thrown away.

    `language` is what the head is told of the language it predicts, added to its input; None: nothing.
    """

    def __init__(self, mlm: Any) -> None:
        super().__init__()
        self.mlm = mlm
        self.language: nn.Embedding | None = None
        self._weights: fused.Weights | None = None
        self._layers = _layers  # or what it was compiled to

    def forward(self, tokens_BT: Tensor, picked_M: Tensor, language_B: Tensor | None = None) -> Outputs:
        """Returns logits at the flat positions `picked_M` and every hidden state; [PAD] is attended to by none."""
        hidden_BTD = self.mlm.bert(input_ids=tokens_BT, attention_mask=tokens_BT != PAD).last_hidden_state
        row_M = picked_M // tokens_BT.shape[1]
        language_M = language_B[row_M] if language_B is not None else None
        logits_MV = self.mlm.cls(self._told(hidden_BTD.flatten(0, 1)[picked_M], language_M))
        return Outputs(logits_MV.float(), hidden_BTD)

    def run(self, micro: Micro, *, bf16: bool, logits: bool = False) -> States:
        """Returns a training pass over a micro-batch, in the way that is fastest where it lies.

        On a CPU without dropout that is `fused`; elsewhere transformers' modules, packed rows with `packed` attention.
        """
        language_M = None
        if self.language is not None:
            language_M = micro.language_B[micro.sequence_N[micro.picked_M]]
        dropout = self.training and self.mlm.config.hidden_dropout_prob > 0
        if micro.packed or micro.tokens_RT.is_cuda or dropout:
            with autocast(str(micro.tokens_RT.device), bf16):
                layers = self._modules_pass(micro)
                logits_MV = self.mlm.cls(self._told(layers[-1][micro.picked_M], language_M))
            return States(
                fused_loss.cross_entropy_sum(logits_MV, micro.targets_M), layers, logits_MV if logits else None
            )
        dtype = torch.bfloat16 if bf16 else torch.float32
        if self._weights is None or self._weights.dtype != dtype:
            self._weights = fused.Weights(self.mlm, dtype)
        self._weights.refresh()
        padding_BT = micro.clean_RT == PAD
        uneven = bool(padding_BT.any())
        layers = fused.encode(self.mlm, self._weights, micro.tokens_RT, padding_BT if uneven else None)
        picked_MD = self._told(layers[-1][micro.picked_M], language_M)
        if not logits:
            return States(fused_loss.head_loss(self.mlm, self._weights, picked_MD, micro.targets_M), layers, None)
        logits_MV = fused_loss.logits(self.mlm, self._weights, picked_MD)
        return States(fused_loss.cross_entropy_sum(logits_MV, micro.targets_M), layers, logits_MV)

    def _modules_pass(self, micro: Micro) -> list[Tensor]:
        if micro.spans is not None:
            ends = packed.bounds(micro.spans)
            longest = self.mlm.config.max_position_embeddings
            layers = self._layers(self.mlm.bert, micro.tokens_RT, micro.position_RT, ends, longest)
        else:
            real_BT = micro.clean_RT != PAD
            found = self.mlm.bert(input_ids=micro.tokens_RT, attention_mask=real_BT, output_hidden_states=True)
            layers = found.hidden_states
        return [state.flatten(0, 1) for state in layers]

    def _told(self, picked_MD: Tensor, language_M: Tensor | None) -> Tensor:
        if self.language is None or language_M is None:
            return picked_MD
        told: Tensor = self.language(language_M)
        return picked_MD + told

    def tell_languages(self, languages: int) -> None:
        """Gives the head a vector for each language, zero at first."""
        self.language = nn.Embedding(languages, self.mlm.config.hidden_size)
        nn.init.zeros_(self.language.weight)

    def forget_languages(self, shares_L: Tensor) -> None:
        """Folds the average of what the head is told into its bias, so that the export is plain BERT."""
        if self.language is None:
            return
        dense = self.mlm.cls.predictions.transform.dense
        with torch.no_grad():
            average_D = shares_L.to(self.language.weight) @ self.language.weight
            dense.bias.add_(dense.weight @ average_D)
        self.language = None

    def compile(self, *, retained: bool) -> None:
        """Compiles the encoder for passes over packed rows; `retained`: each is differentiated more than once."""
        import torch._functorch.config as functorch

        if retained:
            functorch.donated_buffer = False  # a second backward pass needs the buffers of the first
        torch._dynamo.config.suppress_errors = True  # what cannot be compiled runs as it is
        self._layers = torch.compile(_layers)

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

    def pack(self) -> UniBert:
        """Gives the encoder the attention of packed rows; padded ones it still reads. Returns it."""
        packed.register()
        self.mlm.set_attn_implementation(packed.NAME)
        return self

    def shared_parameters(self) -> list[nn.Parameter]:
        """The encoder's parameters, embeddings and LayerNorms included: those an adversary's gradient reaches."""
        return [p for p in self.mlm.bert.parameters() if p.requires_grad]


def _layers(bert: Any, tokens_RT: Tensor, position_RT: Tensor, bounds: Tensor, longest: int) -> list[Tensor]:
    """Returns the states of packed rows. (transformers collects them by hooks, at which a compiler stops.)"""
    states = [bert.embeddings(input_ids=tokens_RT, position_ids=position_RT)]
    for layer in bert.encoder.layer:
        states.append(layer(states[-1], None, bounds=bounds, longest=longest))
    return states


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
