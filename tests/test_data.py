"""What is loaded is what the files say, in an order and with ids that stay; what is wrong with them is one line."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import NetworkBlockedError

from unibench import sources
from unibench.cards import Source, TaskCard, all_cards, card_folders
from unibench.data import DEV_LIMIT, Loaded, Origin, availability, examples_sha256, load, origin, stamp
from unibench.errors import DataError, Unavailable, UserError

Write = Callable[..., Path]
CARDS = {card.name: card for card in all_cards(card_folders())}


def card_of(family: str, **changes: Any) -> TaskCard:
    """A card for o/tiny: trains on config en, is scored on every language's test split, and has no dev source."""
    columns = {
        "nli": {"premise": "p", "hypothesis": "h", "label": "y"},
        "ner": {"tokens": "words", "tags": "tags"},
        "qa": {"context": "c", "question": "q", "answers": "a"},
        "sts": {"sentence1": "s", "sentence2": "t", "score": "y"},
    }[family]
    labels = {"nli": ("yes", "no"), "ner": ("O", "B-X", "I-X", "B-Y", "I-Y")}.get(family, ())
    card = TaskCard(
        name="tiny", title="", family=family, metric="", languages=("en", "sw"), protocol="zero-shot",
        train=(Source(hub="o/tiny", config="{lang}", split="train"),), dev=(),
        eval=Source(hub="o/tiny", config="{lang}", split="test"), columns=columns, labels=labels,
        options={"scale": 5} if family == "sts" else {},
    )  # fmt: skip
    return replace(card, **changes)


def nli(label: int | str | None = 0, premise: str | None = "p", hypothesis: str = "h") -> dict[str, Any]:
    return {"p": premise, "h": hypothesis, "y": label}


def qa(context: str, text: list[str], start: list[int]) -> dict[str, Any]:
    return {"c": context, "q": "?", "a": {"text": text, "answer_start": start}}


def mirror(root: Path) -> Origin:
    return Origin(kind="mirror", root=root)


def ids(loaded: Loaded) -> list[str]:
    return [example.id for example in loaded.examples]


# --- what an example holds, family by family


def test_nli_rows(write_mirror: Write) -> None:
    root = write_mirror("o/tiny", {"en/test": [nli(0), nli(-1), nli(1, "pp", "hh"), nli(1)]})
    loaded = load(card_of("nli", group="rows:2"), "eval", ["en"], mirror(root))
    assert ids(loaded) == ["0000001", "0000003", "0000004"], "ids are row numbers, unlabelled rows leave a gap"
    assert [e.group for e in loaded.examples] == ["g000001", "g000002", "g000002"]
    assert loaded.examples[1].inputs == {"premise": "pp", "hypothesis": "hh"}
    assert [e.target for e in loaded.examples] == [0, 1, 1]
    assert loaded.notes == {"unlabelled": 1}
    assert loaded.commits == {}


def test_ner_rows_agree_with_seqeval_after_repair(write_mirror: Write) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    card = card_of("ner")
    tags = [[2, 2, 0, 4], [1, 4, 4, 2], [0, 1, 2, 2], [2, 4, 2, 0], [3, 1, 2, 4]]
    root = write_mirror("o/tiny", {"en/test": [{"words": list("abcd"), "tags": row} for row in tags]})
    loaded = load(card, "eval", ["en"], mirror(root))
    assert loaded.examples[0].target == ("B-X", "I-X", "O", "B-Y")
    assert loaded.examples[0].inputs == {"tokens": ("a", "b", "c", "d")}
    assert loaded.notes == {"iob_repaired": 4}
    for row, example in zip(tags, loaded.examples, strict=True):
        assert get_entities([card.labels[tag] for tag in row]) == get_entities(list(example.target))


