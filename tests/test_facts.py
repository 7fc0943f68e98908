"""Facts of a pretraining, by hand: what a record says, what models share, and which of them are runs of one recipe."""

from __future__ import annotations

from toy_records import missing, record

from unibench.facts import BASELINES, VARIANTS, Facts, clusters, facts, kinds, names, recipe_of, recipes, trained_in


def extra(**said) -> dict:
    return {"provenance": {"extra": said}}


def test_a_record_says_how_its_model_was_pretrained_and_another_says_nothing() -> None:
    said = {"recipe": "abcd", "pretraining_seed": 3, "teacher_sha256": "t", "objectives": "mlm", "size": "small"}
    found = facts([record("ours", **extra(**said)), record("mbert"), missing("failed")])
    assert list(found) == ["failed", "mbert", "ours"]
    assert found["ours"] == Facts(
        recipe="abcd", pretraining_seed=3, teacher_sha256="t", objectives="mlm", size="small", sha256="model ours"
    )
    assert found["mbert"] == Facts(sha256="model mbert")
    assert found["failed"] == Facts()


def test_a_record_that_failed_does_not_hide_what_another_of_its_model_says() -> None:
    good, bad = record("ours", **extra(recipe="abcd", pretraining_seed=0)), missing("ours", language="de")
    assert facts([bad, good]) == facts([good, bad]) == facts([good])


def test_kinds_by_objectives_and_none_for_an_untrained_encoder() -> None:
    known = {
        "a": Facts(objectives="mlm+adversary"), "b": Facts(objectives="mlm+distill"), "c": Facts(objectives="mlm"),
        "hub": Facts(), "scratch:small": Facts(objectives="none"), "scratch": Facts(),
    }  # fmt: skip
    assert kinds(known) == {"a": VARIANTS, "b": VARIANTS, "c": BASELINES, "hub": BASELINES}


def test_what_hangs_together_is_one_cluster_however_it_does() -> None:
    known = {
        "own": Facts(sha256="1"),
        "run 0": Facts(recipe="r", sha256="2"),
        "run 1": Facts(recipe="r", sha256="3"),
        "student": Facts(recipe="q", teacher_sha256="3", sha256="4"),  # taught by run 1
        "sibling": Facts(recipe="p", teacher_sha256="3", sha256="5"),
        "same bytes": Facts(sha256="1"),
    }
    found = clusters(known)
    assert found["run 0"] == found["run 1"] == found["student"] == found["sibling"]
    assert found["own"] == found["same bytes"] != found["run 0"]
    backwards = clusters(dict(reversed(known.items())))
    assert {a: [b for b in known if found[a] == found[b]] for a in known} == {
        a: [b for b in known if backwards[a] == backwards[b]] for a in known
    }


def test_nothing_known_is_nothing_shared() -> None:
    assert clusters({"a": Facts(), "b": Facts()}) == {"a": "a", "b": "b"}
    assert recipes({"a": Facts(), "b": Facts(objectives="mlm")}) == {}


def test_equal_seeds_of_a_recipe_are_one_run_and_unknown_ones_too() -> None:
    known = {
        "a": Facts(recipe="r", pretraining_seed=0), "b": Facts(recipe="r", pretraining_seed=1),
        "copy": Facts(recipe="r", pretraining_seed=0), "c": Facts(recipe="q"), "d": Facts(recipe="q"),
    }  # fmt: skip
    assert recipes(known) == {"q": {"c": ("c", "d")}, "r": {"a": ("a", "copy"), "b": ("b",)}}


def test_names_are_readable_and_get_as_many_digits_as_it_takes_to_tell_them_apart() -> None:
    known = {
        "a": Facts(recipe="abcd1", size="small", objectives="mlm"),
        "b": Facts(recipe="abcd2", size="small", objectives="mlm"),
        "c": Facts(recipe="ffff9", size="base", objectives="mlm+adversary"),
        "d": Facts(recipe="0123"),
    }
    assert names(known, {"abcd1": 5, "abcd2": 1, "ffff9": 2, "0123": 1}) == {
        "0123": "recipe (1 run)",
        "abcd1": "small mlm #abcd1 (5 runs)",
        "abcd2": "small mlm #abcd2 (1 run)",
        "ffff9": "base mlm+adversary (2 runs)",
    }
    assert names(known | {"c": Facts(recipe="ff", size="small", objectives="mlm")}, {"abcd1": 1, "ff": 1}) == {
        "abcd1": "small mlm #abcd (1 run)", "ff": "small mlm #ff (1 run)",
    }  # fmt: skip


def test_cells_say_in_what_their_models_were_fine_tuned() -> None:
    alone = {"protocol": "monolingual", "train_languages": ("de",)}
    found = trained_in([record("m", language="de", job=alone), record("m", "sts17", "en-tr"), missing("m", "wikiann")])
    assert found == {("xnli", "de"): "de", ("sts17", "en-tr"): "en"}


def test_a_recipe_is_everything_that_was_asked_but_the_seed() -> None:
    asked = {"steps": 100, "seed": 0, "adversary": {"balance": 0.5}, "languages": ["de", "en"]}
    same = {"languages": ["de", "en"], "adversary": {"balance": 0.5}, "seed": 7, "steps": 100}
    assert recipe_of(asked) == recipe_of(same)
    for change in ({"steps": 101}, {"adversary": {"balance": 1.0}}, {"languages": ["en", "de"]}, {"teacher": "t"}):
        assert recipe_of({**asked, **change}) != recipe_of(asked)
