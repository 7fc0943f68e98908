"""A faster forward pass for fine-tuning and inference on a CPU, put into an encoder of transformers in place.

Legend: B sequences, T tokens, D width.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from unibert import fused

BUILT_AS_BERT = ("BertModel", "RobertaModel", "XLMRobertaModel")


def speed_up(encoder: Any) -> Any:
    """Returns the encoder, whose calls on a CPU now take the fused pass; parameters and state stay what they were.

    Equal to transformers' own pass up to rounding, and in dropout up to the random numbers. Weights are float32 (bf16
    comes from autocast). An encoder that is not built as BERT is comes back untouched.
    """
    config = encoder.config
    if (
        type(encoder).__name__ in BUILT_AS_BERT
        and config.hidden_act == "gelu"
        and not getattr(config, "is_decoder", False)
    ):
        encoder.forward = FusedForward(encoder)
    return encoder


class FusedForward:
    """Stands in for the encoder's `forward`; whatever it was not made for goes to the original.

    It holds the encoder weakly: in a cycle, an encoder that is done with would stand in memory beside the next one.
    """

    def __init__(self, encoder: Any) -> None:
        self.encoder = weakref.ref(encoder)
        self.layers: dict[torch.dtype, list[fused.Layer]] = {}

    def __call__(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **other: Any,
    ) -> Any:
        """Returns what the encoder's own forward does, without its pooler's output."""
        encoder: Any = self.encoder()
        own = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        if other or input_ids is None or input_ids.is_cuda or (attention_mask is not None and attention_mask.ndim != 2):
            given = {name: value for name, value in own.items() if value is not None}
            return type(encoder).forward(encoder, **given, **other)
        from transformers.modeling_outputs import BaseModelOutput

        state_BTD = encoder.embeddings(input_ids=input_ids, token_type_ids=token_type_ids).float()
        B, T, D = state_BTD.shape
        padding_BT = None if attention_mask is None or bool(attention_mask.all()) else attention_mask == 0
        rates = {}
        if encoder.training:
            rates["attention_drop"] = float(encoder.config.attention_probs_dropout_prob)
            rates["hidden_drop"] = float(encoder.config.hidden_dropout_prob)
        state_ND = state_BTD.view(B * T, D)
        layers = self._layers(encoder)
        with torch.autocast("cpu", enabled=False):  # the precision is the layers' own
            for layer in layers:
                state_ND = fused.through(layer, state_ND, (B, T), padding_BT, **rates)
        return BaseModelOutput(last_hidden_state=state_ND.view(B, T, D))

    def _layers(self, encoder: Any) -> list[fused.Layer]:
        """The layers in the precision that autocast asks for, their copies of the weights fresh."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        if dtype not in self.layers:
            with torch.inference_mode(mode=False):  # what is made in inference mode could not be trained with later
                self.layers[dtype] = fused.layers_of(encoder, dtype)
        for layer in self.layers[dtype]:
            for dense in layer.dense:
                dense.refresh()
        return self.layers[dtype]
