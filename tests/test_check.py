"""`unibench tasks check`: the first thing wrong is one line with its place, what is suspicious is counted right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import NLI_CARD, STS_CARD, unibench

from unibench import check
from unibench.data import Origin
from unibench.errors import CardError, DataError, UserError

Write = Callable[..., Path]
Captured = pytest.CaptureFixture[str]
NER_CARD = """
title = "Names"
family = "ner"
metric = "span_f1"
protocol = "zero-shot"
train_language = "en"
languages = ["en", "sw"]
labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-GOD"]
columns = { tokens = "t", tags = "y" }
train = [{ hub = "toy/ner", config = "{lang}", split = "train" }]
eval = { hub = "toy/ner", config = "{lang}", split = "test" }
about = { summary = "s", licence = "none" }
"""
QA_CARD = """
title = "Questions"
family = "qa"
metric = "token_f1"
protocol = "zero-shot"
train_language = "en"
languages = ["en"]
[columns]
context = "c"
question = "q"
answers = "a"
[[train]]
hub = "toy/qa"
config = "{lang}"
split = "train"
[eval]
hub = "toy/qa"
config = "{lang}"
split = "test"
[about]
summary = "s"
licence = "none"
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def nli(*rows: tuple[str, str, int]) -> list[dict[str, Any]]:
    return [{"p": p, "h": h, "y": y} for p, h, y in rows]


def card(folder: Path, text: str, name: str = "mine") -> Path:
    (folder / "cards").mkdir(exist_ok=True)
    path = folder / "cards" / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def examined(path: Path, root: Path, **more: Any) -> check.Report:
    found, _ = check.read(path)
    return check.examine(found, Origin(kind="mirror", root=root), **more)


def test_a_card_that_is_ready_is_counted_part_by_part(tmp_path: Path, write_mirror: Write, capsys: Captured) -> None:
    train = nli(("a", "b", 0), ("a", "c", 1), ("d", "e", 2), ("d", "e", 2))
    test = nli(("p", "q", 0), ("p", "r", 1), ("s", "t", -1))
    splits = {"en/train": train, "en/validation": train[:2], "en/test": test, "ru/test": test, "zh/test": test}
    root = write_mirror("toy/nli", splits)
    path = card(tmp_path, NLI_CARD)
    found = examined(path, root)
    by = {(c.part, c.language): c for c in found.counts}
    assert list(by) == [("train", "en"), ("dev", "en"), ("eval", "en"), ("eval", "ru"), ("eval", "zh")]
    assert by["train", "en"].labels == {"yes": 1, "no": 1, "maybe": 2}
    assert (by["train", "en"].repeated, by["dev", "en"].met, by["eval", "en"].met) == (1, 2, 0)
    assert by["eval", "ru"].notes == {"unlabelled": 1}
    assert by["eval", "ru"].examples == 2
    assert found.warnings == tuple(
        f"eval {code}: 1 of 3 rows have no label and are left out" for code in ("en", "ru", "zh")
    )
    assert unibench("tasks", "check", path, "--data", root) == 0
    shown = capsys.readouterr().out
    assert f"{path}: ready: unibench run --tasks mine --tasks-dir {path.parent} --data {root}" in shown
    assert "yes 1, no 1" in shown
    assert "unlabelled 1" in shown
    assert "premise      p" in shown


def test_what_is_suspicious_is_counted(tmp_path: Path, write_mirror: Write, capsys: Captured) -> None:
    test = {
        "en": nli(("a", "b", 0), ("a", "x", 1), ("", "y", 1), ("f", "g", 2)),
        "ru": nli(("p", "q", 0), ("p", "r", 0), ("s", "t", 0), ("u", "v", 0)),
        "zh": nli(("p", "q", 0)),
    }
    splits = {f"{code}/test": rows for code, rows in test.items()}
    train = nli(("a", "b", 0), ("dd", "e", 1), ("f", "h", 0))
    root = write_mirror("toy/nli", {"en/train": train, "en/validation": nli(("a", "x", 1)), **splits})
    path = card(tmp_path, NLI_CARD)
    warnings = set(examined(path, root).warnings)
    assert "eval en: 1 of 4 examples also stand in train, whole" in warnings
    assert "eval en: 1 of 4 examples also stand in dev, whole" in warnings
    assert "eval en: 1 of 4 examples have an empty text" in warnings
    assert "eval en: nothing in train has the label maybe" in warnings
    assert "eval ru: every example has the label yes" in warnings
    # of the labels ("yes", "no", "maybe", "maybe") of en only the first is said of the same row in ru
    assert "parallel = true, but 3 rows have another label in ru than in en" in warnings
    assert "parallel = true, but 3 rows are in only one of en and zh" in warnings
    assert unibench("tasks", "check", path, "--data", root) == 0
    assert "warning: eval ru: every example has the label yes" in capsys.readouterr().out


