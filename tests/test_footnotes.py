"""What every number stands on, in words: that what is said is so, and that nothing is said where nothing is known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from toy_records import missing, record, store

from unibench import footnotes, stats
from unibench.board import Board, boards
from unibench.compare import compare_all
from unibench.declared import Family
from unibench.footnotes import CORRECTED, conclusions, footer, signatures
from unibench.report import Shown, of_board
from unibench.signatures import Signature, seed_of
from unibench.stats.gates import CORRECTIONS
from unibench.store import RunRecord

R = 200


def family(**more: Any) -> Family:
    return Family(**{"name": "mine", "written": "2026-01-10", "question": "Which of them?", **more})


def one(records: Iterable[RunRecord], **more: Any) -> Board:
    (board,) = boards(records, **{"resamples": R, **more})
    return board


def said(board: Board, **more: Any) -> str:
    return "\n".join(footer(board, **{"narrowed": False, **more}))


def test_two_sentences_conclude_with_the_baseline_and_the_alpha() -> None:
    board = one(store(), family=family(alpha=0.01))
    may, may_not = conclusions(board)
    assert [len(re.findall(r"[.](?= |$)", text)) for text in (may, may_not)] == [1, 1]
    assert "at most 0.01" in may
    assert "mbert" in may
    assert "generated" not in may
    assert "several pretraining runs" in may_not
    assert "no difference" in may_not
    (leaderboard,) = of_board(board, Shown(), ("leaderboard",))
    assert leaderboard.footnotes[-2:] == (f"May be concluded: {may}", f"May not be concluded: {may_not}")


@pytest.mark.parametrize(
    "records",
    [
        [record("mbert")],
        [record("small")],
        [record("small"), missing("mbert")],
        [record("mbert", seed=0), record("small", seed=1)],
        [missing("mbert"), missing("small")],
    ],
    ids=["the baseline alone", "no baseline", "a failed baseline", "no common seed", "everything failed"],
)
def test_nothing_is_concluded_where_nothing_is_compared(records: list[RunRecord]) -> None:
    board = one(records, baseline="mbert" if len(records) > 1 else None)
    assert conclusions(board) == ()
    tables = of_board(board, Shown())
    text = "\n".join(note for table in tables for note in table.footnotes)
    for word in ("oncluded", "permutations", "p adjusted:", "RI, relative", "Descriptive", "Signature of p"):
        assert word not in text, word
    assert len([t for t in signatures(board) if t[0] in ("RI", "p")]) == 0


def test_a_test_outside_the_family_alone_concludes_nothing() -> None:
    board = one(store(), family=family(models=("gone",)))
    assert conclusions(board) == ()
    assert "The family names what has no scores here: model gone." in said(board)


def test_generated_data_are_said_in_the_footer_and_in_the_conclusion() -> None:
    sample = [record(m, job={"origin": "sample"}) for m in ("mbert", "small")]
    board = one(sample)
    assert "Sample data: generated sentences" in said(board)
    assert "of generated sentences" in conclusions(board)[0]
    assert "Sample data" not in said(one(store()))


def started(records: Iterable[RunRecord], when: str) -> list[RunRecord]:
    return [replace(r, provenance=replace(r.provenance, started=when)) for r in records]  # type: ignore[arg-type]


def test_a_family_written_after_results_is_called_late_with_how_many() -> None:
    mbert, small = ([r for r in store() if r.job.model == model] for model in ("mbert", "small"))
    before = [*started(mbert, "2026-01-09T12:00:00+00:00"), *started(small, "2026-01-12T12:00:00+00:00")]
    text = said(one(before, family=family()))
    assert "Family 'mine' was written (2026-01-10) when 12 of the 24 results it judges had been started" in text
    assert "exploratory" in text
    assert "exploratory" not in said(one(started(store(), "2026-01-12T12:00:00+00:00"), family=family()))
    # only what the family judges counts, and the built-in family declares nothing
    part = family(tasks=("sts17",), written="2026-01-10")
    assert "when 2 of the 4 results it judges" in said(one(before, family=part))
    assert "exploratory" not in said(one(before))


STANDS_ON = ("p: that of the difference", "p adjusted: ", "Every p is a checkpoint claim")


def explained(board: Board, views: tuple[str, ...], **shown: Any) -> list[tuple[str, int]]:
    """The tables in order, with how many of the three notes on every p each carries."""
    return [
        (table.title.split(":")[0], sum(note.startswith(STANDS_ON) for note in table.footnotes))
        for table in of_board(board, Shown(**shown), views)
    ]


def test_without_the_leaderboard_the_first_table_that_shows_a_test_says_what_p_stands_on() -> None:
    board = one(store([("mbert", 0.5), ("small", 0.9)]), family=family(written="2026-01-10"))
    tasks = ["sts17", "wikiann", "xnli"]
    assert explained(board, ("leaderboard", "tasks")) == [("Leaderboard", 3), *((task, 0) for task in tasks)]
    assert explained(board, ("tasks",)) == [("sts17", 3), ("wikiann", 0), ("xnli", 0)]
    tests = [(f"Tests of {task}", 0) for task in tasks]
    assert explained(board, ("tests",)) == [("Tests of the overall means", 3), *tests]
    assert [many for _, many in explained(board, ("languages",))] == [3, 0, 0], "▲ is a test's word"
    assert [many for _, many in explained(board, ("tasks",), significance=False)] == [0, 0, 0]
    whole = of_board(board, Shown(), ("leaderboard",))[0].footnotes
    for view in ("tasks", "tests", "languages"):
        first = of_board(board, Shown(), (view,))[0].footnotes
        assert set(footnotes.tested(board)) <= set(first) & set(whole)


def test_a_table_without_marks_is_passed_over_by_what_p_stands_on() -> None:
    board = one(store([("mbert", 0.6), ("small", 0.6)]))
    assert all(not row.p_adjusted <= 0.05 for row in board.comparisons.rows)
    assert [many for _, many in explained(board, ("languages",))] == [0, 0, 0]
    found = dict(explained(board, ("languages", "tests")))
    assert found["Tests of the overall means"] == 3
    assert sum(found.values()) == 3


def test_translations_that_cannot_be_matched_are_named_with_what_it_does_to_means() -> None:
    def about(record: RunRecord) -> RunRecord:
        loose = {"translations": "unmatched"} if record.job.task in ("wikiann", "sts17") else {}
        return replace(record, provenance=replace(record.provenance, extra=loose))  # type: ignore[arg-type]

    (note,) = [n for n in footer(one(map(about, store())), narrowed=False) if "can't be matched" in n]
    assert note.startswith(
        "Translations whose rows can't be matched, so languages are resampled apart: sts17, wikiann. "
    )
    assert "too narrow intervals and too small p" in note
    assert "can't be matched" not in said(one(store()))


def test_the_share_of_what_chance_leaves_is_explained_and_so_is_the_order() -> None:
    text = said(one(store()))
    assert "Δ over chance: (score - baseline) / (1 - the baseline's chance floor), a mean over all cells" in text
    near = [record("mbert", "xnli", x, quality=q) for x, q in (("de", 0.35), ("en", 0.9))]
    near += [record("small", "xnli", x, quality=0.7) for x in ("de", "en")]
    assert "rows are sorted by Δ" in said(one(near))


def test_what_bh_does_not_control_is_in_the_conclusion() -> None:
    for correction in CORRECTIONS:
        (may, _) = conclusions(one(store(), family=family(correction=correction)))
        assert ("the share of false findings that alpha allows" in may) == (correction == "bh")


def test_a_family_that_asks_about_recipes_is_told_that_no_p_here_answers() -> None:
    assert "asks about recipes, and every p here is of checkpoints" in said(one(store(), family=family(claim="recipe")))
    assert "asks about recipes" not in said(one(store(), family=family()))


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_the_correction_the_family_and_its_size_are_said(correction: str) -> None:
    of = family(correction=correction, scope="tasks", models=("small",))
    board = one(store([("mbert", 0.5), ("small", 0.7), ("alt", 0.6)]), family=of)
    text = said(board)
    assert CORRECTED[correction] in text
    assert f"over a family of {board.comparisons.family} tests: the models small x (overall and each task)" in text
    assert board.comparisons.family == 4
    assert f"family {of.label}: Which of them?" in text
    assert set(CORRECTED) == set(CORRECTIONS)


def test_without_significance_nothing_explains_a_p() -> None:
    board = one(store(), family=family())
    text = said(board, significance=False)
    for word in ("permutations", "p adjusted", "Wilcoxon", "Signature", "exploratory"):
        assert word in said(board) or word == "exploratory"
        assert word not in text, word
    assert "RI, relative improvement" in text


def test_what_is_left_out_is_named() -> None:
    board = one(store(), family=family(tasks=("xnli",), languages=("de", "en")))
    assert "for the family does not cover them: sts17 en-tr; wikiann en ro; xnli ro." in said(board)
    assert "This view is narrowed" in said(board, narrowed=True)
    assert "narrowed" not in said(board)


def test_descriptions_count_as_the_statistics_do() -> None:
    board = one(store([("mbert", 0.6), ("small", 0.66)]))
    cells = [r for r in board.comparisons.rows if r.language is not None and r.model == "small"]
    better = sum(r.delta > 0 for r in cells)
    surely = stats.k_hat([stats.one_sided(r.p, r.delta) for r in cells])
    (line,) = [n for n in footer(board, narrowed=False) if n.startswith("Descriptive: small")]
    assert f"better in {better} of 6 cells, at 95 % confidence in at least {surely} " in line
    assert "Wilcoxon over 6 cells" in line
    assert "smallest attainable 0.031" in line  # 2 / 2^6


def test_signatures_of_a_leaderboard_parse_and_say_how_it_was_drawn() -> None:
    board = one(store(), family=family(correction="bh"))
    found = {what: Signature.parse(text) for what, text in signatures(board)}
    assert list(found) == ["scores and Δ", "RI", "p"]
    assert {s.resamples for s in (found["scores and Δ"], found["RI"])} == {R}
    assert found["p"].resamples == board.comparisons.swaps
    assert found["p"].family == board.family.label
    assert found["p"].correction == "bh"
    assert found["p"].seed == seed_of("swap", board.setting)
    assert found["RI"].seed == seed_of("bootstrap", board.setting)


def test_seeds_of_two_sides_are_those_in_common() -> None:
    from unibench.cells import cells

    records = [record("mbert", seed=s) for s in (0, 1, 2)] + [record("small", seed=s) for s in (1, 2, 3)]
    found = compare_all({"a": (cells(records), "mbert")}, resamples=50)
    assert "fine-tuning seeds common to both sides (1 2)" in footnotes.shared_seeds(found.values())
    one_seed = compare_all({"a": (cells([record("mbert"), record("small")]), "mbert")}, resamples=50)
    assert "seed common to both sides (0)" in footnotes.shared_seeds(one_seed.values())
    assert "unknown" in footnotes.shared_seeds(one_seed.values())
    assert "(none)" in footnotes.shared_seeds([])


def test_cells_are_gathered_by_task() -> None:
    assert footnotes.by_task([("b", "x"), ("a", "y"), ("b", "z")]) == "b x z; a y"
    assert footnotes.by_task([]) == ""
