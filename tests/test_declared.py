"""A family is read strictly, known by its content, and moved by no view."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from unibench.declared import DEFAULT, Family, absent, late_note, load, members, pick, read, written_after
from unibench.errors import UnknownName, UserError
from unibench.stats.gates import CORRECTIONS, Hypothesis

FAMILIES = Path(__file__).resolve().parents[1] / "results" / "families"
MINIMAL = """
# why
written = 2026-03-01
question = "Is new better?"
"""
FULL = """
written = "2026-03-01T09:30:00Z"
question = "Is new better?"
baseline = "old"
models = ["new", "newer"]
tasks = ["xnli"]
languages = ["de", "sw"]
correction = "holm"
alpha = 0.01
claim = "recipe"
margin = 2
scope = "tasks"
"""


def write(folder: Path, text: str, name: str = "mine") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_left_out_is_the_stated_default(tmp_path: Path) -> None:
    found = read(write(tmp_path, MINIMAL))
    assert found == replace(DEFAULT, name="mine", written="2026-03-01", question="Is new better?")
    assert (found.correction, found.alpha, found.scope, found.claim) == ("gatekeeping", 0.05, "languages", "checkpoint")
    assert (found.models, found.tasks, found.languages, found.margin) == ("all", "all", "all", None)


def test_every_key(tmp_path: Path) -> None:
    assert read(write(tmp_path, FULL)) == Family(
        name="mine", written="2026-03-01T09:30:00Z", question="Is new better?", baseline="old",
        models=("new", "newer"), tasks=("xnli",), languages=("de", "sw"), correction="holm", alpha=0.01,
        claim="recipe", margin=2.0, scope="tasks",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('question = "Is new better?"', "", "mine.toml: question is missing; expected a text"),
        ('question = "Is new better?"', 'question = "a\\nb"', ":3: question has several lines; expected one sentence"),
        ('"2026-03-01T09:30:00Z"', '"in March"', ":2: written is 'in March'; expected a date such as 2026-11-26"),
        ('"2026-03-01T09:30:00Z"', "20260301", ":2: written is 20260301; expected a text"),
        ('"2026-03-01T09:30:00Z"', "09:30:00", ':2: written is "09:30:00"; expected a text'),
        ("models =", "model =", ":5: model is not a known key; did you mean 'models'?"),
        ('["new", "newer"]', '"new"', ":5: models is 'new'; expected \"all\" or a list of names"),
        ('["new", "newer"]', "3", ":5: models is 3; expected a text or a list"),
        ('["new", "newer"]', "[]", ":5: models is []; expected a list of distinct texts"),
        ('["new", "newer"]', '["new", "new"]', ':5: models is ["new", "new"]; expected a list of distinct texts'),
        ('["new", "newer"]', '["new", "all"]', ':5: models holds "all" among others; write models = "all"'),
        ('["new", "newer"]', '["old"]', ":5: models names the baseline alone; expected a model to compare with it"),
        ('"holm"', '"hom"', ":8: correction is 'hom'; expected one of gatekeeping, holm, bh; did you mean 'holm'?"),
        ("0.01", "5", ":9: alpha is 5; expected a number between 0 and 1, such as 0.05"),
        ("0.01", "nan", ":9: alpha is nan; expected a number between 0 and 1"),
        ("0.01", "true", ":9: alpha is true; expected a number"),
        ('"recipe"', '"truth"', ":10: claim is 'truth'; expected one of checkpoint, recipe"),
        ("margin = 2", "margin = 0", ":11: margin is 0; expected points between 0 and 100, or leave it out"),
        ("margin = 2", "margin = inf", ":11: margin is inf; expected points between 0 and 100"),
        ('"tasks"', '"task"', ":12: scope is 'task'; expected one of overall, tasks, languages; did you mean 'tasks'?"),
        ('scope = "tasks"', "[scope]\nx = 1", ':12: scope is {"x": 1}; expected a text'),
        ('scope = "tasks"', "scope =", "mine.toml is not a readable TOML file"),
    ],
)
def test_a_mistake_is_one_line_with_file_line_key_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in FULL
    path = write(tmp_path, FULL.replace(old, new))
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_would_break_a_signature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no family can be called 'a\|b'"):
        read(write(tmp_path, MINIMAL, "a|b"))


def test_picking_opens_one_file_and_suggests(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    write(tmp_path, "nonsense", "broken")
    assert pick("mine", tmp_path).name == "mine"
    assert pick("default", tmp_path) == DEFAULT
    with pytest.raises(UnknownName, match=r"no family 'mien' in .*/; did you mean 'mine'\?"):
        pick("mien", tmp_path)
    assert load(tmp_path / "absent") == {}
    assert pick("default", tmp_path / "absent") == DEFAULT
    assert pick("default", write(tmp_path / "own", MINIMAL, "default").parent).question == "Is new better?"


def test_an_edited_family_is_another_one(tmp_path: Path) -> None:
    found = read(write(tmp_path, FULL))
    assert found.sha256 == read(write(tmp_path, "# a comment\n" + FULL)).sha256
    assert found.sha256 == read(write(tmp_path, FULL.replace('["new", "newer"]', '["newer", "new"]'))).sha256
    assert found.sha256 == read(write(tmp_path, FULL.replace("margin = 2", "margin = 2.0"))).sha256
    edits = {
        "written": "2026-03-02", "question": "?", "baseline": "older", "models": ("new",), "tasks": "all",
        "languages": ("de",), "correction": "bh", "alpha": 0.05, "claim": "checkpoint", "margin": None,
        "scope": "overall", "name": "yours",
    }  # fmt: skip
    assert edits.keys() == set(Family.__slots__)
    assert len({found.sha256, *(replace(found, **{key: value}).sha256 for key, value in edits.items())}) == 13
    assert found.label == f"mine@{found.sha256[:8]}"
    with pytest.raises(FrozenInstanceError):
        found.alpha = 0.5  # type: ignore[misc]


def test_members_by_name_and_scope() -> None:
    tests: list[Hypothesis] = [
        (model, task, language)
        for model in ("new", "other", "old")
        for task, language in ((None, None), ("xnli", None), ("xnli", "de"), ("xnli", "fr"), ("sts", None))
    ]
    everything = replace(DEFAULT, baseline="old")
    assert members(everything, tests) == tuple(test for test in tests if test[0] != "old")
    assert members(DEFAULT, tests) == tuple(tests)
    assert members(replace(everything, scope="overall"), tests) == (("new", None, None), ("other", None, None))
    assert all(language is None for _, _, language in members(replace(everything, scope="tasks"), tests))
    narrow = replace(everything, models=("new",), tasks=("xnli",), languages=("de",))
    assert members(narrow, tests) == (("new", None, None), ("new", "xnli", None), ("new", "xnli", "de"))
    assert members(narrow, reversed(tests)) == tuple(reversed(members(narrow, tests)))
    assert members(replace(narrow, scope="tasks"), [("new", None, "de")]) == ()
    assert narrow.covers("xnli", "de")
    assert not narrow.covers("xnli", "fr")
    assert not narrow.covers("sts", "de")


def test_a_view_moves_no_adjusted_p() -> None:
    """What is shown, and what is stored beside the family, enter nothing: only its members are corrected."""
    family = replace(DEFAULT, models=("a", "b"), scope="tasks")
    raw: dict[Hypothesis, float] = {
        ("a", None, None): 0.01, ("a", "t", None): 0.02, ("b", None, None): 0.04, ("c", None, None): 0.001,
        ("a", "t", "de"): 0.0001,
    }  # fmt: skip
    for correct in CORRECTIONS.values():
        with_more = correct({name: raw[name] for name in members(family, raw)}, family.alpha)
        alone = {name: p for name, p in raw.items() if name[0] != "c" and name[2] is None}
        assert with_more == correct(alone, family.alpha)


def test_what_is_declared_and_absent_is_told() -> None:
    family = replace(DEFAULT, models=("a", "b"), tasks=("t", "u"), languages=("de", "sw"))
    tests: list[Hypothesis] = [("a", None, None), ("a", "t", None), ("a", "t", "de")]
    assert absent(family, tests) == ("model b", "task u", "language sw")
    assert absent(replace(family, scope="tasks"), tests) == ("model b", "task u")
    assert absent(replace(family, scope="overall"), tests) == ("model b",)
    assert absent(family, []) == ("model a", "model b", "task t", "task u", "language de", "language sw")
    assert absent(DEFAULT, []) == ()


@pytest.mark.parametrize(
    ("written", "started", "after"),
    [
        ("2026-03-01", [], False),
        ("2026-03-01", ["2026-03-02T00:00:00+00:00"], False),
        ("2026-03-01", ["2026-03-01T23:59:59+00:00"], True),  # the same day: the order can't be told
        ("2026-03-01", ["2026-03-02T08:00:00+00:00", "2026-02-28T08:00:00+00:00"], True),
        ("2026-03-01T09:00:00Z", ["2026-03-01T09:00:01+00:00"], False),
        ("2026-03-01T09:00:00Z", ["2026-03-01T09:00:00+00:00"], True),
        ("2026-03-01T09:00:00Z", ["2026-03-01T10:30:00+02:00"], True),  # half past eight in UTC
        ("2026-03-01T09:00:00", ["2026-03-01T09:30:00"], False),
        ("2026-03-01", [""], True),
        ("2026-03-01", ["some day"], True),
    ],
)
def test_a_family_written_after_its_results_is_found_out(written: str, started: list[str], after: bool) -> None:
    family = replace(DEFAULT, written=written)
    assert written_after(family, started) is after
    assert bool(late_note(family, started)) is after


def test_the_note_counts_what_was_there() -> None:
    note = late_note(
        replace(DEFAULT, name="mine", written="2026-03-01"), ["2026-02-01T00:00:00", "2026-03-05T00:00:00"]
    )
    assert note == (
        "Family 'mine' was written (2026-03-01) when 1 of the 2 results it judges had been started or may have been: "
        "read its p-values as exploratory."
    )


def test_the_families_of_this_repository() -> None:
    found = load(FAMILIES)
    assert found["default"] == DEFAULT, "the built-in one is what its file says"
    paper = found["paper"]
    assert (paper.scope, paper.baseline, paper.models) == (
        "overall", "mbert", ("unibert-small", "unibert-xsmall", "unibert-xxsmall"),
    )  # fmt: skip
    assert len({family.label for family in found.values()}) == len(found)
