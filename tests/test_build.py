"""A built corpus follows from its source and recipe alone: not from workers, interruptions or what failed before."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unibert import built
from unibert.build import Withheld, begun_at, build, unfinished
from unibert.corpus import from_folder
from unibert.curation import Curation, count_words
from unibert.documents import resolve, wanted
from unibert.errors import UserError
from unibert.passes import Recipe

WORDS = {
    "en": "river house garden teacher market mountain school winter paper bridge letter candle window summer forest",
    "ru": "река дом сад учитель рынок гора школа зима бумага мост письмо свеча окно лето лес",
    "th": "แม่น้ำ บ้าน สวน ครู ตลาด ภูเขา โรงเรียน ฤดูหนาว กระดาษ สะพาน จดหมาย เทียน หน้าต่าง ฤดูร้อน ป่า",
}  # fmt: skip


def documents(language: str, count: int) -> list[str]:
    """Distinct documents of one paragraph, long and varied enough that no curation step has anything to say."""
    rng = random.Random(language)
    gap = "" if language == "th" else " "
    return [gap.join(rng.choices(WORDS[language].split(), k=30)) + "." for _ in range(count)]


def write(folder: Path, texts: dict[str, list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for language, lines in texts.items():
        rows = [json.dumps({"text": line}, ensure_ascii=False) for line in lines]
        (folder / f"{language}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def make(
    folder: Path, out: Path, *, texts: tuple[str, ...] | None = None, count: int = 1, **recipe: Any
) -> dict[str, Any]:
    events: list[dict[str, Any]] = []
    manifest = build(
        resolve(str(folder), wanted(recipe.pop("languages", "all"))),
        Recipe(**recipe),
        out,
        withheld=None if texts is None else lambda: Withheld(texts=texts, used=("toy test (en)",)),
        count=count,
        notify=events.append,
    )
    assert events[0]["event"] == "start"
    return manifest


def files(out: Path) -> dict[str, bytes]:
    """Everything in a corpus but its lock and what the file system says of it."""
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items()) if name != ".lock"}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write(tmp_path / "text", {language: documents(language, 40) for language in WORDS})


def test_what_comes_out_is_what_went_in_parted_by_blank_lines(text: Path, tmp_path: Path) -> None:
    manifest = make(text, tmp_path / "out", shard_bytes=2000)
    for language in WORDS:
        expected = documents(language, 40)
        record = manifest["languages"][language]
        shards = [tmp_path / "out" / shard["file"] for shard in record["shards"]]
        assert len(shards) > 2
        assert [document for shard in shards for document in built.documents(shard)] == expected
        for amount in (record["read"], record["kept"]):
            assert amount["documents"] == 40
            assert amount["characters"] == sum(map(len, expected))
            assert amount["tokens"] == sum(map(count_words, expected))
            assert amount["bytes"] == sum(len(document.encode()) for document in expected)
    assert manifest["source"]["name"] == "text"
    assert manifest["packages"]["zstandard"]
    assert list(from_folder(tmp_path / "out").read("ru")) == documents("ru", 40)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"manifest.json", "build.json", "languages"}
    assert not list((tmp_path / "out").glob(".part-*"))


def test_neither_workers_nor_a_second_call_change_a_byte(text: Path, tmp_path: Path) -> None:
    make(text, tmp_path / "one")
    make(text, tmp_path / "three", count=3)
    assert files(tmp_path / "one") == files(tmp_path / "three")
    before = files(tmp_path / "one")
    make(text, tmp_path / "one")
    assert files(tmp_path / "one") == before


def test_duplicates_are_counted_apart_and_the_first_is_kept(tmp_path: Path) -> None:
    first, other, *rest = documents("en", 30)
    words = first.split()
    nearly = " ".join([*words[:-1], "harbour."])
    folder = write(tmp_path / "text", {"en": [first, other, first, nearly, *rest, other]})
    record = make(folder, tmp_path / "out")["languages"]["en"]
    assert record["exact_duplicates"]["documents"] == 2
    assert record["exact_duplicates"]["characters"] == len(first) + len(other)
    assert record["near_duplicates"]["documents"] == 1
    assert record["near_duplicates"]["characters"] == len(nearly)
    assert list(built.documents(tmp_path / "out" / "en-00000.txt.zst")) == [first, other, *rest]
    kept_all = make(folder, tmp_path / "all", duplicates=None)["languages"]["en"]
    assert kept_all["kept"]["documents"] == 33
    assert kept_all["exact_duplicates"]["documents"] == kept_all["near_duplicates"]["documents"] == 0


def test_what_stands_in_a_test_set_is_taken_out(tmp_path: Path) -> None:
    texts = documents("en", 20)
    tested = documents("ru", 1)[0]
    folder = write(tmp_path / "text", {"en": [texts[0], f"{texts[1]}\n{tested}", tested, *texts[2:]]})
    recipe = {"curation": Curation(skip=("script",))}
    manifest = make(folder, tmp_path / "out", texts=(tested,), **recipe)
    record = manifest["languages"]["en"]
    assert record["contaminated"]["touched"] == 2
    kept = list(built.documents(tmp_path / "out" / "en-00000.txt.zst"))
    assert not any(tested in document for document in kept)
    assert kept[0] == texts[0]
    assert record["kept"]["documents"] + record["contaminated"]["documents"] == 21
    assert manifest["tests"]["used"] == ["toy test (en)"]
    assert manifest["tests"]["texts"] == 1
    untouched = make(folder, tmp_path / "none", **recipe)
    assert untouched["tests"] is None
    assert untouched["languages"]["en"]["kept"]["documents"] == 21


def test_every_character_is_accounted_for(tmp_path: Path) -> None:
    texts = documents("en", 30)
    odd = [
        "too short",
        texts[0],
        "<ref>gone</ref> " + texts[5],
        f"{texts[7]}\n{texts[7]}",
        documents("ru", 1)[0],
        "7" * 90,
    ]
    folder = write(tmp_path / "text", {"en": texts + odd})
    record = make(folder, tmp_path / "out", texts=(texts[3],))["languages"]["en"]
    steps = record["curation"]["steps"]
    assert record["read"]["documents"] == 36
    for unit in ("documents", "characters", "tokens"):
        assert next(iter(steps.values()))[unit] == record["read"][unit]
        later = sum(record[name][unit] for name in ("exact_duplicates", "near_duplicates", "contaminated"))
        assert record["curation"]["kept"][unit] == record["kept"][unit] + later
    assert record["kept"]["documents"] < 34
    assert record["kept"]["documents"] == sum(shard["documents"] for shard in record["shards"])
    assert record["kept"]["characters"] == sum(shard["characters"] for shard in record["shards"])


def test_a_limit_counts_documents_read(text: Path, tmp_path: Path) -> None:
    manifest = make(text, tmp_path / "out", limit=7)
    assert {record["read"]["documents"] for record in manifest["languages"].values()} == {7}


def test_languages_may_be_added_and_earlier_ones_stay(text: Path, tmp_path: Path) -> None:
    make(text, tmp_path / "out", languages="en,ru")
    make(text, tmp_path / "out", languages="th")
    make(text, tmp_path / "whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"limit": 7},
            "was begun with recipe.limit not there, and now it is 7; ask for the same, or give another --out",
        ),
        (
            {"curation": Curation(skip=("markup",))},
            r"was begun with recipe\.curation\.skip \[\], and now it is \[.markup.\]",
        ),
        ({"duplicates": None}, r"was begun with recipe\.duplicates\..*"),
        ({"skip_bad": True}, r"recipe\.skip_bad false, and now it is true"),
        ({"texts": ("a text of a test set",)}, "was begun with decontaminated false, and now it is true"),
    ],
)
def test_another_request_is_refused_by_what_differs(
    text: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    make(text, tmp_path / "out", languages="en")
    before = files(tmp_path / "out")
    with pytest.raises(UserError, match=message) as caught:
        make(text, tmp_path / "out", **change)
    assert "\n" not in str(caught.value)
    assert files(tmp_path / "out") == before


def test_other_test_texts_are_another_request(text: Path, tmp_path: Path) -> None:
    make(text, tmp_path / "out", languages="en", texts=("one text of a test set that is long enough to be found",))
    with pytest.raises(UserError, match=r"begun with tests\.sha256"):
        make(text, tmp_path / "out", texts=("another text of a test set, which is long enough to be found",))


def test_a_source_that_changed_is_not_passed_off_as_built(text: Path, tmp_path: Path) -> None:
    make(text, tmp_path / "out", languages="en")
    path = text / "en.jsonl"
    os.utime(path, (1, 1))
    assert unfinished(resolve(str(text), wanted("en")), tmp_path / "out") == [], "touched, and the same"
    path.write_text(path.read_text().replace("river", "rover"))
    with pytest.raises(UserError, match=r"en\.jsonl has changed since 'en' was built from it; delete .*en\.json"):
        make(text, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(text: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds en\.jsonl and no corpus begun here"):
        make(text, text)
    assert sorted(path.name for path in text.iterdir() if path.name != ".lock") == ["en.jsonl", "ru.jsonl", "th.jsonl"]


def test_a_fault_stops_its_language_and_keeps_the_others(text: Path, tmp_path: Path) -> None:
    path = text / "ru.jsonl"
    path.write_text(path.read_text() + "{\n")  # now the largest but one: th is built before it, en not begun
    with pytest.raises(
        UserError, match=r"^ru\.jsonl, line 41 is not JSON .* pass it over and count it with --skip-bad"
    ):
        make(text, tmp_path / "out")
    out = tmp_path / "out"
    assert [path.name for path in (out / "languages").iterdir()] == ["th.json"]
    assert not list(out.glob("ru-*"))
    assert not list(out.glob(".part-*"))
    with pytest.raises(UserError, match="is not finished"):
        from_folder(out)
    path.write_text(path.read_text().removesuffix("{\n"))
    make(text, out)
    make(text, tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")


def test_what_is_passed_over_is_counted_and_named(text: Path, tmp_path: Path) -> None:
    path = text / "ru.jsonl"
    path.write_text("{\n" + path.read_text() + '{"text": null}\n[]\n{"body": "x"}\n')
    (text / "de.jsonl").write_text("\n")
    manifest = make(text, tmp_path / "out", skip_bad=True)
    record = manifest["languages"]["ru"]
    assert record["faults"]["counts"] == {"malformed": 1, "no column": 2, "no text": 1}
    assert record["faults"]["first"][0].startswith("ru.jsonl, line 1 is not JSON")
    assert record["kept"]["documents"] == 40
    assert manifest["languages"]["de"]["faults"]["counts"] == {"empty": 1}
    assert from_folder(tmp_path / "out").languages == ("en", "ru", "th")


def test_a_language_without_a_document_is_refused(text: Path, tmp_path: Path) -> None:
    (text / "de.jsonl").write_text("\n")
    with pytest.raises(UserError, match="text holds no document in 'de'; leave it out, or pass it over"):
        make(text, tmp_path / "out", languages="de")


def test_a_language_of_which_nothing_is_left_is_no_language_of_the_corpus(text: Path, tmp_path: Path) -> None:
    write(text, {"de": ["zu kurz", "auch"]})
    record = make(text, tmp_path / "out")["languages"]["de"]
    assert (record["read"]["documents"], record["kept"]["documents"], record["shards"]) == (2, 0, [])
    assert "de" not in from_folder(tmp_path / "out").languages


SCRIPT = """
import sys
from pathlib import Path
import test_build