def test_qa_rows_keep_true_offsets_and_say_what_they_did(write_mirror: Write) -> None:
    far = "x" * 100 + "cat"
    rows = [
        qa("\ufeffThai text", ["text"], [6]),  # counted with the mark in front: right as it stands
        qa("\ufeffThai text", ["text"], [5]),  # counted without it: one off
        qa("a cat, the cat", ["cat"], [12]),  # nearest of two
        qa(far, ["cat"], [0]),  # stands in the context, but another mention for all we know
        qa("no such", ["dog", "such"], [0, 3]),
        qa("withheld", [""], [0]),
    ]
    root = write_mirror("o/tiny", {"en/test": rows})
    loaded = load(card_of("qa", group="column:c"), "eval", ["en"], mirror(root))
    assert [e.target["start"] for e in loaded.examples] == [(6,), (6,), (11,), (-1,), (-1, 3)]
    assert loaded.examples[4].target["text"] == ("dog", "such")
    assert loaded.examples[0].inputs["context"].startswith("\ufeff")
    for example in loaded.examples:
        for text, start in zip(example.target["text"], example.target["start"], strict=True):
            assert start == -1 or example.inputs["context"][start:].startswith(text)
    assert loaded.notes == {"answer_absent": 2, "answer_moved": 2, "unlabelled": 1}
    assert [e.group for e in loaded.examples] == ["g000001", "g000001", "g000002", "g000003", "g000004"]


def test_sts_rows_are_scaled_to_one(write_mirror: Write) -> None:
    root = write_mirror("o/tiny", {"en/test": [{"s": "a", "t": "b", "y": y} for y in (0.0, 2.5, 5.0)]})
    assert [e.target for e in load(card_of("sts"), "eval", ["en"], mirror(root)).examples] == [0.0, 0.5, 1.0]


def test_labels_by_name_and_in_another_order(write_mirror: Write) -> None:
    """The numbers mean what the file says they mean, whatever order the card lists the labels in."""
    from datasets import ClassLabel, Dataset, Features, Value

    root = write_mirror("o/tiny", {"en/test": [nli("no"), nli("yes")]})
    assert [e.target for e in load(card_of("nli"), "eval", ["en"], mirror(root)).examples] == [1, 0]
    path = root / "o/tiny/en/test-00000-of-00001.parquet"
    features = Features({"p": Value("string"), "h": Value("string"), "y": ClassLabel(names=["No", "Yes"])})
    Dataset.from_list([nli(0), nli(1)], features=features).to_parquet(path)
    assert [e.target for e in load(card_of("nli"), "eval", ["en"], mirror(root)).examples] == [1, 0]
    with pytest.raises(DataError, match="names its labels No, Yes; the card tiny says one, two"):
        load(card_of("nli", labels=("one", "two")), "eval", ["en"], mirror(root))


# --- broken rows and files


@pytest.mark.parametrize(
    ("family", "row", "expected"),
    [
        ("nli", nli(7), "label is 7, expected 0 to 1 (yes, no)"),
        ("nli", nli(None), "label is null"),
        ("nli", nli(0, None), "premise is null, expected text"),
        ("ner", {"words": ["a", "b"], "tags": [0]}, "2 tokens and 1 tags"),
        ("ner", {"words": [], "tags": []}, "0 tokens and 0 tags"),
        ("ner", {"words": ["a"], "tags": [5]}, "tag is 5, expected 0 to 4"),
        ("ner", {"words": ["a", None], "tags": [0, 0]}, "token is null"),
        ("qa", qa("c", ["c"], []), "1 answers and 0 starts"),
        ("qa", {"c": "c", "q": "?", "a": None}, "answers is not a table of two lists"),
        ("sts", {"s": "a", "t": "b", "y": 5.1}, "score is 5.1, expected a number from 0 to 5"),
        ("sts", {"s": "a", "t": "b", "y": float("nan")}, "score is nan"),
        ("sts", {"s": "a", "t": "b", "y": None}, "score is None"),
    ],
)
def test_a_broken_row_is_named(write_mirror: Write, family: str, row: dict[str, Any], expected: str) -> None:
    good = {
        "nli": nli(),
        "ner": {"words": ["a"], "tags": [1]},
        "qa": qa("c", ["c"], [0]),
        "sts": {"s": "a", "t": "b", "y": 1.0},
    }[family]
    root = write_mirror("o/tiny", {"en/test": [good, row]})
    with pytest.raises(DataError) as caught:
        load(card_of(family), "eval", ["en"], mirror(root))
    message = str(caught.value)
    assert message.startswith(f"{root}/o/tiny/en/test-00000-of-00001.parquet row 2: ")
    assert expected in message
    assert "\n" not in message


