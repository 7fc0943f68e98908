"""What a teacher says, against its own modules reading one sequence at a time; and whom it refuses to teach."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_encoders
import torch
import torch.nn.functional as F  # noqa: N812
import world
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, normalizers
from torch import Tensor
from transformers import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaModel,
)

from unibert import foreign, objectives, tokenizer
from unibert.batches import collate
from unibert.config import Distill, ModelConfig
from unibert.corpus import from_iterable
from unibert.errors import UserError
from unibert.logit_cache import LogitCache
from unibert.micro import Micro, pack, padded
from unibert.model import UniBert, new
from unibert.teacher import Taught, Teacher, best, check, spread, start_from

LINES = [line for lines in world.corpus().values() for line in lines]
SHAPE = ModelConfig(layers=2, width=64, positions=64)
SENTENCE = {"soft_weight": 0.0, "hidden_weight": 0.0, "sentence_weight": 1.0}
ALL = {"soft_weight": 1.0, "hidden_weight": 1.0, "relation_weight": 1.0, "sentence_weight": 1.0}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary") / "tokenizer"
    tokenizer.save(tokenizer.train(from_iterable(world.corpus()), 700), folder)
    return folder


@pytest.fixture(scope="module")
def size(vocabulary: Path) -> int:
    found: int = tokenizer.load(vocabulary).get_vocab_size()
    return found


@pytest.fixture(scope="module")
def tutor(vocabulary: Path, size: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of the student's vocabulary that knows a few lines by heart, so that its distributions are peaked."""
    made = new(replace(SHAPE, layers=3), vocab_size=size, dropout=0.0, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    for number in range(60):
        given = batch(vocabulary, number)
        loss = F.cross_entropy(made(given.tokens_RT, given.picked_M).logits_MV, given.targets_M)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return stored(made.mlm, vocabulary, tmp_path_factory.mktemp("tutor") / "model")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoders of other architectures with tokenizers of their own."""
    folder = tmp_path_factory.mktemp("other")
    pieces = tiny_encoders.tokenizer_of("wordpiece", LINES[:20])
    sentences = tiny_encoders.tokenizer_of("unigram", LINES[:20])
    with torch.random.fork_rng():
        torch.manual_seed(5)
        distil = DistilBertForMaskedLM(
            DistilBertConfig(vocab_size=len(pieces), dim=32, n_layers=2, n_heads=2, hidden_dim=64, pad_token_id=0)
        )
        xlm = XLMRobertaModel(
            XLMRobertaConfig(
                vocab_size=len(sentences),
                hidden_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=18,  # reads 16 tokens: what is longer is cut by its own tokenizer
                type_vocab_size=1,
                pad_token_id=sentences.pad_token_id,
            ),
            add_pooling_layer=False,
        )
    for name, model, own in (("distilbert", distil, pieces), ("xlm-roberta", xlm, sentences)):
        own.save_pretrained(folder / name)
        model.save_pretrained(folder / name)
    return {name: folder / name for name in ("distilbert", "xlm-roberta")}


def stored(model: Any, vocabulary: Path, folder: Path) -> Path:
    shutil.copytree(vocabulary, folder)
    model.save_pretrained(folder)
    return folder


def batch(vocabulary: Path, number: int = 0, lines: int = 6) -> Micro:
    """Returns real lines of unequal lengths, masked."""
    own = tokenizer.load(vocabulary)
    chosen = [LINES[(7 * number + 31 * i) % len(LINES)][: 12 + 9 * i] for i in range(lines)]
    rows = [(i % 3, np.array(own.encode(text, add_special_tokens=False).ids[:40])) for i, text in enumerate(chosen)]
    given = padded(collate(rows), rate=0.3, vocab_size=own.get_vocab_size(), seed=3, number=number)
    assert len(given.lengths_B.unique()) > 1
    return given


def packed(given: Micro) -> Micro:
    return pack(given, int(given.lengths_B.sum()) + 50)


def teacher(
    folder: Path, vocabulary: Path, *, cache: LogitCache | None = None, bf16: bool = False, **d: Any
) -> Teacher:
    settings = Distill(teacher=str(folder), **d)
    return Teacher(settings, student_tokenizer=vocabulary, device="cpu", bf16=bf16, cache=cache)


def cache_of(folder: Path, top_k: int | None) -> LogitCache:
    return LogitCache(folder, identity="c" * 64, top_k=top_k, temperature=2.0)


def real(given: Micro) -> Tensor:
    return given.sequence_N < len(given.lengths_B)


@contextmanager
def passes(of: Teacher) -> Iterator[list[int]]:
    """Counts how often the encoder runs."""
    count = [0]

    def add(*_: Any) -> None:
        count[0] += 1

    handle = of.base.register_forward_pre_hook(add)
    yield count
    handle.remove()


def alone(model: Any, given: Micro) -> dict[str, Tensor]:
    """Returns what a BERT-style model says, reading every sequence alone: no padding, no masks, no neighbours."""
    base, own = model.base_model, model.base_model.encoder.layer[-1].attention.self
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, value: Tensor) -> None:
        seen.setdefault(name, []).append(value[0])

    handles = [
        getattr(own, name).register_forward_hook(lambda _, __, out, name=name: keep(name, out))
        for name in ("query", "key", "value")
    ]
    head = model.cls if hasattr(model, "cls") else model.lm_head
    with torch.no_grad():
        for row, length in enumerate(given.lengths_B.tolist()):
            hidden = base(input_ids=given.tokens_RT[row : row + 1, :length]).last_hidden_state
            keep("hidden", hidden)
            keep("logits", head(hidden))
        for handle in handles:
            handle.remove()
        pooled = [
            base(input_ids=given.clean_RT[row : row + 1, :length]).last_hidden_state[0].mean(0)
            for row, length in enumerate(given.lengths_B.tolist())
        ]
    found = {name: torch.cat(values) for name, values in seen.items()}
    masked = torch.zeros(given.tokens_RT.numel(), dtype=torch.bool)
    masked[given.picked_M] = True
    found["logits"] = found["logits"][masked[real(given)]]
    return found | {"pooled": torch.stack(pooled)}


def agrees(taught: Taught, given: Micro, expected: dict[str, Tensor], *, qkv: bool = True, atol: float = 2e-5) -> None:
    assert taught.logits_MV is not None
    assert taught.hidden_ND is not None
    assert taught.pooled_BD is not None
    assert len(taught.hidden_ND) == given.tokens_RT.numel()
    close = {"rtol": 1e-4, "atol": atol}
    torch.testing.assert_close(taught.logits_MV, expected["logits"], **close)
    torch.testing.assert_close(taught.hidden_ND[real(given)], expected["hidden"], **close)
    torch.testing.assert_close(taught.pooled_BD, expected["pooled"], **close)
    if qkv:
        assert taught.qkv is not None
        for name, value in zip(("query", "key", "value"), taught.qkv, strict=True):
            torch.testing.assert_close(value[real(given)], expected[name], **close)


def test_every_signal_is_the_models_own_in_both_layouts(tutor: Path, vocabulary: Path) -> None:
    of = teacher(tutor, vocabulary, **ALL)
    given = batch(vocabulary)
    model, _ = foreign.open_encoder(tutor, head=True)
    expected = alone(model.eval(), given)
    assert of.width == 64
    agrees(of.teach(given, 0), given, expected)
    agrees(of.teach(packed(given), 0), packed(given), expected)


def test_another_architecture_of_the_same_vocabulary_teaches_in_both_layouts(
    vocabulary: Path, size: int, tmp_path: Path
) -> None:
    config = XLMRobertaConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=65,
        type_vocab_size=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = XLMRobertaForMaskedLM(config).eval()
    folder = stored(model, vocabulary, tmp_path / "roberta")
    of = teacher(folder, vocabulary, **ALL)
    given = batch(vocabulary)
    expected = alone(model, given)
    agrees(of.teach(given, 0), given, expected)
    agrees(of.teach(packed(given), 0), packed(given), expected)
    check(of.distill, replace(SHAPE, positions=64), vocabulary)
    with pytest.raises(UserError, match=r"reads 64 tokens and this student 65; set positions to 64"):
        check(of.distill, replace(SHAPE, positions=65), vocabulary)


def test_only_what_is_in_use_is_said(tutor: Path, vocabulary: Path) -> None:
    given = batch(vocabulary)
    for name, field in (("soft", "logits_MV"), ("hidden", "hidden_ND"), ("relation", "qkv"), ("sentence", "pooled_BD")):
        weights = {weight: float(weight == f"{name}_weight") for weight in ALL}
        said = teacher(tutor, vocabulary, **weights).teach(given, 0)
        assert [f for f in Taught._fields if getattr(said, f) is not None] == [field]


def test_bf16_rounds_and_no_more(tutor: Path, vocabulary: Path) -> None:
    given = batch(vocabulary)
    exact = teacher(tutor, vocabulary, **ALL).teach(given, 0)
    rounded = teacher(tutor, vocabulary, bf16=True, **ALL).teach(given, 0)
    assert rounded.logits_MV is not None
    assert exact.logits_MV is not None
    assert rounded.logits_MV.dtype == torch.bfloat16
    assert 0 < (rounded.logits_MV - exact.logits_MV).abs().max() < 0.05 * exact.logits_MV.abs().max()


@pytest.mark.parametrize("name", ["distilbert", "xlm-roberta"])
def test_any_encoder_gives_mean_vectors_of_the_text_it_reads_with_its_own_tokenizer(
    other: dict[str, Path], vocabulary: Path, name: str
) -> None:
    of = teacher(other[name], vocabulary, **SENTENCE)
    given = batch(vocabulary)
    own = tokenizer.load(vocabulary)
    expected = []
    longest = 0
    for row, length in enumerate(given.lengths_B.tolist()):
        text = own.decode(given.clean_RT[row, 1 : length - 1].tolist())
        ids = foreign.tokenizer_of(other[name])(text)["input_ids"]
        longest = max(longest, len(ids))
        if name == "xlm-roberta" and len(ids) > 16:
            ids = [*ids[:15], ids[-1]]
        with torch.no_grad():
            expected.append(of.base(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0))
    assert longest > 16 or name != "xlm-roberta"  # something is cut
    for layout in (given, packed(given)):
        said = of.teach(layout, 0)
        assert said.pooled_BD is not None
        torch.testing.assert_close(said.pooled_BD, torch.stack(expected), rtol=1e-4, atol=1e-5)
        assert (said.logits_MV, said.topk, said.hidden_ND, said.qkv) == (None,) * 4


def test_opening_a_teacher_moves_nobodys_random_numbers(
    other: dict[str, Path], vocabulary: Path, tmp_path: Path
) -> None:
    before = torch.get_rng_state()
    folder = shutil.copytree(other["xlm-roberta"], tmp_path / "model")
    assert "pooler.dense.weight" not in load_file(folder / "model.safetensors")
    assert teacher(folder, vocabulary, **SENTENCE).base.pooler is not None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_the_largest_logits_are_those_of_the_whole_distribution(tutor: Path, vocabulary: Path, layout: str) -> None:
    given = batch(vocabulary)
    given = packed(given) if layout == "packed" else given
    whole = teacher(tutor, vocabulary).teach(given, 0).logits_MV
    assert whole is not None
    shares_MV = (whole / 2).softmax(1)
    said = teacher(tutor, vocabulary, top_k=8).teach(given, 0)
    assert said.logits_MV is None
    assert said.topk is not None
    values_MK, index_MK, rest_M = said.topk
    ordered, places = shares_MV.sort(1, descending=True)
    torch.testing.assert_close(values_MK.exp(), ordered[:, :8])
    assert torch.equal(index_MK, places[:, :8])
    torch.testing.assert_close(rest_M.exp(), ordered[:, 8:].sum(1))


def test_a_second_student_asks_the_disk_and_not_the_model(tutor: Path, vocabulary: Path, tmp_path: Path) -> None:
    given = batch(vocabulary)
    use = {"hidden_weight": 0.0, "top_k": 8}
    first = teacher(tutor, vocabulary, cache=cache_of(tmp_path, 8), **use)
    with passes(first) as count:
        said = first.teach(given, 5)
        assert first.teach(packed(given), 5).topk is not None
        assert count == [1]  # the layouts share an entry
    second = teacher(tutor, vocabulary, cache=cache_of(tmp_path, 8), sentence_weight=1.0, **use)
    with passes(second) as count:
        pooled = second.teach(given, 5)
        again = second.teach(given, 5)
        assert count == [1]  # for the vectors, which the first student had no use for
    third = teacher(tutor, vocabulary, cache=cache_of(tmp_path, 8), sentence_weight=1.0, hidden_weight=1.0, top_k=8)
    with passes(third) as count:
        hidden = third.teach(given, 5)
        assert count == [1]
        assert hidden.hidden_ND is not None
    assert said.pooled_BD is None
    for later in (pooled, again, hidden):
        assert later.topk is not None
        assert said.topk is not None
        assert all(torch.equal(a, b) for a, b in zip(later.topk, said.topk, strict=True))  # as on the first day
        assert later.pooled_BD is not None
        assert pooled.pooled_BD is not None
        assert torch.equal(later.pooled_BD, pooled.pooled_BD)
    with pytest.raises(UserError, match="belongs to other batches"):
        second.teach(batch(vocabulary, 6), 5)


def test_a_resumed_sentence_student_asks_the_disk(other: dict[str, Path], vocabulary: Path, tmp_path: Path) -> None:
    given = batch(vocabulary)
    said = [
        teacher(other["distilbert"], vocabulary, cache=cache_of(tmp_path, None), **SENTENCE).teach(given, 0).pooled_BD
        for _ in range(2)
    ]
    assert said[0] is not None
    assert said[1] is not None
    assert torch.equal(said[0], said[1])


@pytest.mark.parametrize("top_k", [8, 64, None])
def test_the_soft_loss_from_disk_is_near_that_of_whole_live_logits(
    tutor: Path, vocabulary: Path, size: int, tmp_path: Path, top_k: int | None
) -> None:
    """Half precision moves no position by more than 0.005 nats; what is merged only ever lowers the loss."""
    kept = top_k if top_k is not None else size
    live, temperature = teacher(tutor, vocabulary), 2.0
    disk = teacher(tutor, vocabulary, cache=cache_of(tmp_path, kept), hidden_weight=0.0, top_k=kept)
    rounding, merging = [], []
    for number in range(4):
        given = batch(vocabulary, number)
        whole_MV = live.teach(given, number).logits_MV
        said = [disk.teach(given, number).topk for _ in range(2)]
        assert whole_MV is not None
        assert said[0] is not None
        assert said[1] is not None
        assert all(torch.equal(a, b) for a, b in zip(*said, strict=True))
        exact = best(whole_MV, kept, temperature)
        generator = torch.Generator().manual_seed(number)
        student_MV = whole_MV / 2 + torch.randn(whole_MV.shape, generator=generator)  # half way to its teacher
        for row in range(len(whole_MV)):
            one = slice(row, row + 1)
            full = objectives.soft_target_loss(student_MV[one], whole_MV[one], temperature)
            merged, stored_ = (
                objectives.soft_target_topk_loss(student_MV[one], *(part[one] for part in topk), temperature)
                for topk in (exact, said[1])
            )
            rounding.append(abs(float(stored_ - merged)))
            merging.append(float(full - merged))
    assert max(rounding) < 0.005
    assert min(merging) > -1e-4
    if top_k is None:
        assert max(abs(x) for x in merging) < 1e-4


def changed(vocabulary: Path, folder: Path, change: str) -> Path:
    """Returns a tokenizer of the same size that differs in content or in what it does to text."""
    shutil.copytree(vocabulary, folder)
    path = folder / "tokenizer.json"
    if change == "pieces":
        data = json.loads(path.read_text(encoding="utf-8"))
        pieces = data["model"]["vocab"]
        pieces[-1][0], pieces[-2][0] = pieces[-2][0], pieces[-1][0]
        path.write_text(json.dumps(data), encoding="utf-8")
    else:
        own = Tokenizer.from_file(str(path))
        own.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        own.save(str(path))
    return folder


@pytest.mark.parametrize(("change", "said"), [("pieces", "is piece"), ("case", "is cut differently")])
@pytest.mark.parametrize("signal", ["soft", "hidden", "relation"])
def test_a_vocabulary_of_the_same_size_and_other_content_is_refused(
    vocabulary: Path, size: int, tmp_path: Path, change: str, said: str, signal: str
) -> None:
    own = changed(vocabulary, tmp_path / "own", change)
    made = new(SHAPE, vocab_size=size, dropout=0.0, generator=torch.Generator().manual_seed(1))
    folder = stored(made.mlm, own, tmp_path / "model")
    assert tokenizer.load(folder).get_vocab_size() == size
    weights = {"soft_weight": 0.0, "hidden_weight": 0.0, f"{signal}_weight": 1.0}
    for refuses in (
        lambda: teacher(folder, vocabulary, **weights),
        lambda: check(Distill(teacher=str(folder), **weights), SHAPE, vocabulary),
    ):
        with pytest.raises(UserError, match=rf"another vocabulary than this run .*{said}.*{signal}_weight") as refused:
            refuses()
        assert "sentence_weight, which works for any tokenizer" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert teacher(folder, vocabulary, **SENTENCE).teach(batch(vocabulary), 0).pooled_BD is not None


def test_a_larger_vocabulary_is_refused_and_never_truncated(vocabulary: Path, size: int, tmp_path: Path) -> None:
    made = new(SHAPE, vocab_size=size + 64, dropout=0.0, generator=torch.Generator().manual_seed(1))
    folder = stored(made.mlm, vocabulary, tmp_path / "model")
    with pytest.raises(
        UserError, match=rf"{size} pieces here, {size} there in {size + 64} rows.*soft_weight, hidden_we"
    ):
        teacher(folder, vocabulary)
    assert teacher(folder, vocabulary, **SENTENCE).teach(batch(vocabulary), 0).pooled_BD is not None


def test_the_same_vocabulary_in_another_file_is_the_same(tutor: Path, vocabulary: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tutor, tmp_path / "model")
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert tokenizer.fingerprint(folder) != tokenizer.fingerprint(vocabulary)
    assert teacher(folder, vocabulary).same_vocabulary


def test_signals_that_a_model_has_not_are_refused_in_one_line(
    tutor: Path, other: dict[str, Path], vocabulary: Path, size: int, tmp_path: Path
) -> None:
    distil = shutil.copytree(other["distilbert"], tmp_path / "distil")
    for file in vocabulary.iterdir():
        shutil.copy(file, distil)
    config = DistilBertConfig(vocab_size=size, dim=32, n_layers=1, n_heads=2, hidden_dim=64, pad_token_id=0)
    DistilBertForMaskedLM(config).save_pretrained(distil)
    with pytest.raises(UserError, match=r"head of a DistilBertForMaskedLM is not known.*soft_weight to 0"):
        teacher(distil, vocabulary)
    with pytest.raises(UserError, match=r"of type 'distilbert'.*relation_weight to 0"):
        teacher(distil, vocabulary, soft_weight=0.0, relation_weight=1.0)
    given = batch(vocabulary)
    of = teacher(distil, vocabulary, soft_weight=0.0)
    rows, flat = of.teach(given, 0).hidden_ND, of.teach(packed(given), 0).hidden_ND
    assert rows is not None
    assert flat is not None
    torch.testing.assert_close(rows[real(given)], flat[real(packed(given))], rtol=1e-4, atol=1e-5)
    headless = shutil.copytree(tutor, tmp_path / "headless")
    weights = load_file(headless / "model.safetensors")
    save_file(
        {n: w for n, w in weights.items() if n.startswith("bert.")}, headless / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(
        UserError, match=r"lacks .* weights, 'cls.*without a trained masked-LM head set soft_weight to 0"
    ):
        teacher(headless, vocabulary)
    assert teacher(headless, vocabulary, soft_weight=0.0).teach(batch(vocabulary), 0).hidden_ND is not None


def test_shapes_that_cannot_teach_are_refused_before_any_weight_is_read(tutor: Path, vocabulary: Path) -> None:
    use = Distill(teacher=str(tutor), relation_weight=1.0)
    check(use, SHAPE, vocabulary)
    with pytest.raises(
        UserError, match=r"width 64, which the student's 3 heads do not divide; set relation_weight to 0"
    ):
        check(use, replace(SHAPE, width=192), vocabulary)
    start = Distill(teacher=str(tutor), first_layers=True)
    check(start, replace(SHAPE, layers=3), vocabulary)
    with pytest.raises(
        UserError, match=r"hidden_size 64, not 128; num_attention_heads 1, not 2.*set first_layers to f"
    ):
        check(start, replace(SHAPE, width=128), vocabulary)
    with pytest.raises(UserError, match=r"3 layers, not 4 or more"):
        check(start, replace(SHAPE, layers=4), vocabulary)


def test_a_student_starts_from_spread_layers_of_its_teacher(tutor: Path, vocabulary: Path, size: int) -> None:
    assert [spread(6, 12), spread(2, 3), spread(1, 12), spread(4, 4)] == [
        [0, 2, 4, 7, 9, 11],
        [0, 2],
        [0],
        [0, 1, 2, 3],
    ]

    def started(layers: int, of: Teacher) -> UniBert:
        shape = replace(SHAPE, layers=layers, positions=48)
        made = new(shape, vocab_size=size, dropout=0.0, generator=torch.Generator().manual_seed(9)).eval()
        start_from(made, of)
        return made

    of = teacher(tutor, vocabulary, first_layers=True)
    given = batch(vocabulary)
    twin = started(3, of)
    with torch.no_grad():
        hidden = twin(given.tokens_RT, given.picked_M).hidden_BTD.flatten(0, 1)
    said = of.teach(given, 0).hidden_ND
    assert said is not None
    torch.testing.assert_close(hidden[real(given)], said[real(given)], rtol=1e-4, atol=2e-5)
    half = started(2, of)
    for mine, number in enumerate((0, 2)):
        ours, theirs = half.mlm.bert.encoder.layer[mine].state_dict(), of.base.encoder.layer[number].state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    of.same_vocabulary = False
    words = started(2, of).mlm.bert.embeddings.word_embeddings.weight
    assert not torch.equal(words, of.base.embeddings.word_embeddings.weight)


def test_a_teacher_is_a_name_a_folder_or_a_hub_id(
    tutor: Path, other: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    named = shutil.copytree(tutor, results / "models" / "mlm-base")
    (named / "unibert.json").write_text('{"schema": 1}')
    assert foreign.resolve("mlm-base", results) == named
    assert foreign.resolve(str(tutor), results) == tutor
    assert foreign.revision(tutor) is None
    with pytest.raises(UserError, match=r"no teacher 'mlm-bse': .* did you mean 'mlm-base'\?"):
        foreign.resolve("mlm-bse", results)
    commit = "0123456789abcdef" * 2 + "01234567"
    repository = tmp_path / "cache" / "models--owner--name"
    shutil.copytree(other["distilbert"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    found = foreign.resolve("owner/name", results)
    assert found == foreign.resolve(f"owner/name@{commit}", results) == repository / "snapshots" / commit
    assert foreign.revision(found) == commit
    with pytest.raises(UserError, match="teacher owner/other cannot be had from the Hub"):
        foreign.resolve("owner/other", results)
    (found / "model.safetensors").rename(found / "pytorch_model.bin")
    for asked in ("owner/name", str(found)):
        with pytest.raises(
            UserError, match=r"has no .safetensors weights, and other formats are not opened"
        ) as refused:
            foreign.resolve(asked, results)
        assert "\n" not in str(refused.value)