if __name__ == "__main__":
    test_build.make(Path(sys.argv[1]), Path(sys.argv[2]), count=int(sys.argv[3]))
"""


@contextmanager
def building(text: Path, out: Path, count: int, before: str = "") -> Iterator[subprocess.Popen[str]]:
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    script = out.parent / "script.py"
    script.write_text(before + SCRIPT)
    with subprocess.Popen(
        [sys.executable, script, str(text), str(out), str(count)], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    ) as process:  # fmt: skip
        yield process


@pytest.fixture
def longer(tmp_path: Path) -> Path:
    """Text that takes a second or so a language."""
    return write(tmp_path / "longer", {language: documents(language, 1500) for language in WORDS})


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "it ended before that"
        time.sleep(0.01)


@pytest.mark.parametrize("count", [1, 2])
def test_a_build_that_was_killed_ends_as_if_it_had_not_been(longer: Path, tmp_path: Path, count: int) -> None:
    out = tmp_path / "out"
    with building(longer, out, count) as process:
        wait_for(lambda: list((out / "languages").glob("*.json")) and list(out.glob(".part-*/curated*")), process)
        process.kill()
    finished = {path.name: path.stat().st_mtime_ns for path in (out / "languages").iterdir()}
    assert 0 < len(finished) < 3
    assert not (out / "manifest.json").exists()
    make(longer, out, count=count)
    assert all((out / "languages" / name).stat().st_mtime_ns == when for name, when in finished.items())
    make(longer, tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")
    assert not list(out.glob(".part-*"))


def test_an_interrupted_build_leaves_nothing_half_written(longer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with building(longer, out, 2) as process:
        wait_for(lambda: list(out.glob(".part-*/curated*")), process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert "KeyboardInterrupt" in said.splitlines()[-1]
    assert said.count("Traceback") == 1, "workers say nothing"
    assert not list(out.glob(".part-*"))


def test_two_builds_do_not_share_a_folder(longer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with building(longer, out, 1) as process:
        wait_for(lambda: list(out.glob(".part-*")), process)
        with pytest.raises(UserError, match="another build is at work in"):
            make(longer, out)
        process.kill()


def test_a_full_disk_is_one_line_and_nothing_half_written(longer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    with building(longer, out, 1, before=limit) as process:
        _, said = process.communicate()
    assert said.splitlines()[-1].startswith("unibert.errors.UserError: no room left in")
    assert "finished languages are kept: free some space and give the same command again" in said
    assert not list(out.glob(".part-*"))
    assert not list(out.glob("*.zst"))
    make(longer, out)
    assert from_folder(out).languages == ("en", "ru", "th")


def test_the_commit_a_build_was_begun_with_is_remembered(text: Path, tmp_path: Path) -> None:
    source = replace(resolve(str(text), wanted("en")), kind="hub", name="some/text", revision="ab" * 20)
    assert begun_at(tmp_path, "some/text") is None
    (tmp_path / "build.json").write_text(json.dumps({"source": source.identity()}))
    assert begun_at(tmp_path, "some/text") == "ab" * 20
    assert begun_at(tmp_path, "other/text") is None
