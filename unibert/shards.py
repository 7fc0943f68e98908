"""Lines of text -> memory-mapped token shards.

Legend: L languages, V vocabulary.

A shard folder holds, for each language, `LANG.train.bin` and `LANG.heldout.bin` (token ids without [CLS]/[SEP], line
after line) with `….offsets.npy`, `LANG.inside.npy` where lines are paragraphs of documents, and `manifest.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unibert.corpus import Corpus, Counts, is_heldout, usable
from unibert.errors import UserError

ENCODE_LINES = 4096


class Lines:
    """The lines of one language and split, memory-mapped; `lines[i]` is its token ids."""

    def __init__(self, folder: Path, language: str, split: str) -> None:
        stem = folder / f"{language}.{split}"
        self.offsets: NDArray[np.int64] = np.load(stem.with_name(f"{stem.name}.offsets.npy"))
        dtype = np.dtype(json.loads((folder / "manifest.json").read_text())["dtype"])
        path = stem.with_name(f"{stem.name}.bin")
        expected = int(self.offsets[-1]) * dtype.itemsize
        if path.stat().st_size != expected:
            raise UserError(f"{path} has {path.stat().st_size} bytes, expected {expected}; delete {folder}")
        empty = np.zeros(0, dtype)
        self.tokens: NDArray[Any] = np.memmap(path, dtype=dtype, mode="r") if expected else empty
        inside = folder / f"{language}.inside.npy"
        documents = split == "train" and inside.is_file()
        self._inside: NDArray[np.bool_] | None = np.load(inside, mmap_mode="r") if documents else None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each line."""
        return np.diff(self.offsets)

    @property
    def documents(self) -> bool:
        """Whether lines are paragraphs, in the order of their documents."""
        return self._inside is not None

    def after(self, index: int) -> int | None:
        """Returns the line that goes on where line `index` ends; None at the end of its document."""
        following = index + 1
        return following if self._inside is not None and following < len(self) and self._inside[following] else None


def build(corpus: Corpus, tokenizer: Any, folder: Path) -> Path:
    """Writes the shards of a corpus and returns `folder`; a finished folder is returned as it is.

    Raises UserError for a language none of whose lines survives cleaning.
    """
    if (folder / "manifest.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".shards-"))
    try:
        counts: dict[str, Counts] = {}
        for language in corpus.languages:
            counts[language] = _build_language(corpus, language, tokenizer, temporary, dtype)
            if not counts[language].tokens["train"]:
                raise UserError(f"corpus {corpus.name!r} holds no usable line in {language!r}; leave it out")
        manifest = {
            "corpus": corpus.name,
            "corpus_sha256": corpus.identity,
            "tokenizer_sha256": hashlib.sha256(tokenizer.to_str().encode()).hexdigest(),
            "dtype": np.dtype(dtype).name,
            "languages": {language: asdict(count) for language, count in counts.items()},
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier, killed build may have left
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _build_language(corpus: Corpus, language: str, tokenizer: Any, folder: Path, dtype: type) -> Counts:
    counts = Counts()
    offsets = {"train": array("q", [0]), "heldout": array("q", [0])}
    inside = bytearray()  # of each training line: whether it goes on with the document of the line before
    files = {split: (folder / f"{language}.{split}.bin").open("wb") for split in offsets}
    try:
        split = "train"
        for block in _blocks(usable(corpus, language, counts), ENCODE_LINES):
            encodings = tokenizer.encode_batch_fast([line for line, _ in block], add_special_tokens=False)
            for (line, goes_on), encoded in zip(block, encodings, strict=True):
                if not goes_on:  # a document is held out whole
                    split = "heldout" if is_heldout(line) else "train"
                counts.heldout_lines += split == "heldout"
                files[split].write(np.asarray(encoded.ids, dtype).tobytes())
                offsets[split].append(offsets[split][-1] + len(encoded.ids))
                if split == "train":
                    inside.append(goes_on)
    finally:
        for file in files.values():
            file.close()
    for split, ends in offsets.items():
        np.save(folder / f"{language}.{split}.offsets.npy", np.asarray(ends, np.int64))
        counts.tokens[split] = ends[-1]
    if any(inside):
        np.save(folder / f"{language}.inside.npy", np.frombuffer(inside, np.bool_))
    return counts


def _blocks(lines: Iterator[tuple[str, bool]], size: int) -> Iterator[list[tuple[str, bool]]]:
    block: list[tuple[str, bool]] = []
    for line in lines:
        block.append(line)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def unigram(folder: Path, languages: Sequence[str], vocab_size: int) -> NDArray[np.float64]:
    """Returns token frequencies of the training text by language (L, V), add-one smoothed."""
    counts_LV = np.ones((len(languages), vocab_size))
    for index, language in enumerate(languages):
        counts_LV[index] += np.bincount(np.asarray(Lines(folder, language, "train").tokens), minlength=vocab_size)
    frequencies: NDArray[np.float64] = counts_LV / counts_LV.sum(axis=1, keepdims=True)
    return frequencies
