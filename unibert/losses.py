"""One forward pass that returns every loss of a micro-batch: what is differentiated, summed over processes, and logged.

Every loss is a sum over its units (masked positions, real tokens or sequences); the trainer divides by the step's
totals, so that neither micro-batches nor processes change what a step means.

Legend: N flat tokens, M masked positions, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unibert import objectives
from unibert.config import TrainConfig
from unibert.micro import Micro, Totals, pool
from unibert.model import States, UniBert, autocast
from unibert.teacher import Taught

UNITS = {"mlm": "masked", "soft": "masked", "hidden": "tokens", "relation": "tokens", "sentence": "sequences"}


class Losses(nn.Module):
    """The student, and the map from its width to its teacher's, which only training needs."""

    def __init__(self, model: UniBert, config: TrainConfig, *, teacher_width: int | None) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.projection: nn.Linear | None = None
        mapped = config.distill is not None and config.distill.hidden_weight > 0
        if mapped and teacher_width is not None and teacher_width != config.model.width:
            self.projection = nn.Linear(config.model.width, teacher_width, bias=False)
            generator = torch.Generator().manual_seed(config.seed)
            nn.init.orthogonal_(self.projection.weight, generator=generator)

    def forward(self, micro: Micro, taught: Taught | None, *, bf16: bool) -> tuple[dict[str, Tensor], States]:
        """Returns summed losses by name, and the states that an adversary reads."""
        soft = taught is not None and (taught.topk is not None or taught.logits_MV is not None)
        states = self.model.run(micro, bf16=bf16, logits=soft)
        sums = {"mlm": states.mlm}
        if taught is not None:
            sums |= self._distill(states, micro, taught, bf16)
        return sums, states

    def total(self, sums: dict[str, Tensor], totals: Totals) -> Tensor:
        """Returns the weighted sum of the means: what is minimised."""
        distill = self.config.distill
        terms = [
            value * ((1.0 if name == "mlm" else getattr(distill, f"{name}_weight")) / getattr(totals, UNITS[name]))
            for name, value in sums.items()
        ]
        return torch.stack(terms).sum()

    def _distill(self, states: States, micro: Micro, taught: Taught, bf16: bool) -> dict[str, Tensor]:
        distill = self.config.distill
        assert distill is not None
        sums: dict[str, Tensor] = {}
        if states.logits_MV is None:
            pass
        elif taught.topk is not None:
            sums["soft"] = objectives.soft_target_topk_loss(states.logits_MV, *taught.topk, distill.temperature)
        elif taught.logits_MV is not None:
            sums["soft"] = objectives.soft_target_loss(states.logits_MV, taught.logits_MV, distill.temperature)
        if taught.hidden_ND is not None:
            hidden_ND = states.layers[-1]
            if self.projection is not None:
                hidden_ND = self.projection(hidden_ND.float())
            real_N = micro.sequence_N < len(micro.lengths_B)
            sums["hidden"] = objectives.hidden_cosine_loss(hidden_ND, taught.hidden_ND, real_N)
        if taught.qkv is not None:
            own = self.model.mlm.bert.encoder.layer[-1].attention.self
            with autocast(str(micro.tokens_RT.device), bf16):
                q, k, v = (linear(states.layers[-2]) for linear in (own.query, own.key, own.value))
            sums["relation"] = objectives.relation_loss((q, k, v), taught.qkv, micro, heads=own.num_attention_heads)
        if taught.pooled_BD is not None:
            pooled_BD = pool(states.layers[-1], micro.sequence_N, micro.lengths_B)
            sums["sentence"] = objectives.sentence_relation_loss(pooled_BD, taught.pooled_BD)
        return sums
