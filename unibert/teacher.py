"""The teacher: whether it can teach this student, and what it says of a micro-batch.

Legend: B sequences, R rows of T tokens, N = R x T flat tokens as the student has them, M masked positions, K kept
pieces a position, D the teacher's width, V vocabulary.

Two kinds can teach. One of the student's vocabulary reads the student's own token ids, masked as the student sees them,
and can give every signal. Any other encoder reads the text again with its own tokenizer and gives pooled vectors, the
one signal that has neither tokens nor pieces in it. Between vocabularies nothing is mapped, cut or padded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from unibert import foreign, tokenizer
from unibert.config import Distill, ModelConfig
from unibert.errors import UserError
from unibert.logit_cache import SMALLEST, Kept, LogitCache, TopK
from unibert.micro import Micro, pool
from unibert.model import UniBert, autocast
from unibert.tokenizer import PAD

CHUNK_ELEMENTS = 1 << 25  # logits worked on at once in float32, where all would double the peak of memory
# Layers laid out as BERT's, which read the states before them as they are: queries can be made again from outside.
RELATION_TYPES = ("bert", "camembert", "roberta", "xlm-roberta")


class Taught(NamedTuple):
    """What the student is to imitate; every field is None where its signal is not in use.

    `logits_MV` as computed; `topk` at the temperature: log-probabilities (M, K), pieces (M, K), log of the remaining
    mass (M,), at least SMALLEST. `hidden_ND` the last states and `qkv` the last layer's queries, keys and values
    (N, D), meaningless at padding. `pooled_BD` the mean vectors of the text without masks, float32.
    """

    logits_MV: Tensor | None
    topk: TopK | None
    hidden_ND: Tensor | None
    qkv: tuple[Tensor, Tensor, Tensor] | None
    pooled_BD: Tensor | None


class Teacher:
    """A frozen encoder in `distill.teacher`, which is a folder. `width` is D."""

    def __init__(
        self, distill: Distill, *, student_tokenizer: Path, device: str, bf16: bool, cache: LogitCache | None = None
    ) -> None:
        """Raises UserError for a folder that cannot be opened, or that cannot give a signal in use."""
        folder = Path(distill.teacher)
        self.distill, self.device, self.bf16, self.cache = distill, device, bf16, cache
        self.same_vocabulary = _check_vocabulary(distill, folder, student_tokenizer)
        _check_relation(distill, foreign.config_of(folder), folder)
        model, self.base = foreign.open_encoder(folder, head=distill.soft_weight > 0)
        model.to(device).eval().requires_grad_(False)
        self.width = int(self.base.config.hidden_size)
        self._head = getattr(model, "cls", None) or getattr(model, "lm_head", None)
        if distill.soft_weight and self._head is None:
            raise UserError(
                f"teacher {folder}: the head of a {type(model).__name__} is not known here; set soft_weight to 0, or "
                f"take a BERT or a RoBERTa"
            )
        if not self.same_vocabulary:
            self._student_tokenizer = tokenizer.load(student_tokenizer)
            self._tokenizer = foreign.tokenizer_of(folder)
            if self._tokenizer.pad_token_id is None:
                raise UserError(f"the tokenizer of teacher {folder} has no padding token; take another teacher")
            self._limit = min(self._tokenizer.model_max_length, foreign.positions_of(self.base.config))

    @torch.no_grad()
    def teach(self, micro: Micro, number: int) -> Taught:
        """Returns what is said of micro-batch `number` of the run: by the cache, and by the model where it has less."""
        distill = self.distill
        kept = self.cache.get(number, micro.targets_M) if self.cache is not None else None
        topk, pooled_BD = kept if kept is not None else Kept(None, None)
        by_piece = distill.soft_weight > 0 and distill.top_k is not None
        wants_logits = distill.soft_weight > 0 and not (by_piece and topk is not None)
        wants_pooled = distill.sentence_weight > 0 and pooled_BD is None
        logits_MV = hidden_ND = qkv = None
        if wants_logits or distill.hidden_weight or distill.relation_weight:
            before_ND, hidden_ND = self._states(micro, micro.tokens_RT)
            with autocast(self.device, self.bf16):
                if wants_logits:
                    assert self._head is not None
                    logits_MV = self._head(hidden_ND[micro.picked_M])
                if distill.relation_weight:
                    own = self.base.encoder.layer[-1].attention.self
                    qkv = own.query(before_ND), own.key(before_ND), own.value(before_ND)
        if by_piece and logits_MV is not None and distill.top_k is not None:
            topk, logits_MV = best(logits_MV, distill.top_k, distill.temperature), None
        if wants_pooled:
            pooled_BD = self._pooled(micro)
        if self.cache is not None and ((by_piece and wants_logits) or wants_pooled):
            topk, pooled_BD = self.cache.put(number, micro.targets_M, topk, pooled_BD)
        return Taught(
            logits_MV=logits_MV,
            topk=topk if by_piece else None,
            hidden_ND=hidden_ND if distill.hidden_weight else None,
            qkv=qkv,
            pooled_BD=pooled_BD if distill.sentence_weight else None,
        )

    def _states(self, micro: Micro, tokens_RT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the states (N, D) before and after the last layer, of a teacher of the student's vocabulary.

        Packed sequences are laid out in rows of their own, whatever the architecture, and their states back again.
        """
        index_N, longest = None, 0
        if micro.packed:
            sequences, longest = len(micro.lengths_B), int(micro.lengths_B.max())
            # The filling goes to the first place of a row beyond the sequences', which nobody reads.
            column_N = micro.position_RT.flatten() * (micro.sequence_N < sequences)
            index_N = micro.sequence_N * longest + column_N
            tokens = tokens_RT.new_full(((sequences + 1) * longest,), PAD).index_copy(0, index_N, tokens_RT.flatten())
            tokens_RT = tokens.view(-1, longest)[:sequences]
        with autocast(self.device, self.bf16):
            made = self.base(input_ids=tokens_RT, attention_mask=(tokens_RT != PAD).long(), output_hidden_states=True)
        before_ND, after_ND = made.hidden_states[-2].flatten(0, 1), made.last_hidden_state.flatten(0, 1)
        if index_N is not None:
            before_ND, after_ND = (F.pad(x, (0, 0, 0, longest))[index_N] for x in (before_ND, after_ND))
        return before_ND, after_ND

    def _pooled(self, micro: Micro) -> Tensor:
        if self.same_vocabulary:
            return pool(self._states(micro, micro.clean_RT)[1], micro.sequence_N, micro.lengths_B)
        real_N = (micro.sequence_N < len(micro.lengths_B)).cpu()
        ids = torch.split(micro.clean_RT.flatten().cpu()[real_N], micro.lengths_B.tolist())
        texts = self._student_tokenizer.decode_batch([x.tolist() for x in ids], skip_special_tokens=True)
        read = self._tokenizer(texts, padding=True, truncation=True, max_length=self._limit, return_tensors="pt")
        mask_BT = read["attention_mask"].to(self.device)
        with autocast(self.device, self.bf16):
            made = self.base(input_ids=read["input_ids"].to(self.device), attention_mask=mask_BT)
        sums_BD = (made.last_hidden_state.float() * mask_BT.unsqueeze(-1)).sum(1)
        pooled_BD: Tensor = sums_BD / mask_BT.sum(1, keepdim=True).clamp_min(1)
        return pooled_BD


