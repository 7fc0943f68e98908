"""`unibench probe`: its measures, and the command from end to end."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import unibench
from torch import Tensor

from unibench import engines, models, parallel, probe_measures, probe_plot, probing
from unibench.errors import UserError
from unibench.probe_measures import measure, vector_outcomes
from unibench.vectors import Reader, open_reader

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    engines.silence()
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def first(trained: Path) -> Reader:
    return open_reader(trained / "models" / "first", untrained=False, device="cpu")


TEXTS = ("the old house stands near the sea.", "этот дом")


def aligned_of(texts: dict[str, Sequence[str]]) -> parallel.Aligned:
    count = len(next(iter(texts.values())))
    return parallel.Aligned(
        name="made here",
        languages=tuple(texts),
        ids=tuple(f"{i:03d}" for i in range(count)),
        texts=tuple(map(tuple, texts.values())),
        sha256="0",
        commits={},
    )


def test_outcomes_of_a_space_laid_out_by_language_and_of_one_laid_out_by_meaning() -> None:
    generator = torch.Generator().manual_seed(0)
    meaning_ND = torch.randn(40, 16, generator=generator)
    offset_L1D = 20 * torch.randn(3, 1, 16, generator=generator)
    train, test = parallel.halves(40, 0)
    found = vector_outcomes(meaning_ND + offset_L1D, train, test)
    assert found["probe"].shape == (3, 20)
    means = {name: np.nanmean(outcome) for name, outcome in found.items()}
    assert means["probe"] == means["same_language"] == 1
    assert means["translation"] == means["same_language_centred"] == 0
    for name in ("translation", "retrieval", "retrieval_from", "retrieval_to", "all_pairs"):
        assert means[f"{name}_centred"] == 1, name
    assert np.isnan(found["retrieval"][0]).all()  # with itself there is nothing to find


def test_directions_and_pairs_by_hand() -> None:
    def at(*degrees: float) -> Tensor:
        angle = torch.tensor(degrees).deg2rad()
        return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)

    tested = torch.stack([at(0, 50, 100), at(10, 20, 90), at(101, 52, 1)])
    found = vector_outcomes(torch.cat([tested, tested], dim=1), np.arange(3, 6), np.arange(3))
    assert found["retrieval_from"][1].tolist() == [1, 1, 1]
    assert found["retrieval_to"][1].tolist() == [1, 0, 1]
    assert found["retrieval"][1].tolist() == [1, 0.5, 1]
    assert found["retrieval"][2].tolist() == [0, 1, 0]
    assert found["all_pairs"][0].tolist() == [0.5, 1, 0.5]  # of 0: all of language 1, the middle one of language 2


def pieces_of(reader: Reader, text: str) -> list[tuple[int, str]]:
    ids = reader.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [(id, reader.tokenizer.convert_ids_to_tokens(id).removeprefix("▁").lower()) for id in ids]


def naive_overlap_free(reader: Reader, ours: Sequence[str], theirs: Sequence[str]) -> list[bool]:
    """What `_overlap_free` finds from the first side to the other, one sentence at a time; layer 1, not centred."""
    sides = [[pieces_of(reader, text) for text in side] for side in (ours, theirs)]
    shared = set.intersection(*({surface for line in side for _, surface in line} for side in sides))
    vectors: list[list[Tensor]] = []
    for side in sides:
        kept = [[2, *(id for id, surface in line if surface not in shared), 3] for line in side]
        with torch.no_grad():
            vectors.append([reader.model.bert(torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in kept])
    return [
        int(np.argmax([torch.cosine_similarity(query, v, dim=0).item() for v in vectors[1]])) == i
        for i, query in enumerate(vectors[0])
    ]


ENGLISH = [f"the {a} {b} is far from {c}." for a in ("old", "red") for b in ("house", "river", "garden", "teacher")
           for c in ("the sea", "the school", "my friend")]  # fmt: skip
RUSSIAN = [f"{a} {b} идёт мимо {c}." for a in ("старый", "красный") for b in ("дом", "город", "сад", "учитель")
           for c in ("моря", "школы", "леса")]  # fmt: skip


def test_overlap_free_retrieval_is_that_of_a_plain_loop(first: Reader) -> None:
    _, test = parallel.halves(24, 0)
    by_language = measure(first, aligned_of({"en": ENGLISH, "ru": RUSSIAN}), {}, layer=1, seed=0)[1]
    english, russian = ([texts[i] for i in test] for texts in (ENGLISH, RUSSIAN))
    for way, sides in (("from", (english, russian)), ("to", (russian, english))):
        assert by_language["ru"][f"overlap_free_{way}"] == pytest.approx(np.mean(naive_overlap_free(first, *sides)))
    assert 0.5 < by_language["ru"]["kept"] < 1  # at least the full stops are gone


def test_without_overlap_a_bag_of_pieces_finds_nothing(first: Reader) -> None:
    shuffled = [" ".join(reversed(line.split())) for line in ENGLISH]
    aligned = aligned_of({"en": ENGLISH, "xx": shuffled, "ru": RUSSIAN})
    measures, by_language, counts = measure(first, aligned, {}, layer=0, seed=0)
    # Layer 0 is the pieces themselves: order apart, the shuffled language is the same text
    assert by_language["xx"]["retrieval"] > 0.8
    assert (by_language["xx"]["kept"], by_language["xx"]["overlap_free"]) == (0, None)
    assert counts["overlap_free_languages"] == ["ru"]
    assert measures["overlap_free"]["value"] == by_language["ru"]["overlap_free"]
    assert measures["retrieval"]["value"] == pytest.approx(
        (by_language["xx"]["retrieval"] + by_language["ru"]["retrieval"]) / 2
    )
    assert measures["retrieval"]["chance"] == 1 / 12
    assert measures["same_language_centred"]["chance"] == 11 / 35
    assert measures["bits_per_byte_heldout"]["value"] is None
    only = measure(first, aligned_of({"en": ENGLISH, "xx": shuffled}), {}, layer=0, seed=0)[0]
    assert only["overlap_free"] == {"value": None, "low": None, "high": None, "chance": 1 / 12}


def test_intervals_are_those_of_the_normal_theory_where_it_holds() -> None:
    rng = np.random.default_rng(0)
    outcome_Ln = (rng.random((1, 400)) < 0.3).astype(float).repeat(5, axis=0)  # five languages that agree: one's worth
    weights_Rn = rng.multinomial(400, np.full(400, 1 / 400), size=2000).astype(float)
    found = probe_measures._summary(outcome_Ln, weights_Rn, 0.1)
    mean = outcome_Ln.mean()
    half = 1.96 * math.sqrt(mean * (1 - mean) / 400)
    assert found["value"] == pytest.approx(mean)
    assert found["low"] == pytest.approx(mean - half, abs=0.006)
    assert found["high"] == pytest.approx(mean + half, abs=0.006)


def test_bits_a_byte_are_sums_divided_and_languages_averaged(first: Reader) -> None:
    texts = {"en": list(TEXTS[:1]) * 3, "ru": [TEXTS[1], TEXTS[1] * 4]}
    found, by_language = probe_measures._bits_per_byte(first, texts, 3, np.random.default_rng(0))
    for code, lines in texts.items():
        bits_R, bytes_R = first.masked_bits(first.tokens(lines), rate=0.15, seed=3)
        assert by_language[code] == pytest.approx(bits_R.sum() / bytes_R.sum())
    assert found["value"] == pytest.approx(sum(v for v in by_language.values() if v) / 2)
    assert found["low"] <= found["value"] <= found["high"]


# the command


@pytest.fixture
def adversarial(results: Path) -> Path:
    """The results folder with a model "second" beside "first" that says it was trained with an adversary at layer 1."""
    folder = Path(shutil.copytree(results / "models" / "first", results / "models" / "second"))
    manifest = json.loads((folder / "unibert.json").read_text())
    manifest |= {"objectives": "mlm+adversary", "name": "second"}
    manifest["config"]["adversary"] = {"layer": 1}
    (folder / "unibert.json").write_text(json.dumps(manifest))
    return results


def test_a_model_stands_beside_its_twin_and_its_sibling(adversarial: Path) -> None:
    [second] = models.pick(["second"], adversarial)
    subjects, notes = probing.line_up([second], adversarial, None)
    assert [(s.name, s.untrained, s.layer) for s in subjects] == [
        ("untrained-1x64-590", True, 1), ("first", False, 1), ("second", False, 1)
    ]  # fmt: skip
    assert not notes
    assert len({s.sha256() for s in subjects}) == 2  # the copy has the weights of what it is a copy of
    shutil.rmtree(adversarial / "models" / "first")
    subjects, notes = probing.line_up([second], adversarial, 0)
    assert [(s.name, s.layer) for s in subjects] == [("untrained-1x64-590", 0), ("second", 0)]
    assert "no masked-LM-only model of second's size, text, vocabulary and 100 steps" in notes[0]


def test_layers_that_are_not_there_and_the_floor_are_refused(results: Path) -> None:
    with pytest.raises(UserError, match=r"--layer 2 is not in first, which has 0 \(token vectors\) to 1"):
        probing.line_up(models.pick(["first"], results), results, 2)
    with pytest.raises(UserError, match="an untrained encoder stands beside every model"):
        probing.line_up(models.pick(["scratch"], results), results, None)


def test_heldout_text_is_the_corpus_own_and_was_not_trained_on(trained: Path) -> None:
    import world

    [encoder] = models.pick(["first"], trained)
    subject = probing.Subject(name="first", encoder=encoder, untrained=False, layer=1)
    found = probing.heldout(subject, trained, ("en", "zh", "de"))
    assert found is not None
    assert (found.corpus, sorted(found.lines)) == ("world", ["en", "zh"])
    for code, lines in found.lines.items():
        assert lines
        assert set(lines) < set(world.lines(code))
    other = probing.Subject(name="elsewhere", encoder=encoder, untrained=True, layer=1)
    assert probing.heldout(other, trained / "nowhere", ("en",)) is None


def line(results: Path, *more: str | Path) -> list[str | Path]:
    return ["probe", "second", "--data", "sample", "--sentences", "24", "--threads", "1", "--results", results, *more]


def test_the_command_probes_stores_and_draws(adversarial: Path, tmp_path: Path, capsys: Captured) -> None:
    figure = tmp_path / "figures" / "probe.png"
    assert unibench(*line(adversarial, "--plot", figure, "--format", "json")) == 0
    printed = capsys.readouterr()
    tables = json.loads(printed.out)
    assert "sentences of the generated sample" in " ".join(printed.err.split())
    assert [row[0] for row in tables[0]["rows"]] == ["chance", "untrained-1x64-590", "first", "second"]
    assert [row[0] for row in tables[3]["rows"]] == ["untrained-1x64-590", "first", "second"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    stored = {path.name: path.read_bytes() for path in (adversarial / "probes").iterdir()}
    assert sorted(name.split(".")[0] for name in stored) == ["first", "second", "untrained-1x64-590"]
    record = json.loads(next(data for name, data in stored.items() if name.startswith("second.")))
    assert (record["languages"], record["sentences"], record["tested"]) == (["en", "ru", "zh"], 24, 12)
    assert record["measures"]["probe"]["value"] * 100 == pytest.approx(tables[0]["rows"][3][2]["value"])
    assert record["heldout_corpus"] == "world"

    assert unibench(*line(adversarial, "--format", "markdown", "--out", tmp_path / "probe.md")) == 0
    said = capsys.readouterr().out
    assert said.count(": stored in ") == 3
    assert {path.name: path.read_bytes() for path in (adversarial / "probes").iterdir()} == stored
    assert (tmp_path / "probe.md").read_text().startswith("## Is the language readable?")

    assert unibench("probe", "second", "--sentences", "24", "--results", adversarial, "--threads", "1") == 0
    said = capsys.readouterr().out
    assert "The generated sample's examples: no folder was named" in " ".join(said.split())
    assert said.count(": stored in ") == 3

    assert unibench(*line(adversarial, "--seed", "1")) == 0
    assert "Are translations found, en↔X?" in capsys.readouterr().out
    assert len(list((adversarial / "probes").iterdir())) == 6
    for name in stored:
        (adversarial / "probes" / name).write_text("{}")
    assert unibench(*line(adversarial)) == 2
    assert "was made by another version or edited; delete it and probe again" in capsys.readouterr().err


def test_the_figure_holds_many_languages_and_models(adversarial: Path, tmp_path: Path) -> None:
    assert unibench(*line(adversarial)) == 0
    paths = sorted((adversarial / "probes").iterdir())
    records = [json.loads(path.read_text()) for path in [*paths] * 3]
    codes = [f"l{i}" for i in range(91)]
    for record in records:
        record["by_language"] = dict.fromkeys(codes, record["by_language"]["ru"])
        record["languages"], record["overlap_free_languages"] = codes, codes[5:]
    for name in ("probe.png", "probe.svg"):
        probe_plot.draw(records, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.glob("probe*")) == ["probe.png", "probe.svg"]
    probe_plot.draw(records, tmp_path / "again.svg")
    assert b"<dc:date>" not in (tmp_path / "again.svg").read_bytes()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--format", "xml"], "no format 'xml' in unibench probe; known: csv, json, latex, markdown, terminal"),
        (["--plot", "probe.gif"], "--plot probe.gif ends in '.gif'; expected one of .png, .svg, .pdf"),
        (["--languages", "en,zz"], "no language 'zz' in the aligned sentences"),
        (["--languages", "en"], "en is left of the aligned sentences' languages; name two or more with --languages"),
        (["--layer", "5"], "--layer 5 is not in first, which has 0 (token vectors) to 1"),
        (["frist"], "no model 'frist' in"),
        (["--data", "nowhere"], "the data folder nowhere (--data) does not exist"),
    ],
)
def test_a_mistake_is_one_line(trained: Path, capsys: Captured, more: list[str], expected: str) -> None:
    assert unibench("probe", "first", "--data", "sample", "--results", trained, *more) == 2
    printed = capsys.readouterr()
    assert expected in printed.err
    assert printed.err.count("\n") == 1
    assert not (trained / "probes").exists()


@pytest.mark.realdata
def test_real_sentences_are_probed(results: Path, shared: Path, capsys: Captured) -> None:
    done = unibench(
        "probe", "first", "--data", shared / "hub", "--languages", "en,ru,zh", "--sentences", "20", "--threads", "1",
        "--results", results, "--format", "csv",
    )  # fmt: skip
    assert done == 0
    assert "openlanguagedata/flores_plus devtest, 10 of 20 tested in each of 3 languages: en ru zh" in (
        capsys.readouterr().out
    )