def test_names_and_labels_nobody_uses(tmp_path: Path, write_mirror: Write) -> None:
    rows = [{"t": ["a", "b"], "y": [1, 2]}, {"t": ["c"], "y": [0]}, {"t": ["d", "e"], "y": [3, 2]}]
    silent = [{"t": ["x"], "y": [0]}]
    root = write_mirror("toy/ner", {"en/train": rows * 2, "en/test": rows, "sw/test": silent})
    found = examined(card(tmp_path, NER_CARD), root)
    test = next(c for c in found.counts if (c.part, c.language) == ("eval", "en"))
    assert test.labels == {"PER": 2, "LOC": 1, "(no name)": 1}
    assert test.notes == {"iob_repaired": 1}
    assert test.met == 3
    assert "no example anywhere has the label GOD" in found.warnings
    assert "eval sw: no sentence has a name in it" in found.warnings
    assert "eval en: 3 of 3 examples also stand in train, whole" in found.warnings
    shown = check.table(check.read(tmp_path / "cards" / "mine.toml")[0], found)
    assert ("eval", "en", "3", "3", "PER 2, (no name) 1, LOC 1", "iob_repaired 1", "", "3") in shown.rows


def test_passages_and_scores(tmp_path: Path, write_mirror: Write) -> None:
    def ask(context: str, question: str) -> dict[str, Any]:
        return {"c": context, "q": question, "a": {"text": [context[:2]], "answer_start": [0]}}

    root = write_mirror("toy/qa", {"en/train": [ask("A passage.", f"{i}?") for i in range(20)],
                                   "en/test": [ask("A passage.", "new?"), ask("Another one.", "old?")]})  # fmt: skip
    found = examined(card(tmp_path, QA_CARD), root)
    assert "eval en: 1 of 2 examples have a context that stands in train" in found.warnings
    assert found.counts[-1].labels == {"answered": 2}
    pairs = {"en-en": [{"a": "x", "b": "y", "s": 2.0}] * 3, "en-ru": [{"a": "x", "b": "y", "s": s} for s in (0.0, 5.0)]}
    write_mirror("toy/sts", {f"{pair}/test": rows for pair, rows in pairs.items()})
    found = examined(card(tmp_path, STS_CARD), root)
    assert set(found.warnings) == {
        "eval en-en: every score is 2.00",
        "eval en-en: 2 of 3 examples repeat another one of them, whole",
        "eval en-ru: 1 of 2 examples repeat another one of them, whole",
    }
    assert [c.scores for c in found.counts] == [(0.0, 5.0, 2.5), (2.0, 2.0, 2.0)]
    assert [c.repeated for c in found.counts] == [1, 2]


def test_what_is_missing_is_said_and_languages_can_be_chosen(tmp_path: Path, write_mirror: Write) -> None:
    rows = nli(("a", "b", 0), ("c", "d", 1), ("e", "f", 2))
    splits = {"en/train": rows, "en/test": nli(("x", "y", 0)), "ru/test": nli(("z", "y", -1))}
    root = write_mirror("toy/nli", splits)
    path = card(tmp_path, NLI_CARD)
    with pytest.raises(UserError, match="mine cannot be run as zero-shot: toy/nli has no validation split for …"):
        examined(path, root)
    write_mirror("toy/nli", {**splits, "en/validation": nli(("o", "p", 1), ("q", "r", 0))})
    found = examined(path, root)
    said = "\n".join(found.warnings)
    assert f"eval: nothing in zh: toy/nli has no config '…' in {root}" in said
    assert "eval: nothing in ru: " in said
    assert "they hold placeholders" in said
    assert "train: nothing in ru" not in said, "zero-shot trains in English"
    assert {c.language for c in examined(path, root, languages=["en"]).counts} == {"en"}
    with pytest.raises(UserError, match=r"no language of mine can be scored: .* placeholders"):
        examined(path, root, languages=["ru"])
    with pytest.raises(UserError, match="the generated sample says nothing about the data of mine"):
        check.examine(check.read(path)[0], Origin(kind="sample"))


