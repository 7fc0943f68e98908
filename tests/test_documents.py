"""Where documents come from, and what is wrong with them: files, mirrors, and a Hub that answers on this machine."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fake_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from unibert import documents, reading
from unibert.documents import EDITIONS, WIKIPEDIA, Source, edition, resolve, wanted
from unibert.errors import UserError
from unibert.languages import LANGUAGES
from unibert.reading import Fault, Meter

TEXTS = ["First paragraph.\nSecond, längerer Absatz.", "Another document, in one line."]
ROWS = [{"id": str(i), "url": "u", "title": "t", "text": text} for i, text in enumerate(TEXTS)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def read(source: Source, language: str) -> list[str | Fault]:
    meter = Meter()
    found = [item for file in source.files[language] for item in reading.documents(file, source.column, meter)]
    assert meter.bytes == source.size(language)
    return found


def one_fault(source: Source, language: str = "en") -> Fault:
    [fault] = [item for item in read(source, language) if isinstance(item, Fault)]
    return fault


def test_every_kind_of_file_in_a_folder_gives_the_same_documents(tmp_path: Path) -> None:
    lines = "".join(f"{text}\n\n" for text in ("one document", " two, with spaces around ")).encode()
    rows = "".join(json.dumps({"text": text}) + "\n" for text in ("one document", "two, with spaces around")).encode()
    (tmp_path / "aa.txt").write_bytes(lines)
    (tmp_path / "bb.txt.zst").write_bytes(zstandard.compress(lines[:5]) + zstandard.compress(lines[5:]))
    (tmp_path / "cc.txt.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "dd.jsonl").write_bytes(rows)
    (tmp_path / "ee-00000.jsonl.gz").write_bytes(gzip.compress(rows[: rows.index(b"\n") + 1]))
    (tmp_path / "ee-00001.jsonl.zst").write_bytes(zstandard.compress(rows[rows.index(b"\n") + 1 :]))
    (tmp_path / "zh-yue").mkdir()
    table = pa.table({"text": ["one document", "two, with spaces around"]})
    pq.write_table(table, tmp_path / "zh-yue" / "part.parquet")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "en.csv").write_text("text\n")
    (tmp_path / "LICENCE-2.0.txt").write_text("terms")
    source = resolve(str(tmp_path), wanted("all"))
    assert list(source.files) == ["aa", "bb", "cc", "dd", "ee", "zh-yue"]
    for language in source.files:
        assert read(source, language) == ["one document", "two, with spaces around"], language
    assert source.ignored == ("LICENCE-2.0.txt", "README.md", "en.csv")
    assert list(resolve(str(tmp_path), wanted("bb,aa")).files) == ["bb", "aa"]


def test_paragraphs_are_stripped_and_blank_ones_dropped(tmp_path: Path) -> None:
    row = {"text": "  Title \n\n\n First.\r\n\t\nSecond.  \n"}
    (tmp_path / "en.jsonl").write_text(json.dumps(row) + "\n")
    assert read(resolve(str(tmp_path), wanted("all")), "en") == ["Title\nFirst.\nSecond."]


def damage(folder: Path, kind: str) -> None:
    good = b'{"text": "a first, good row"}\n'
    if kind == "utf-8":
        (folder / "en.txt").write_bytes(b"a good line\nbad \xff line\nanother good line\n")
    elif kind == "json":
        (folder / "en.jsonl").write_bytes(good + b'{"text": "never closed\n' + good)
    elif kind == "no object":
        (folder / "en.jsonl").write_bytes(good + b'["text"]\n' + good)
    elif kind == "no field":
        (folder / "en.jsonl").write_bytes(good + b'{"body": "x"}\n' + good)
    elif kind == "no text":
        (folder / "en.jsonl").write_bytes(good + b'{"text": 7}\n' + good)
    elif kind == "surrogate":
        (folder / "en.jsonl").write_bytes(good + b'{"text": "half \\ud83d pair"}\n' + good)
    elif kind in ("zst", "gz"):
        text = b"".join(b"%d: a line of some length\n" % i for i in range(20_000))
        whole = zstandard.compress(text) if kind == "zst" else gzip.compress(text)
        (folder / f"en.txt.{kind}").write_bytes(whole[: len(whole) // 2])
    elif kind == "null":
        pq.write_table(pa.table({"text": ["one", None, "three"]}), folder / "en.parquet")
    elif kind == "column":
        pq.write_table(pa.table({"body": ["one"], "id": [1]}), folder / "en.parquet")
    elif kind == "type":
        pq.write_table(pa.table({"text": [1, 2]}), folder / "en.parquet")
    elif kind == "footer":
        pq.write_table(pa.table({"text": ["one"] * 1000}), folder / "en.parquet")
        path = folder / "en.parquet"
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path = folder / "en.parquet"
        texts = [f"row {i} {'x' * (i % 50)}" for i in range(4000)]
        pq.write_table(pa.table({"text": texts}), path, row_group_size=1000, compression="zstd", use_dictionary=False)
        spoilt = bytearray(path.read_bytes())
        start = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
        spoilt[start + 40 : start + 400] = bytes(360)
        path.write_bytes(spoilt)


@pytest.mark.parametrize(
    ("kind", "counted", "message"),
    [
        ("utf-8", "not UTF-8", r"^en\.txt, line 2 is not UTF-8 \(invalid start byte at byte 4\); convert the file$"),
        ("json", "malformed", r"^en\.jsonl, line 2 is not JSON \(Unterminated string"),
        ("no object", "no column", r"^en\.jsonl, line 2 is list; expected 'text': name it with --column$"),
        ("no field", "no column", r"^en\.jsonl, line 2 has the fields body; expected 'text'"),
        ("no text", "no text", r"^en\.jsonl, line 2: 'text' is int, expected text"),
        ("surrogate", "not UTF-8", r"^en\.jsonl, line 2 holds half a surrogate pair"),
        ("zst", "truncated", r"^en\.txt\.zst is truncated or corrupt after line \d+ \(the last zstd frame"),
        ("gz", "truncated", r"^en\.txt\.gz is truncated or corrupt after line \d+ \(Compressed file ended"),
        ("null", "no text", r"^en\.parquet, row 2: 'text' is null, expected text"),
        ("column", "no column", r"^en\.parquet has no column 'text' in its 1 rows; it has body, id$"),
        ("type", "no text", r"^en\.parquet: column 'text' is int64 in its 2 rows, expected text$"),
        ("footer", "truncated", r"^en\.parquet is truncated or corrupt after row 0 \("),
        ("row group", "truncated", r"^en\.parquet is truncated or corrupt after row \d+, \d+ rows lost \("),
    ],
)
def test_bad_input_is_named_by_file_and_place_and_the_rest_is_read(
    tmp_path: Path, kind: str, counted: str, message: str
) -> None:
    damage(tmp_path, kind)
    source = resolve(str(tmp_path), wanted("all"))
    found = read(source, "en")
    fault = one_fault(source)
    assert fault.kind == counted
    assert "\n" not in fault.message

    assert re.search(message, fault.message), fault.message
    if kind in ("utf-8", "json", "no object", "no field", "no text", "surrogate", "null"):
        assert [isinstance(item, Fault) for item in found] == [False, True, False]
    if kind == "row group":  # the third of four is spoilt
        # pyarrow reads ahead, so how far one reading gets is chance: what it says is held against its own rows
        [own] = [item for item in found if isinstance(item, Fault)]
        before, lost = map(int, re.findall(r"row (\d+), (\d+) rows", own.message)[0])
        assert before == len(found) - 1 <= 2000
        assert before + lost == 4000


def test_a_line_without_an_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 3 << 20)
    (tmp_path / "en.txt").write_bytes(b"short\n" + b"x" * (9 << 20) + b"\nshort again\n" + b"y" * (4 << 20))
    found = read(resolve(str(tmp_path), wanted("all")), "en")
    assert [item if isinstance(item, str) else item.kind for item in found] == [
        "short", "too long", "short again", "too long",
    ]  # fmt: skip
    assert isinstance(found[1], Fault)
    assert found[1].message == "en.txt, line 2 is longer than 3 MB; split the line"


def test_a_mirror_of_wikipedia_is_read_in_its_editions(write_mirror: Callable[..., Path]) -> None:
    root = write_mirror(WIKIPEDIA, {"20231101.en/train": ROWS, "20231101.no/train": ROWS[:1]})
    source = resolve("wikipedia", wanted("all"), mirror=root)
    assert (source.kind, source.name, source.config) == ("mirror", WIKIPEDIA, "20231101.{lang}")
    assert set(source.files) == {"en", "nb"}
    assert read(source, "en") == TEXTS
    assert read(source, "nb") == TEXTS[:1]
    assert len(source.absent) == len(LANGUAGES) - 2
    assert source.revision == ""


@pytest.mark.parametrize("readme", [True, False])
def test_a_mirror_may_be_the_folder_of_the_dataset_itself(write_mirror: Callable[..., Path], readme: bool) -> None:
    root = write_mirror(WIKIPEDIA, {"20231101.en/train": ROWS}, readme=readme)
    assert read(resolve("wikipedia", wanted("en"), mirror=root / WIKIPEDIA), "en") == TEXTS


def test_a_mirrors_commit_is_what_the_download_noted(write_mirror: Callable[..., Path]) -> None:
    root = write_mirror(WIKIPEDIA, {"20231101.en/train": ROWS})
    notes = root / WIKIPEDIA / ".cache" / "huggingface" / "download" / "20231101.en"
    notes.mkdir(parents=True)
    (notes / "train-00000-of-00001.parquet.metadata").write_text(f"{COMMIT}\nsomething\n1700000000.0\n")
    assert resolve("wikipedia", wanted("en"), mirror=root).revision == COMMIT
    with pytest.raises(UserError, match=f"is at {COMMIT}, not at --revision main"):
        resolve("wikipedia", wanted("en", revision="main"), mirror=root)


def test_other_datasets_name_their_configs_columns_and_splits(write_mirror: Callable[..., Path]) -> None:
    root = write_mirror("some/text", {"swh_Latn/test": [{"body": "Habari ya leo."}], "one/train": ROWS})
    asked = wanted("sw=swh_Latn", config="{lang}", column="body", split="test")
    assert read(resolve("some/text", asked, mirror=root), "sw") == ["Habari ya leo."]
    assert read(resolve("some/text", wanted("en", config="one"), mirror=root), "en") == TEXTS
    with pytest.raises(UserError, match=r"--config-pattern 'one' has no \{lang\}, so it is one language"):
        resolve("some/text", wanted("all", config="one"), mirror=root)


def test_every_language_has_one_edition_and_nb_is_called_no() -> None:
    everything = wanted("all")
    names = [edition(WIKIPEDIA, language, everything) for language in LANGUAGES]
    assert len(set(names)) == 107
    assert [code for code in LANGUAGES if edition(WIKIPEDIA, code, everything) != f"20231101.{code}"] == ["nb"]
    assert EDITIONS["nb"] == "no"


def mistakes(write: Callable[..., Path], tmp_path: Path) -> dict[str, Callable[[], Source]]:
    root = write(WIKIPEDIA, {"20231101.en/train": ROWS})
    gap = root / "some" / "gap" / "de"
    gap.mkdir(parents=True)
    (gap / "train-00000-of-00002.parquet").touch()
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "en.txt").write_text("a line\n")
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("en.txt", "en.jsonl"):
        (twice / name).write_text("{}\n")
    return {
        "no train split of config '20231101.sw' for 'sw' in .*; did you mean '20231101.en'": lambda: resolve(
            "wikipedia", wanted("sw"), mirror=root
        ),
        "has 1 of the 2 files of de": lambda: resolve("some/gap", wanted("de"), mirror=root),
        r"no config like '20240101\.\{lang\}'": lambda: resolve(
            "wikipedia", wanted("all", config="20240101.{lang}"), mirror=root
        ),
        "the data folder .*absent does not exist": lambda: resolve(
            "wikipedia", wanted("en"), mirror=tmp_path / "absent"
        ),
        "no language 'enn' in .*; did you mean 'en'": lambda: resolve(str(folder), wanted("enn")),
        "no folder nowhere; --source takes": lambda: resolve("nowhere", wanted("all")),
        r"holds no LANG\.txt, LANG\.jsonl, LANG\.parquet file": lambda: resolve(str(root / WIKIPEDIA), wanted("all")),
        r"has both en\.jsonl and en\.txt": lambda: resolve(str(twice), wanted("all")),
        "'../x' is no language code": lambda: resolve(str(folder), wanted("../x")),
        "names no language": lambda: resolve(str(folder), wanted(" , ")),
        "the Hub does not answer, and wikimedia/wikipedia is on it; offline, give --data MIRROR": lambda: resolve(
            "wikipedia", wanted("en")
        ),
    }


def test_what_is_not_there_is_named_in_one_line(write_mirror: Callable[..., Path], tmp_path: Path) -> None:
    for message, request in mistakes(write_mirror, tmp_path).items():
        with pytest.raises(UserError, match=message) as caught:
            request()
        assert "\n" not in str(caught.value)


def on_the_hub(root: Path, home: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, whose Hub is `root`, served over HTTP by this machine."""
    with fake_hub.serving(root, COMMIT) as endpoint:
        environment = {
            **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(Path(documents.__file__).parents[1]),
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )


def test_the_hub_gives_what_a_mirror_of_it_gives(write_mirror: Callable[..., Path], tmp_path: Path) -> None:
    root = write_mirror(WIKIPEDIA, {"20231101.en/train": ROWS, "20231101.no/train": ROWS[:1]})
    code = """
from unibert import reading
from unibert.documents import resolve, wanted

source = resolve("wikipedia", wanted("all"))
print(source.kind, source.revision, *source.files)
for language, files in source.files.items():
    for file in files:
        print(file.path, file.size, file.sha256)
        for document in reading.documents(file, source.column, reading.Meter()):
            print(repr(document))
"""
    done = on_the_hub(root, tmp_path / "home", code)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == f"hub {COMMIT} en nb"
    assert [line for line in said if line.startswith(("'", '"'))] == [*map(repr, TEXTS), repr(TEXTS[0])]
    assert f"hf://datasets/{WIKIPEDIA}@{COMMIT}/20231101.en/train-00000-of-00001.parquet" in said[1]
    path = root / WIKIPEDIA / "20231101.en" / "train-00000-of-00001.parquet"
    assert said[1].split()[1:] == [str(path.stat().st_size), fake_hub.sha256(path)]
