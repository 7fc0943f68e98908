"""A masked-LM encoder, read: sentences -> vectors of a layer, and what it costs in bits to fill in masked pieces.

Any encoder that `AutoModelForMaskedLM` opens, with any fast tokenizer.

Legend: R sentences, B of one batch, T tokens, D width, M masked positions, V vocabulary.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from unibench.adapters.rows import Rows, collate, prediction_batches, tokenise
from unibench.errors import Unavailable
from unibench.loop import PREDICT_TOKENS, max_row_tokens

MAX_TOKENS = 256  # of a sentence; the longest of FLORES+ has some 150 in a vocabulary that suits its language
HEADS = ("cls", "lm_head")  # where transformers keeps a masked-LM head that takes hidden states of any shape
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
# What stands for each byte in a byte-level vocabulary (Radford et al. 2019): itself where it prints, else U+0100 on.
PRINTED = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
UNPRINTED = [byte for byte in range(256) if byte not in PRINTED]
BYTE_OF = {chr(byte): byte for byte in PRINTED} | {chr(256 + n): byte for n, byte in enumerate(UNPRINTED)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """Token ids of each sentence with special tokens, which of them are special, and how many sentences were cut."""

    ids: list[NDArray[np.int64]]
    special: list[NDArray[np.bool_]]
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """An encoder and its tokenizer. `has_head` False: its files hold no masked-LM head, so it predicts nothing."""

    tokenizer: Any
    model: Any
    has_head: bool
    device: str

    @property
    def layers(self) -> int:
        """How many layers it has; vectors can be read after any of them, 0 being the token embeddings."""
        return int(self.model.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """The width of its vectors."""
        return int(self.model.config.hidden_size)

    def tokens(self, texts: Sequence[str]) -> Sentences:
        """Returns the texts as tokens, cut to `MAX_TOKENS` or the encoder's positions, whichever is fewer."""
        limit = max_row_tokens(self.model, MAX_TOKENS)
        windows = list(tokenise(self.tokenizer, texts, max_tokens=limit))
        first = [found[0] if found else None for found in windows]
        return Sentences(
            ids=[np.array(e.ids if e else [], np.int64) for e in first],
            special=[np.array(e.special_tokens_mask if e else [], bool) for e in first],
            cut=sum(len(found) > 1 for found in windows),
        )

    @torch.no_grad()
    def vectors(self, sentences: Sequence[NDArray[np.int64]], layer: int) -> Tensor:
        """Returns mean-pooled vectors (R, D) after `layer` as float32 on the CPU, special tokens included.

        A sentence without a single token has the zero vector, which is near nothing.
        """
        out_RD = torch.zeros(len(sentences), self.width)
        rows = self._rows(sentences)
        for chosen_B in _batches(rows, self.device):
            batch = collate(rows, chosen_B, self.device)
            hidden_BTD = self.model.base_model(**batch, output_hidden_states=True).hidden_states[layer].float()
            real_BT1 = batch["attention_mask"].unsqueeze(-1).float()
            pooled_BD = (hidden_BTD * real_BT1).sum(1) / real_BT1.sum(1)
            out_RD[torch.from_numpy(chosen_B)] = pooled_BD.cpu()
        return out_RD

    @torch.no_grad()
    def masked_bits(
        self, sentences: Sentences, *, rate: float, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns for each sentence (R,) the bits its masked pieces cost together, and the bytes these pieces hold.

        `rate` of a sentence's tokens, at least one, become [MASK] at once, drawn by `seed` in the order of sentences.
        Their summed bits are a masked-LM loss and no likelihood: each piece is predicted beside the words left standing
        and independently of the other masked ones, so the sum is no code length of the text. Bytes are those of the
        pieces' characters, without marks of word boundaries, so that vocabularies share a unit; a vocabulary of longer
        pieces still has more to guess at a time. Unknown pieces are special tokens and never masked.
        """
        rng = np.random.default_rng(seed)
        ordinary = [np.flatnonzero(~special) for special in sentences.special]
        unknown = self.tokenizer.unk_token_id
        ordinary = [at[ids[at] != unknown] for at, ids in zip(ordinary, sentences.ids, strict=True)]
        counts = [max(1, round(rate * len(at))) if len(at) else 0 for at in ordinary]
        picked = [np.sort(rng.permutation(at)[:count]) for at, count in zip(ordinary, counts, strict=True)]
        corrupted = [ids.copy() for ids in sentences.ids]
        for ids, at in zip(corrupted, picked, strict=True):
            ids[at] = self.tokenizer.mask_token_id
        targets = [ids[at] for ids, at in zip(sentences.ids, picked, strict=True)]
        bytes_V = piece_bytes(self.tokenizer, np.unique(np.concatenate([np.zeros(0, np.int64), *targets])))
        bits_R = np.zeros(len(targets))
        rows = self._rows(corrupted)
        for chosen_B in _batches(rows, self.device):
            batch = collate(rows, chosen_B, self.device)
            T = batch["input_ids"].shape[1]
            flat_M = torch.from_numpy(np.concatenate([n * T + picked[row] for n, row in enumerate(chosen_B)]))
            target_M = torch.from_numpy(np.concatenate([targets[row] for row in chosen_B]))
            loss_M = F.cross_entropy(self._logits(batch, flat_M), target_M.to(self.device), reduction="none")
            owner_M = np.repeat(chosen_B, [len(picked[row]) for row in chosen_B])
            np.add.at(bits_R, owner_M, loss_M.double().cpu().numpy() / math.log(2))
        return bits_R, np.array([sum(bytes_V[int(piece)] for piece in target) for target in targets], np.float64)

    def _logits(self, batch: dict[str, Tensor], flat_M: Tensor) -> Tensor:
        """Returns logits (M, V) in float32 at flat positions; makes all of (B, T, V) only where it knows no better."""
        flat_M = flat_M.to(self.device)
        head = next((getattr(self.model, name) for name in HEADS if hasattr(self.model, name)), None)
        if head is None:
            logits_MV: Tensor = self.model(**batch).logits.flatten(0, 1)[flat_M]
        else:
            hidden_BTD = self.model.base_model(**batch).last_hidden_state
            logits_MV = head(hidden_BTD.flatten(0, 1)[flat_M])
        return logits_MV.float()

    def _rows(self, sentences: Sequence[NDArray[np.int64]]) -> Rows:
        pad_id = self.tokenizer.pad_token_id or 0
        flat_S = np.concatenate([np.zeros(0, np.int64), *sentences])
        return Rows(
            starts=np.cumsum([0, *map(len, sentences)], dtype=np.int64),
            columns={"input_ids": (flat_S, pad_id)},
            example=np.arange(len(sentences)),
        )


def open_reader(folder: Path, *, untrained: bool, device: str, seed: int = 0) -> Reader:
    """Returns the encoder in `folder`, or with `untrained` one of its shape and vocabulary with fresh weights.

    Raises Unavailable where the files cannot be opened. Safetensors only; no code from the folder runs.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, use_fast=True)
        if untrained:
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
            # transformers draws from the global generator; borrow it, so that nobody else's stream moves.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = AutoModelForMaskedLM.from_config(config, trust_remote_code=False)
            missing: Sequence[str] = ()
        else:
            model, loading = AutoModelForMaskedLM.from_pretrained(
                str(folder), trust_remote_code=False, use_safetensors=True, local_files_only=True,
                output_loading_info=True,
            )  # fmt: skip
            missing = sorted(loading["missing_keys"])
    except (OSError, ValueError, ImportError, KeyError, SafetensorError) as error:
        raise Unavailable(f"{folder} cannot be opened ({str(error).splitlines()[0]})") from None
    prefix = f"{model.base_model_prefix}."
    if any(name.startswith(prefix) and ".pooler." not in name for name in missing):
        raise Unavailable(f"{folder} lacks weights of its encoder ({missing[0]}); fetch it again")
    has_head = not missing and tokenizer.mask_token_id is not None
    return Reader(tokenizer=tokenizer, model=model.eval().to(device), has_head=has_head, device=device)