def test_a_missing_column_is_named(write_mirror: Write) -> None:
    root = write_mirror("o/tiny", {"en/test": [{"p": "a", "hypo": "b", "y": 0}]})
    with pytest.raises(DataError, match="has no column 'h', which the card tiny names; it has p, hypo, y"):
        load(card_of("nli"), "eval", ["en"], mirror(root))


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_file_is_one_line_and_leaves_no_trace(
    write_mirror: Write, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    card = card_of("nli")
    root = write_mirror("o/tiny", {"en/test": [nli()], "sw/test": [nli()]})
    path = root / "o/tiny/en/test-00000-of-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"not parquet at all"}[damage])
    with pytest.raises(DataError) as caught:
        load(card, "eval", ["en"], mirror(root))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", ""), "no log, no progress bar"
    assert len(load(card, "eval", ["sw"], mirror(root)).examples) == 1, "one language's file does not stop another"
    path.write_bytes(whole)
    assert len(load(card, "eval", ["en"], mirror(root)).examples) == 1, "nothing half-written is served later"
    assert capfd.readouterr() == ("", "")


def test_an_edited_file_is_read_again(write_mirror: Write) -> None:
    """`datasets` keys the cache of a folder by its name, and would serve the rows as they were."""
    for premise in ("before", "after!"):
        root = write_mirror("o/tiny", {"en/test": [nli(premise=premise)]})
        assert load(card_of("nli"), "eval", ["en"], mirror(root)).examples[0].inputs["premise"] == premise


def test_placeholder_labels_are_unavailable_not_zero(write_mirror: Write) -> None:
    root = write_mirror("o/tiny", {"en/test": [qa("c", [""], [0])] * 3})
    with pytest.raises(Unavailable, match="no row for en is labelled"):
        load(card_of("qa"), "eval", ["en"], mirror(root))


# --- what can be had, and from where


def test_availability_gives_the_reason_and_opens_no_file(write_mirror: Write) -> None:
    root = write_mirror("o/tiny", {"en/test": [nli()], "en/train": [nli()], "sw/test": [nli()]})
    for path in root.rglob("*.parquet"):
        path.write_bytes(b"")
    card, here = card_of("nli"), mirror(root)
    assert availability(card, "eval", "sw", here) is None
    assert availability(card, "dev", "en", here) is None, "carved from train"
    assert availability(card, "train", "sw", here) == f"o/tiny has no train split for sw in {root}"
    assert availability(card, "eval", "de", here) == "tiny has no de; its languages: en, sw"
    assert availability(replace(card, languages=("de",)), "eval", "de", here) == f"o/tiny has no config 'de' in {root}"
    english = (Source(hub="o/tiny", config="en", split="train", language="en"),)
    assert (
        availability(replace(card, train=english), "train", "sw", here) == "tiny has no train data for sw, only for en"
    )
    assert availability(replace(card, train=()), "train", "en", here) == "tiny trains nothing, so it has no train data"
    elsewhere = (*english, Source(hub="o/absent", config="en", split="train", language="en"))
    assert availability(replace(card, train=elsewhere), "train", "en", here) == f"o/absent is not in {root}"
    with pytest.raises(Unavailable, match="o/absent is not in"):
        load(replace(card, train=elsewhere), "train", ["en"], here)


def test_a_split_that_lacks_one_of_its_files_is_not_available(write_mirror: Write) -> None:
    root = write_mirror("o/tiny", {"en/test": [nli()]})
    first = root / "o/tiny/en/test-00000-of-00001.parquet"
    first = first.rename(first.with_name("test-00000-of-00002.parquet"))
    assert availability(card_of("nli"), "eval", "en", mirror(root)) == f"o/tiny en/test in {root} has 1 of its 2 files"
    shutil.copy(first, first.with_name("test-00001-of-00002.parquet"))
    assert ids(load(card_of("nli"), "eval", ["en"], mirror(root))) == ["0000001", "0000002"]


def test_layouts_without_a_readme_and_other_readmes(write_mirror: Write) -> None:
    card = card_of("nli")
    root = write_mirror("o/tiny", {"en/test": [nli(premise="right")], "sw/test": [nli()]}, readme=False)
    assert len(load(card, "eval", ["en"], mirror(root)).examples) == 1
    assert availability(card, "eval", "en", mirror(root)) is None
    assert availability(card, "train", "en", mirror(root)) == f"o/tiny has no train split for en in {root}"
    folder = root / "o/tiny"
    (folder / "en/test").mkdir()
    (folder / "en/test-00000-of-00001.parquet").rename(
        folder / "en/test/0000.parquet"
    )  # as refs/convert/parquet has it
    assert load(card, "eval", ["en"], mirror(root)).examples[0].inputs["premise"] == "right"
    for header in (
        "configs:\n- config_name: en\n  data_dir: en\n  data_files:\n    test: test/*.parquet",
        "configs:\n- config_name: en\n  data_files:\n  - split: test\n    path: [./en/test/0000.parquet]",
    ):
        (folder / "README.md").write_text(f"---\n{header}\n---\n")
        assert load(card, "eval", ["en"], mirror(root)).examples[0].inputs["premise"] == "right"
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: [\n---\n")
    with pytest.raises(DataError, match=r"README.md has no readable configs: header"):
        load(card, "eval", ["en"], mirror(root))


def test_json_lines_are_read_too(write_mirror: Write) -> None:
    root = write_mirror("o/tiny", {"en/test": [nli()]}, readme=False)
    (root / "o/tiny/en/test-00000-of-00001.parquet").unlink()
    (root / "o/tiny/en/test.jsonl").write_text('{"p": "one", "h": "two", "y": 1}\n')
    [example] = load(card_of("nli"), "eval", ["en"], mirror(root)).examples
    assert (example.inputs["premise"], example.target) == ("one", 1)
    (root / "o/tiny/en/test.jsonl").write_text('{"p": "one", "h": "two", "y": 1}\n{"p": "on')
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logging.getLogger("datasets").addHandler(handler)
    try:
        with pytest.raises(DataError, match=r"test.jsonl cannot be read as json"):
            load(card_of("nli"), "eval", ["en"], mirror(root))
    finally:
        logging.getLogger("datasets").removeHandler(handler)
    assert logged == [], "the error is ours to report, once"


def test_aliases_and_prefixes(write_mirror: Write) -> None:
    card = card_of("nli", eval=Source(hub="o/tiny", config="{lang}", split="test", aliases={"sw": "swa"}))
    root = write_mirror("o/tiny", {"swa/test": [nli(premise="three letters")]})
    assert load(card, "eval", ["sw"], mirror(root)).examples[0].inputs["premise"] == "three letters"
    write_mirror("o/tiny", {"sw/test": [nli(premise="two letters")]})
    assert load(card, "eval", ["sw"], mirror(root)).examples[0].inputs["premise"] == "two letters"

    prefixes = {"en": "english-", "sw": "swahili-"}
    one_file = Source(hub="o/one", config="all", split="test", prefix_column="id", prefixes=prefixes)
    rows = [nli() | {"id": f"{language}-{i}"} for i, language in enumerate(["english", "swahili", "english"])]
    root = write_mirror("o/one", {"all/test": rows})
    assert ids(load(card_of("nli", eval=one_file), "eval", ["en"], mirror(root))) == ["0000001", "0000003"]
    assert ids(load(card_of("nli", eval=one_file), "eval", ["sw"], mirror(root))) == ["0000002"]
    root = write_mirror("o/one", {"all/test": rows[:1]})
    with pytest.raises(Unavailable, match="has no row for sw"):
        load(card_of("nli", eval=one_file), "eval", ["sw"], mirror(root))


def test_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert origin(str(tmp_path)) == Origin(kind="mirror", root=tmp_path)
    assert origin("hub") == Origin(kind="hub")
    assert str(origin("hub")) == "the Hub"
    assert origin("sample") == Origin(kind="sample")
    assert str(origin("sample")) == "the generated sample"
    with pytest.raises(UserError, match=r"nowhere .--data. does not exist"):
        origin("nowhere")
    for spec in (None, "auto"):
        assert origin(spec) == Origin(kind="sample"), "neither mirror, cache nor Hub"
        assert origin(spec, ["me/absent"]) == Origin(kind="sample")
        with monkeypatch.context() as patch:
            patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
            (tmp_path / "cache" / "datasets--me--here" / "snapshots" / "abc").mkdir(parents=True, exist_ok=True)
            assert origin(spec, ["me/absent", "me/here"]) == Origin(kind="hub"), "its cache holds one of them"
        monkeypatch.setattr(sources, "hub_reachable", lambda: True)
        assert origin(spec) == Origin(kind="hub")
        monkeypatch.setenv("UNIBENCH_DATA", str(tmp_path))
        assert origin(spec) == Origin(kind="mirror", root=tmp_path)
        monkeypatch.setenv("UNIBENCH_DATA", "gone")
        with pytest.raises(UserError, match=r"gone .*UNIBENCH_DATA.* does not exist"):
            origin(spec)
        monkeypatch.delenv("UNIBENCH_DATA")
        monkeypatch.setattr(sources, "hub_reachable", lambda: False)


def test_the_hub_is_asked_once_and_then_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from datasets import config
    from huggingface_hub import constants

    asked = []

    class Silent:
        def head(self, *_: Any, **__: Any) -> None:
            asked.append(True)
            raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub, "get_session", Silent)
    monkeypatch.setattr("unibert.hub.PROBE_TIMEOUT_S", 0.2)
    sources.hub_reachable.cache_clear()
    try:
        assert not sources.hub_reachable()
        assert not sources.hub_reachable()
        assert len(asked) == 1
        assert constants.is_offline_mode()
        assert config.HF_HUB_OFFLINE
        assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_DATASETS_OFFLINE"] == "1"
    finally:
        sources.hub_reachable.cache_clear()


def test_tests_use_no_network() -> None:
    with pytest.raises(NetworkBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(NetworkBlockedError):
        socket.getaddrinfo("huggingface.co", 443)


# --- the Hub, played by a folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(write_mirror: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub that holds what write_mirror writes, at COMMIT, and counts what is asked of it."""
    import huggingface_hub
    from huggingface_hub import constants

    root = write_mirror("o/tiny", {"en/test": [nli(premise="hub")], "en/train": [nli()] * 3})

    def dataset_info(self: Any, hub: str, *, revision: str | None, timeout: float) -> Any:
        if not (root / hub).is_dir():
            raise OSError(f"404 Client Error.\n\nRepository Not Found: {hub}")
        files = [path.relative_to(root / hub).as_posix() for path in (root / hub).rglob("*") if path.is_file()]
        return SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename=file) for file in files])

    def hf_hub_download(hub: str, file: str, *, repo_type: str, revision: str) -> str:
        assert (repo_type, revision) == ("dataset", COMMIT)
        return str(root / hub / file)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    sources._hub_listing.cache_clear()
    return root