def best(logits_MV: Tensor, top_k: int, temperature: float) -> TopK:
    """Returns the `top_k` largest log-probabilities at a temperature, their pieces, and the log of what is left."""
    vocabulary = logits_MV.shape[1]
    found: list[TopK] = []
    for piece_MV in torch.split(logits_MV, max(1, CHUNK_ELEMENTS // vocabulary)):
        log_MV = torch.log_softmax(piece_MV.float() / temperature, dim=-1)
        values_MK, index_MK = log_MV.topk(min(top_k, vocabulary), dim=-1)
        rest_M = log_MV.scatter_(1, index_MK, float("-inf")).logsumexp(1).clamp_min(SMALLEST)
        found.append((values_MK, index_MK, rest_M))
    values, indices, rests = zip(*found, strict=True)
    return torch.cat(values), torch.cat(indices), torch.cat(rests)


def check(distill: Distill, student: ModelConfig, student_tokenizer: Path) -> None:
    """Raises UserError when the teacher cannot give a signal in use, or its layers cannot start the student.

    It reads the folder's small files alone, no weights, so that nothing is trained in vain.
    """
    folder = Path(distill.teacher)
    config = foreign.config_of(folder)
    same = _check_vocabulary(distill, folder, student_tokenizer)
    positions = foreign.positions_of(config)
    if same and positions < student.positions:
        raise UserError(
            f"teacher {folder} reads {positions} tokens and this student {student.positions}; set positions to "
            f"{positions}, or take another teacher"
        )
    heads = student.width // 64
    _check_relation(distill, config, folder)
    if distill.relation_weight and config.hidden_size % heads:
        raise UserError(
            f"teacher {folder} has width {config.hidden_size}, which the student's {heads} heads do not divide; set "
            f"relation_weight to 0, or take another teacher"
        )
    if not distill.first_layers:
        return
    like = {
        "model_type": "bert",
        "hidden_size": student.width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * student.width,
        "hidden_act": "gelu",
    }
    found = {name: getattr(config, name, None) for name in like}
    other = [f"{name} {found[name]}, not {value}" for name, value in like.items() if found[name] != value]
    if config.num_hidden_layers < student.layers:
        other.append(f"{config.num_hidden_layers} layers, not {student.layers} or more")
    if other:
        raise UserError(f"teacher {folder} cannot start this student: {'; '.join(other)}; set first_layers to false")


def start_from(student: UniBert, teacher: Teacher) -> None:
    """Copies evenly spaced layers of a teacher that passed `check` into the student (DistilBERT: Sanh et al. 2019).

    Word embeddings come along where the vocabulary is the same, positions as far as both have them, the head does not.
    """
    mine, theirs = student.mlm.bert, teacher.base
    own, layers = mine.encoder.layer, theirs.encoder.layer
    for layer, number in zip(own, spread(len(own), len(layers)), strict=True):
        layer.load_state_dict(layers[number].state_dict())
    mine.embeddings.LayerNorm.load_state_dict(theirs.embeddings.LayerNorm.state_dict())
    words = ["word_embeddings"] if teacher.same_vocabulary else []
    with torch.no_grad():
        for name in ("position_embeddings", "token_type_embeddings", *words):
            to: Any = getattr(mine.embeddings, name).weight
            source = getattr(theirs.embeddings, name).weight
            rows = min(len(to), len(source))
            to[:rows].copy_(source[:rows])


def spread(count: int, total: int) -> list[int]:
    """Returns `count` evenly spaced numbers below `total`, both ends included; of 12: 0 2 4 7 9 11, as DistilBERT."""
    return [round(i * (total - 1) / max(1, count - 1)) for i in range(count)]


def _check_vocabulary(distill: Distill, folder: Path, student_tokenizer: Path) -> bool:
    """Returns whether the vocabulary is the student's; UserError when it is not and a signal in use needs that."""
    other = foreign.difference(folder, student_tokenizer)
    if other and distill.needs_vocabulary:
        weights = ", ".join(f"{name}_weight" for name in distill.needs_vocabulary)
        raise UserError(
            f"teacher {folder} has another vocabulary than this run ({other}), which {weights} cannot do with: set "
            f"to 0 and use sentence_weight, which works for any tokenizer, or train with --tokenizer {folder}"
        )
    return other is None


def _check_relation(distill: Distill, config: Any, folder: Path) -> None:
    if distill.relation_weight and config.model_type not in RELATION_TYPES:
        raise UserError(
            f"teacher {folder} is of type {config.model_type!r}, whose queries, keys and values are not known here; "
            f"set relation_weight to 0, or take one of {', '.join(RELATION_TYPES)}"
        )