def piece_bytes(tokenizer: Any, ids: NDArray[np.int64]) -> dict[int, int]:
    """Returns the UTF-8 bytes of each piece's characters, marks of word boundaries not counted.

    A byte-fallback piece is one byte, and so is every character of a byte-level vocabulary's piece.
    """
    by_bytes = _is_byte_level(tokenizer)
    found = {}
    for id, piece in zip(ids.tolist(), tokenizer.convert_ids_to_tokens(ids.tolist()), strict=True):
        if BYTE_PIECE.fullmatch(piece):
            found[id] = 1
        elif by_bytes:
            found[id] = len(piece.replace("Ġ", ""))
        else:
            found[id] = len(piece.removeprefix("##").replace("▁", "").encode())
    return found


def surfaces(tokenizer: Any, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns a number for the surface of each token: pieces that read alike share it, whatever their ids.

    Marks of word boundaries, case and compatible forms of a character make no difference. Numbers of two calls do not
    compare.
    """
    by_bytes = _is_byte_level(tokenizer)
    seen, back = np.unique(ids, return_inverse=True)
    numbers: dict[str, int] = {}
    out = np.zeros(len(seen), np.int64)
    for at, (id, piece) in enumerate(zip(seen.tolist(), tokenizer.convert_ids_to_tokens(seen.tolist()), strict=True)):
        text = _spelt(piece) if by_bytes else piece.removeprefix("##").removeprefix("▁")
        out[at] = numbers.setdefault(unicodedata.normalize("NFKC", text).casefold(), id)
    return out[back]


def _is_byte_level(tokenizer: Any) -> bool:
    """Returns whether a piece's characters stand for bytes, as in GPT-2's and RoBERTa's vocabularies."""
    return "ByteLevel" in json.dumps(json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"])


def _spelt(piece: str) -> str:
    """Returns the text that a byte-level piece stands for, without the space before it; a half character as its hex."""
    if any(character not in BYTE_OF for character in piece):
        return piece
    raw = bytes(BYTE_OF[character] for character in piece).removeprefix(b" ")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"\0{raw.hex()}"


def _batches(rows: Rows, device: str) -> list[NDArray[np.int64]]:
    """Returns every row that has a token, in batches of like length."""
    some = np.flatnonzero(rows.lengths)
    packed = Rows(starts=np.cumsum([0, *rows.lengths[some]], dtype=np.int64), columns={}, example=some)
    return [some[batch] for batch in prediction_batches(packed, PREDICT_TOKENS.get(torch.device(device).type, 4096))]