def test_the_hub_takes_the_same_path_and_records_its_commit(hub: Path) -> None:
    card, there = card_of("nli"), Origin(kind="hub")
    assert availability(card, "eval", "en", there) is None
    assert availability(card, "eval", "sw", there) == "o/tiny has no config 'sw' in the Hub"
    loaded = load(card, "eval", ["en"], there)
    assert loaded.examples == load(card, "eval", ["en"], mirror(hub)).examples
    assert loaded.commits == {"o/tiny": COMMIT}
    absent = replace(card, eval=replace(card.eval, hub="o/absent"))
    reason = availability(absent, "eval", "en", there)
    assert reason == "o/absent cannot be reached on the Hub (404 Client Error. Repository Not Found: o/absent)"
    assert stamp(card, ["eval"], ["en"], there) != stamp(card, ["train"], ["en"], there)


def test_offline_reads_only_the_commit_that_was_asked_for(write_mirror: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets.load_dataset` would serve any cached revision here."""
    from huggingface_hub import constants

    root = write_mirror("o/cached", {"en/test": [nli(premise="cached")]})
    cache = Path(constants.HF_HUB_CACHE) / "datasets--o--cached"
    shutil.copytree(root / "o/cached", cache / "snapshots" / COMMIT)
    (cache / "refs/refs/convert").mkdir(parents=True)
    (cache / "refs/refs/convert/parquet").write_text(COMMIT)
    sources._hub_listing.cache_clear()
    for revision in (COMMIT, "refs/convert/parquet"):
        card = card_of("nli", eval=Source(hub="o/cached", config="{lang}", split="test", revision=revision))
        loaded = load(card, "eval", ["en"], Origin(kind="hub"))
        assert loaded.examples[0].inputs["premise"] == "cached"
        assert loaded.commits == {"o/cached": COMMIT}
    other = card_of("nli", eval=Source(hub="o/cached", config="{lang}", split="test", revision="f" * 40))
    reason = "o/cached is not in the Hub cache, and the Hub does not answer"
    assert availability(other, "eval", "en", Origin(kind="hub")) == reason


# --- what is left out


def test_eval_limit_takes_whole_groups_the_same_in_every_language(write_mirror: Write) -> None:
    english = [nli(i % 2) for i in range(60)]
    swahili = [nli(-1) if i % 3 == 1 else nli(i % 2) for i in range(60)]
    root = write_mirror("o/tiny", {"en/test": english, "sw/test": swahili})
    card = card_of("nli", group="rows:3", parallel=True)
    full = {e.id: e for e in load(card, "eval", ["en"], mirror(root)).examples}
    before: set[str] = set()
    for limit in (1, 3, 20, 59, 60, 100):
        drawn = load(card, "eval", ["en"], mirror(root), limit=limit).examples
        assert min(limit, 60) <= len(drawn) < limit + 3
        assert set(Counter(e.group for e in drawn).values()) == {3}, "no group is split"
        assert all(full[e.id] == e for e in drawn), "ids and groups do not depend on the limit"
        assert list(drawn) == sorted(drawn, key=lambda e: e.id)
        assert before <= {e.id for e in drawn}, "a smaller limit is a subset of a larger one"
        before = {e.id for e in drawn}
        other = load(card, "eval", ["sw"], mirror(root), limit=limit).examples
        assert {e.group for e in other} == {e.group for e in drawn}
    groups = [e.group for e in load(card, "eval", ["en"], mirror(root), limit=30).examples]
    assert groups != [f"g{i // 3 + 1:06d}" for i in range(30)], "a draw, not the file's beginning"


def test_carved_dev_and_train_share_no_group(write_mirror: Write) -> None:
    rows = [qa(f"context {i // 4} {language}", ["context"], [0]) for language in ("en", "sw") for i in range(200)]
    root = write_mirror("o/tiny", {"en/train": rows[:200], "sw/train": rows[200:]})
    card = card_of("qa", group="column:c")
    both, one = (
        {part: load(card, part, languages, mirror(root)).examples for part in ("train", "dev")}
        for languages in (["en", "sw"], ["en"])
    )
    assert not {e.group for e in both["train"]} & {e.group for e in both["dev"]}
    assert not {e.inputs["context"] for e in both["train"]} & {e.inputs["context"] for e in both["dev"]}
    assert len(both["train"]) + len(both["dev"]) == 400
    assert len(both["dev"]) == 40
    assert {e.id for e in one["dev"]} == {e.id for e in both["dev"] if ".en." in e.id}, "languages are carved alone"
    assert one["dev"][0].id.startswith("train0.en.")


def test_dev_is_cut_and_train_limit_is_a_fixed_subset_over_all_sources(write_mirror: Write) -> None:
    root = write_mirror(
        "o/tiny",
        {
            "a/train": [nli(premise=f"a{i}") for i in range(900)],
            "b/train": [nli(premise=f"b{i}") for i in range(300)],
            "en/dev": [nli(premise=f"d{i}") for i in range(DEV_LIMIT + 500)],
        },
    )
    train = tuple(Source(hub="o/tiny", config=name, split="train", language="en") for name in "ab")
    card = card_of("nli", train=train, dev=(Source(hub="o/tiny", config="{lang}", split="dev"),))
    dev = load(card, "dev", ["en"], mirror(root)).examples
    assert len(dev) == DEV_LIMIT
    assert dev[0].id.startswith("dev0.en.")
    everything = load(card, "train", ["en"], mirror(root)).examples
    assert len(everything) == len({e.id for e in everything}) == 1200
    drawn = load(card, "train", ["en"], mirror(root), limit=400).examples
    assert len(drawn) == 400
    assert set(drawn_ids := [e.id for e in drawn]) <= {e.id for e in everything}
    assert drawn_ids == sorted(drawn_ids)
    assert drawn == load(card, "train", ["en"], mirror(root), limit=400).examples
    share = sum(e.id.startswith("train0") for e in drawn) / 400
    assert 0.68 < share < 0.82, "each source gives about its share (3/4), within three standard deviations"
    assert {e.id for e in load(card, "train", ["en"], mirror(root), limit=100).examples} <= set(drawn_ids)


# --- fingerprints


def test_stamp_follows_the_files_and_sha256_the_examples(write_mirror: Write) -> None:
    card = card_of("nli")
    root = write_mirror("o/tiny", {"en/test": [nli()], "sw/test": [nli()]})
    path = root / "o/tiny/en/test-00000-of-00001.parquet"

    def of(language: str = "en") -> str:
        return stamp(card, ["eval"], [language], mirror(root))

    def content() -> str:
        return examples_sha256(load(card, "eval", ["en"], mirror(root)).examples)

    first, other, meaning = of(), of("sw"), content()
    assert first == of() != other
    os.utime(path, ns=(1, 1))
    assert of() != first
    assert content() == meaning, "touched, not changed"
    write_mirror("o/tiny", {"en/test": [nli(1)], "sw/test": [nli()]})
    assert content() != meaning
    with pytest.raises(Unavailable):
        stamp(card, ["train"], ["en"], mirror(root))


# --- the real data


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "examples", "groups"), [("xnli", 5010, 1670), ("xquad", 1190, 240), ("stsb_multi", 1379, 1379)]
)
def test_parallel_test_sets_share_ids_and_groups(shared: Path, name: str, examples: int, groups: int) -> None:
    card, here = CARDS[name], mirror(shared / "hub")
    seen = set()
    for language in card.languages:
        loaded = load(card, "eval", [language], here).examples
        seen.add(tuple((e.id, e.group) for e in loaded))
    [pairs] = seen
    assert len(pairs) == examples
    assert len({group for _, group in pairs}) == groups
    if name == "xnli":
        premises = {(e.group, e.inputs["premise"]) for e in loaded}
        assert len(premises) == groups, "rows of a group share their premise"


@pytest.mark.realdata
def test_real_counts_and_repairs(shared: Path) -> None:
    here = mirror(shared / "hub")
    zh = load(CARDS["wikiann"], "eval", ["zh"], here)
    assert len(zh.examples) == 10_000
    assert zh.notes == {"iob_repaired": 386}
    assert len({e.group for e in zh.examples}) == len({e.inputs["tokens"] for e in zh.examples}) < 10_000
    thai = load(CARDS["xquad"], "eval", ["th"], here)
    assert thai.notes == {}, "every stated answer stands where it is said to"
    assert sum(e.inputs["context"].startswith("\ufeff") for e in thai.examples) == 41
    date = load(CARDS["masakhaner2"], "eval", ["sw"], here).examples
    assert any("B-DATE" in e.target for e in date)
    tydiqa = load(CARDS["xquad_tydiqa"], "train", ["en"], here).examples
    dev = load(CARDS["xquad_tydiqa"], "dev", ["en"], here).examples
    assert len(tydiqa) + len(dev) == 3_696
    snli = load(CARDS["xnli_snli"], "train", ["en"], here).examples
    assert len(snli) == 99_890 + 44_983


@pytest.mark.realdata
def test_what_the_real_folder_lacks_is_said(shared: Path) -> None:
    here = mirror(shared / "hub")
    where = shared / "hub"
    for name, part, language, reason in (
        ("xnli", "train", "en", f"facebook/xnli has no train split for en in {where}"),
        ("xquad", "train", "en", f"rajpurkar/squad is not in {where}"),
        ("wikiann", "eval", "fi", f"unimelb-nlp/wikiann has no test split for fi in {where}"),
        ("mlqa", "eval", "de", f"facebook/mlqa has no test split for de in {where}"),
    ):
        assert availability(CARDS[name], part, language, here) == reason  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="no row for sw is labelled"):
        load(CARDS["tydiqa"], "eval", ["sw"], here)