BROKEN = [
    (NLI_CARD, "parallel", "paralel", 9, "paralel is not a known key; did you mean 'parallel'?"),
    (NLI_CARD, '"accuracy"', '"f7"', 4, "metric is 'f7'; expected one of accuracy, macro_f1"),
    (NLI_CARD, 'columns = { premise = "p", ', "columns = { ", 10, "columns.premise is missing; expected a text"),
    (NLI_CARD, 'train = [{ hub = "toy/nli"', 'train = [{ hub = "nli"', 11, "train[0].hub is 'nli'; expected a Hub id"),
    (QA_CARD, 'context = "c"', 'contexts = "c"', 8, "columns.context is missing"),
    (QA_CARD, 'licence = "none"', "licence = 3", 22, "about.licence is 3; expected a text"),
    (QA_CARD, '[[train]]\nhub = "toy/qa"', '[[train]]\nhub = "toy"', 13, "train[0].hub is 'toy'; expected a Hub id"),
    (QA_CARD, '[eval]\nhub = "toy/qa"', '[eval]\nhub = "toy/qa"\nsplt = "x"', 18, "eval.splt is not a known key"),
    (STS_CARD, "scale = 5", "scale = -5", 9, "options.scale is -5; expected a number above 0"),
]


@pytest.mark.parametrize(("text", "old", "new", "line", "expected"), BROKEN)
def test_a_broken_card_is_one_line_with_its_line(
    tmp_path: Path, capsys: Captured, text: str, old: str, new: str, line: int, expected: str
) -> None:
    assert text.count(old) == 1
    path = card(tmp_path, text.replace(old, new))
    assert unibench("tasks", "check", path) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}:{line}: {expected}")
    assert said.count("\n") == 1
    # the line that is named is the one that was changed, or the head of the table that lacks something
    named = path.read_text().split("\n")[line - 1]
    assert new in named or new.split("\n")[-1] in named or named == "[columns]"


def test_what_is_no_card_or_has_a_name_that_is_taken(tmp_path: Path, capsys: Captured) -> None:
    with pytest.raises(UserError, match=r"nothing\.toml is not a task card; expected a file NAME\.toml"):
        check.read(tmp_path / "nothing.toml")
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(UserError, match=r"card\.json is not a task card"):
        check.read(tmp_path / "card.json")
    with pytest.raises(CardError, match="has the name of the built-in card 'xnli'; rename your file"):
        check.read(card(tmp_path, NLI_CARD, "xnli"))
    (tmp_path / "cards" / "xnli.toml").unlink()
    with pytest.raises(CardError, match=r"is not a readable TOML file \(.*at line 3, column 8"):
        check.read(card(tmp_path, '\ntitle = "x"\nfamily ner\n'))
    built_in = Path(check.__file__).parents[1] / "tasks" / "xnli.toml"
    assert check.read(built_in)[1] is None
    assert unibench("tasks", "check", tmp_path / "nothing.toml") == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_broken_row_stops_with_its_place(tmp_path: Path, write_mirror: Write, capsys: Captured) -> None:
    rows = nli(("a", "b", 0), ("c", "d", 7))
    root = write_mirror("toy/nli", {"en/train": rows[:1], "en/validation": rows[:1], "en/test": rows})
    path = card(tmp_path, NLI_CARD)
    with pytest.raises(DataError, match="row 2: label is 7, expected 0 to 2"):
        examined(path, root, languages=["en"])
    assert unibench("tasks", "check", path, "--data", root) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{root}/toy/nli/en/test-00000-of-00001.parquet row 2: label is 7" in said


def test_files_of_ones_own_need_no_data_folder(tmp_path: Path, capsys: Captured) -> None:
    text = NLI_CARD.replace('{ hub = "toy/nli", config = "{lang}", split = "', '{ reader = "csv", files = "{lang}-')
    path = card(tmp_path, text.replace("train\"", "train.csv\"").replace("validation\"", "validation.csv\"")
                .replace("test\"", "test.csv\"").replace('["en", "ru", "zh"]', '["en"]'))  # fmt: skip
    for split in ("train", "validation", "test"):
        (path.parent / f"en-{split}.csv").write_text(f"p,h,y\na {split},b,yes\nc {split},d,no\n{split},f,maybe\n")
    assert unibench("tasks", "check", path) == 0
    shown = capsys.readouterr().out
    assert "yes 1, no 1, maybe 1" in shown
    assert f"ready: unibench run --tasks mine --tasks-dir {path.parent}\n" in shown
    (path.parent / "en-test.csv").write_text("p,h,y\na,b,yes\nc,d,perhaps\n")
    assert unibench("tasks", "check", path) == 2
    said = capsys.readouterr().err
    assert f"{path.parent}/en-test.csv:3: label is 'perhaps'" in said
    assert said.count("\n") == 1


