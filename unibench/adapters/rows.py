"""Examples as rows of tokens: tokenised once, kept flat, padded only to the longest row of their batch.

Shapes: R rows, B rows of one batch, T tokens of the batch's longest row, S tokens of all rows laid end to end.
An example is one row, several (windows over a long text) or none (nothing in it survives the tokenizer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK_EXAMPLES = 1000  # tokenised encodings are some 100 bytes a token: a large training set must not stand in memory
CHUNK_BATCHES = 200  # batches sorted by length among themselves: order stays nearly random, and 1 % is padding


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One tokenised split.

    `starts` (R+1,) delimits the rows in every flat array. `columns` are flat per-token arrays that a batch needs, each
    with the value that pads it; `aside` are flat per-token arrays that only the adapter reads, when it decodes.
    `per_row` holds arrays of R first entries. `example` (R,) is the index of the example a row comes from. Rows are
    trained `rows_per_item` at a time (the two sentences of a pair stay together).
    """

    starts: NDArray[np.int64]
    columns: Mapping[str, tuple[NDArray[Any], int]]
    example: NDArray[np.int64]
    aside: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    per_row: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    rows_per_item: int = 1
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row (R,)."""
        return np.diff(self.starts)


def stack(
    tokenizer: Any,
    encodings: Sequence[Any],
    example: Sequence[int],
    *,
    columns: Mapping[str, tuple[Sequence[Any], int]] | None = None,
    aside: Mapping[str, Sequence[Any]] | None = None,
    per_row: Mapping[str, NDArray[Any]] | None = None,
    rows_per_item: int = 1,
    counts: Mapping[str, int] | None = None,
) -> Rows:
    """Returns the rows of these encodings; `columns` and `aside` give one array for each row, laid end to end here."""
    pad_id = tokenizer.pad_token_id or 0  # masked, but RoBERTa-like encoders also count positions by it
    made: dict[str, tuple[NDArray[Any], int]] = {"input_ids": (_flat([e.ids for e in encodings], np.int32), pad_id)}
    if "token_type_ids" in tokenizer.model_input_names:
        made["token_type_ids"] = (_flat([e.type_ids for e in encodings], np.int8), 0)
    for name, (arrays, pad) in (columns or {}).items():
        made[name] = (_flat(arrays, np.int32), pad)
    return Rows(
        starts=np.cumsum([0, *(len(e.ids) for e in encodings)], dtype=np.int64),
        columns=made,
        example=np.array(example, dtype=np.int64),
        aside={name: _flat(arrays, np.int32) for name, arrays in (aside or {}).items()},
        per_row=per_row or {},
        rows_per_item=rows_per_item,
        counts={"rows": len(encodings), "tokens": sum(len(e.ids) for e in encodings), **(counts or {})},
    )


def tokenise(
    tokenizer: Any,
    inputs: Sequence[Any],
    *,
    max_tokens: int,
    strategy: str = "longest_first",
    overlap_tokens: int = 0,
    pretokenised: bool = False,
) -> Iterator[list[Any]]:
    """Yields for each input the `tokenizers` encodings of its windows, in order: one where everything fits.

    Consecutive windows share `overlap_tokens`. Text that spells a special token ("[SEP]") stays text. Works on the
    fast tokenizer's backend: transformers' own wrapper builds Python lists for every field of every token.
    """
    with _settings(tokenizer, max_tokens=max_tokens, strategy=strategy, overlap_tokens=overlap_tokens) as backend:
        for first in range(0, len(inputs), CHUNK_EXAMPLES):
            chunk = list(inputs[first : first + CHUNK_EXAMPLES])
            for encoding in backend.encode_batch(chunk, is_pretokenized=pretokenised):
                # an empty text under a tokenizer without special tokens would be a row of no tokens
                yield [encoding, *encoding.overflowing] if encoding.ids else []


@contextmanager
def _settings(tokenizer: Any, *, max_tokens: int, strategy: str, overlap_tokens: int) -> Iterator[Any]:
    """The backend, truncating as asked; what its file had set is put back, for the tokenizer is the caller's."""
    backend = tokenizer.backend_tokenizer
    truncation, padding, literal = backend.truncation, backend.padding, backend.encode_special_tokens
    try:
        backend.no_padding()
        backend.enable_truncation(max_tokens, stride=overlap_tokens, strategy=strategy)
        backend.encode_special_tokens = True
        yield backend
    finally:
        backend.encode_special_tokens = literal
        if padding is not None:
            backend.enable_padding(**padding)
        if truncation is not None:
            backend.enable_truncation(**truncation)
        else:
            backend.no_truncation()


def collate(rows: Rows, chosen_B: NDArray[np.int64], device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Returns one batch: every column as (B, T), `attention_mask` (B, T), every per-row array as (B, …)."""
    lengths_B = rows.lengths[chosen_B]
    along_T = np.arange(int(lengths_B.max()))
    real_BT = along_T[None, :] < lengths_B[:, None]
    at_BT = np.where(real_BT, rows.starts[chosen_B][:, None] + along_T[None, :], 0)
    batch = {"attention_mask": torch.from_numpy(real_BT.astype(np.int64))}
    for name, (flat_S, pad) in rows.columns.items():
        batch[name] = torch.from_numpy(np.where(real_BT, flat_S[at_BT], pad).astype(np.int64))
    for name, values in rows.per_row.items():
        batch[name] = torch.from_numpy(values[chosen_B])
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def training_batches(rows: Rows, batch_items: int, generator: torch.Generator) -> list[NDArray[np.int64]]:
    """Returns one epoch as row indices of each batch, in a random order drawn from `generator`.

    Items are shuffled, then sorted by length within chunks of `CHUNK_BATCHES` batches, then the batches are shuffled:
    little padding, and no systematic short-to-long order.
    """
    per_item = rows.rows_per_item
    longest = rows.lengths.reshape(-1, per_item).max(axis=1)
    order = torch.randperm(len(longest), generator=generator).numpy()
    chunk = batch_items * CHUNK_BATCHES
    batches = []
    for first in range(0, len(order), chunk):
        items = order[first : first + chunk]
        items = items[np.argsort(-longest[items], kind="stable")]
        batches += [items[i : i + batch_items] for i in range(0, len(items), batch_items)]
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [(batches[i][:, None] * per_item + np.arange(per_item)).ravel() for i in shuffled]


def prediction_batches(rows: Rows, budget_tokens: int) -> list[NDArray[np.int64]]:
    """Returns every row once, longest first, in batches of at most `budget_tokens` with padding (or of one row)."""
    order = np.argsort(-rows.lengths, kind="stable")
    lengths = rows.lengths[order]
    batches = []
    first = 0
    while first < len(order):
        size = max(1, budget_tokens // int(lengths[first]))
        batches.append(order[first : first + size])
        first += size
    return batches


def _flat(arrays: Sequence[Any], dtype: Any) -> NDArray[Any]:
    if not arrays:
        return np.zeros(0, dtype=dtype)
    return np.concatenate([np.asarray(array, dtype=dtype) for array in arrays])