@pytest.mark.realdata
def test_real_cards_are_ready(shared: Path, capsys: Captured) -> None:
    tasks = Path(check.__file__).parents[1] / "tasks"
    root = shared / "hub"
    found = examined(tasks / "masakhaner2.toml", root, languages=["zu"])
    by = {c.part: c for c in found.counts}
    assert {part: c.examples for part, c in by.items()} == {"train": 5848, "dev": 836, "eval": 1670}
    assert by["eval"].notes == {"iob_repaired": 3}
    found = examined(tasks / "sts17.toml", root, languages=["en-tr", "es-es"])
    assert [c.examples for c in found.counts] == [250, 250]
    assert found.warnings == ()
    assert unibench("tasks", "check", tasks / "xnli.toml", "--languages", "sw,ur", "--data", root) == 2
    assert "xnli cannot be run as zero-shot: facebook/xnli has no train split" in capsys.readouterr().err
    assert unibench("tasks", "check", tasks / "xnli_snli.toml", "--languages", "sw,ur", "--data", root) == 0
    shown = capsys.readouterr().out
    assert "5,010    1,670  " in shown
    assert "parallel = true" not in shown


def test_repairs_and_omissions_are_warned_of(tmp_path: Path, write_mirror: Write) -> None:
    def ask(start: int, text: str = "here") -> dict[str, Any]:
        context = "An answer stands here, and nowhere else in all of this long passage of many words."
        return {"c": context, "q": f"{start}{text}?", "a": {"text": [text], "answer_start": [start]}}

    # the wrong row is in train or in the dev that is carved from it, and both count it
    train = [ask(17) for _ in range(59)] + [ask(67)]
    root = write_mirror("toy/qa", {"en/train": train, "en/test": [ask(17), ask(19), ask(67), ask(-1, "")]})
    found = examined(card(tmp_path, QA_CARD), root)
    said = "\n".join(found.warnings)
    file = root / "toy/qa/en/test-00000-of-00001.parquet"
    absent = "eval en: 1 answers are not where answer_start says, the first in"
    assert f"{absent} {file} row 3: answer_start 67, its text stands at 17" in said
    assert f"eval en: 1 answers stand near where answer_start says, and were moved, the first in {file} row 2" in said
    assert "eval en: train and score nothing before 2 answers in 4 rows are corrected" in said
    assert "train en: 1 answers are not where answer_start says" in said
    assert "train en: train and score nothing" not in said
    assert "dev en: train and score nothing" not in said, "counts are of the rows before dev was carved"
    assert "eval en: 1 of 4 questions have no answer and are left out; options = { unanswerable = true } keeps" in said


def test_what_cannot_be_seen_is_empty(tmp_path: Path, write_mirror: Write) -> None:
    rows = nli(("a", "b", 0), ("c", "d", 1), ("e", "f", 2))
    splits = {"en/train": rows, "en/validation": rows[:2], "en/test": nli(("\u200b \x00", "y", 0), ("x", "z", 1))}
    found = examined(card(tmp_path, NLI_CARD), write_mirror("toy/nli", splits), languages=["en"])
    assert "eval en: 1 of 2 examples have an empty text" in found.warnings


def test_most_sentences_repaired_is_another_scheme(tmp_path: Path, write_mirror: Write) -> None:
    good, bad = {"t": ["a", "b"], "y": ["B-PER", "I-PER"]}, {"t": ["a", "b"], "y": ["I-PER", "I-PER"]}
    splits = {"en/train": [good] * 27 + [bad] * 3, "en/test": [good] * 4 + [bad], "sw/test": [good] * 3 + [bad]}
    found = examined(card(tmp_path, NER_CARD), write_mirror("toy/ner", splits))
    said = [line for line in found.warnings if "repaired" in line]
    assert len(said) == 1
    assert "eval sw: the tags of 1 of 4 sentences were repaired, the first in " in said[0]
    assert said[0].endswith("row 4; is options.scheme 'iob2' right?")


def test_a_card_that_cannot_run_is_not_ready(tmp_path: Path, write_mirror: Write, capsys: Captured) -> None:
    rows = nli(("a", "b", 0), ("c", "d", 1), ("e", "f", 2))
    root = write_mirror("toy/nli", {"en/train": rows, "en/validation": rows, "ru/test": rows, "zh/test": rows})
    text = NLI_CARD.replace('"zero-shot"', '"monolingual"').replace('train_language = "en"\n', "")
    path = card(tmp_path, text)
    assert unibench("tasks", "check", path, "--data", root) == 2
    said = capsys.readouterr().err
    assert "mine cannot be run as monolingual: no language has train, dev and eval examples" in said
    assert len(said.strip().split("\n")) == 1
