"""A mirror is what the Hub has, byte for byte, or says what it is not; whatever interrupts it, it is gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import fake_hub
import pytest
from fake_hub import Weather
from tiny_runs import STS_CARD, unibench, write_toys

from unibench import mirror

REPO = Path(__file__).resolve().parents[1]
COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef" * 5
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, write_mirror: Callable[..., Path]) -> Path:
    """hub/, which the fake Hub serves, and tasks/ with toy_nli and toy_sts."""
    write_toys(tmp_path, write_mirror)
    return tmp_path


def environment(endpoint: str, home: Path) -> dict[str, str]:
    return {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "COLUMNS": "200",
        "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip


RUN = "import sys; from unibench import download; download.PAUSE_S = 0.01; from unibench.cli import main; main()"


def line(home: Path, *more: str | Path) -> list[str]:
    words = ["data", "fetch", "--to", home / "carried", "--tasks-dir", home / "tasks", "--tasks", "toy_nli,toy_sts"]
    return [sys.executable, "-c", RUN, *map(str, [*words, *more])]


def fetch(home: Path, weather: Weather | None = None, *more: str | Path) -> subprocess.CompletedProcess[str]:
    with fake_hub.serving(home / "hub", COMMIT, weather) as endpoint:
        return subprocess.run(
            line(home, *more), capture_output=True, text=True, check=False, env=environment(endpoint, home)
        )


def files_of(root: Path) -> dict[str, bytes]:
    """What the mirror's user sees: everything but caches and the manifest."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.name != mirror.MANIFEST
    }  # fmt: skip


TRAIN, TEST = "toy/nli/en/train-00000-of-00001.parquet", "toy/nli/ru/test-00000-of-00001.parquet"


def test_only_what_the_cards_need_is_fetched_and_noted(home: Path, capsys: Captured) -> None:
    done = fetch(home)
    assert done.returncode == 0, done.stderr
    found, served = files_of(home / "carried"), files_of(home / "hub")
    assert found == {name: text for name, text in served.items() if name in found}
    # zero-shot trains in English alone; dev sets of other languages say what choosing by them would have scored
    assert sorted(served.keys() - found.keys()) == ["toy/nli/ru/train-00000-of-00001.parquet"]
    assert done.stdout.startswith("not to be had: toy_nli dev (zh): toy/nli has no validation split for … in the Hub")
    manifest = json.loads((home / "carried" / mirror.MANIFEST).read_text())
    assert {hub: of["commit"] for hub, of in manifest["datasets"].items()} == {"toy/nli": COMMIT, "toy/sts": COMMIT}
    entries = {f"{hub}/{name}": e for hub, of in manifest["datasets"].items() for name, e in of["files"].items()}
    assert entries == {
        name: {"size": len(text), "sha256": fake_hub.sha256(home / "hub" / name)} for name, text in found.items()
    }
    from unibert import layout

    for name in found:
        folder = home / "carried" / "/".join(name.split("/")[:2])
        assert layout.commit(folder, "/".join(name.split("/")[2:])) == COMMIT
    assert "files fetched: 10 (" in done.stdout
    assert f"next: unibench run --tasks toy_nli,toy_sts --data {home / 'carried'}" in done.stdout
    assert unibench("data", "verify", home / "carried") == 0
    assert "10 files, " in capsys.readouterr().out


def test_protocol_parts_and_languages_decide_what_is_needed(home: Path) -> None:
    done = fetch(home, None, "--languages", "ru,en-ru", "--parts", "train,eval", "--protocol", "monolingual")
    assert done.returncode == 0, done.stderr
    assert sorted(files_of(home / "carried")) == [
        "toy/nli/README.md", "toy/nli/ru/test-00000-of-00001.parquet", "toy/nli/ru/train-00000-of-00001.parquet",
        "toy/sts/README.md", "toy/sts/en-ru/test-00000-of-00001.parquet",
    ]  # fmt: skip
    done = fetch(home, None, "--protocol", "multilingual", "--dry-run")
    assert "not to be had: toy_nli train (zh): toy/nli has no train split for … in the Hub" in done.stdout
    assert "files fetched" not in done.stdout


def test_what_is_there_and_whole_is_kept_and_what_is_damaged_comes_again(home: Path, capsys: Captured) -> None:
    assert fetch(home).returncode == 0
    path = home / "carried" / TEST
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # as many bytes as before
    (home / "carried" / TRAIN).unlink()
    assert unibench("data", "verify", home / "carried") == 2
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"{path} is damaged" in said
    assert f"{home / 'carried' / TRAIN} is missing" in said
    assert "2 of 10 files" in said
    weather = Weather()
    done = fetch(home, weather)
    assert "files fetched: 2 (" in done.stdout
    assert "there already: 8;" in done.stdout
    # the README is asked for by the plan, to know which files make a split
    assert sorted(name for name, _ in weather.asked if name.endswith("parquet")) == [TRAIN, TEST]
    assert path.read_bytes() == whole
    assert unibench("data", "verify", home / "carried") == 0


def test_hf_download_and_this_keep_what_the_other_fetched(home: Path) -> None:
    assert fetch(home).returncode == 0
    code = """
import sys, huggingface_hub
huggingface_hub.snapshot_download("toy/nli", repo_type="dataset", revision=sys.argv[1], local_dir=sys.argv[2])
"""
    ask, theirs = Weather(), home / "theirs" / "toy" / "nli"
    for weather, folder in ((ask, home / "carried" / "toy" / "nli"), (Weather(), theirs)):
        with fake_hub.serving(home / "hub", COMMIT, weather) as endpoint:
            words = [sys.executable, "-c", code, COMMIT, str(folder)]
            subprocess.run(words, check=True, capture_output=True, env=environment(endpoint, home))
    assert sorted(name for name, _ in ask.asked) == ["toy/nli/ru/train-00000-of-00001.parquet"]
    done = fetch(home, None, "--tasks", "toy_nli", "--to", home / "theirs")
    assert "files fetched: 0 (" in done.stdout
    assert unibench("data", "verify", home / "theirs") == 0


def test_a_broken_line_is_gone_on_with_in_the_same_command(home: Path) -> None:
    weather = Weather(cut={TRAIN: 700})
    done = fetch(home, weather)
    assert done.returncode == 0, done.stderr
    assert [ask for name, ask in weather.asked if name == TRAIN] == ["", "bytes=700-"]
    assert files_of(home / "carried")[TRAIN] == (home / "hub" / TRAIN).read_bytes()


def part_sizes(folder: Path) -> list[int]:
    """Returns the bytes of every unfinished file; one may get its name while it is looked at."""
    sizes = []
    for path in folder.rglob("*.part"):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sizes


def test_killed_in_the_middle_of_a_file_it_leaves_no_half_and_goes_on_from_it(home: Path) -> None:
    weather = Weather(held={TRAIN: 600})
    with fake_hub.serving(home / "hub", COMMIT, weather) as endpoint:
        running = subprocess.Popen(
            line(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(endpoint, home)
        )
        while 600 not in part_sizes(home / "carried"):
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        weather.calm.set()
    assert TRAIN not in files_of(home / "carried")
    mirror.read(home / "carried")
    again = Weather()
    assert fetch(home, again).returncode == 0
    assert [ask for name, ask in again.asked if name == TRAIN] == ["bytes=600-"]
    assert files_of(home / "carried")[TRAIN] == (home / "hub" / TRAIN).read_bytes()
    assert not list((home / "carried").rglob("*.part"))


def test_a_half_file_with_wrong_bytes_or_a_server_deaf_to_ranges_costs_only_time(home: Path) -> None:
    part = home / "carried" / "toy/nli/.cache/unibench" / f"{fake_hub.sha256(home / 'hub' / TRAIN)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 500)
    deaf = home / "carried" / "toy/nli/.cache/unibench" / f"{fake_hub.sha256(home / 'hub' / TEST)}.part"
    deaf.write_bytes((home / "hub" / TEST).read_bytes()[:100])
    weather = Weather(deaf=False, spoilt=["toy/sts/en-en/test-00000-of-00001.parquet"])
    assert fetch(home, weather, "--languages", "en,en-en").returncode == 0
    assert [ask for name, ask in weather.asked if name == TRAIN] == ["bytes=500-", ""]
    assert fetch(home, Weather(deaf=True)).returncode == 0
    served = files_of(home / "hub")
    assert all(text == served[name] for name, text in files_of(home / "carried").items())


def refused(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    assert done.returncode == 2, done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    for words in expected:
        assert words in done.stderr


def test_what_the_hub_refuses_or_spoils_is_one_line_and_the_rest_stays(home: Path) -> None:
    refused(
        fetch(home, Weather(shut={TEST: 403})),
        f"{TEST} cannot be fetched (403 ",
        "accept the terms of toy/nli on the Hub",
    )
    assert TRAIN in files_of(home / "carried")
    assert TEST not in files_of(home / "carried")
    refused(fetch(home, Weather(spoilt=[TEST, TEST])), f"{TEST} arrives damaged")
    weather = Weather(shut={TEST: 503})
    refused(fetch(home, weather), "cannot be fetched (", "503", "the same command goes on")
    assert fetch(home).returncode == 0
    assert TEST in files_of(home / "carried")


def test_a_full_disk_is_one_line(home: Path) -> None:
    """The disk is full for real: a limit on the size of files makes the kernel refuse to write on."""
    code = RUN.replace(
        "main()",
        "import resource, signal, errno; from unibench import mirror; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); download.FULL = fetch.FULL = (errno.EFBIG,); main()",
    ).replace("from unibench import download", "from unibench import download, fetch")
    with fake_hub.serving(home / "hub", COMMIT) as endpoint:
        words = [sys.executable, "-c", code, *line(home)[3:]]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment(endpoint, home))
    refused(done, f"no space left in {home / 'carried'}; free some: the same command goes on")
    code = RUN.replace(
        "main()",
        "import shutil; real = shutil.disk_usage; shutil.disk_usage = lambda at: real(at)._replace(free=1000); main()",
    )
    with fake_hub.serving(home / "hub", COMMIT) as endpoint:
        words = [sys.executable, "-c", code, *line(home)[3:]]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment(endpoint, home))
    refused(done, "has 1.0 kB of space, and ")


def card(home: Path, name: str, text: str, *changes: tuple[str, str]) -> None:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (home / "tasks" / f"{name}.toml").write_text(text)


def test_two_commits_of_one_dataset_are_refused_by_the_cards_names(home: Path) -> None:
    first, second = (('toy/sts",', f'toy/sts", revision = "{pin}",') for pin in (COMMIT, OTHER))
    card(home, "pinned", STS_CARD, first)
    card(home, "elsewhere", STS_CARD, second)
    said = f"two commits of toy/sts are asked for (pinned at {COMMIT[:12]}; elsewhere at {OTHER[:12]})"
    refused(fetch(home, None, "--tasks", "pinned,elsewhere"), said)
    # one that pins none takes what another pins, and so does a mirror begun with it
    done = fetch(home, None, "--tasks", "elsewhere,toy_sts")
    assert f"toy/sts at {OTHER[:12]}: 3 files" in done.stdout
    done = fetch(home, None, "--tasks", "toy_sts")
    assert f"toy/sts at {OTHER[:12]}: 3 files" in done.stdout
    assert "files fetched: 0 (" in done.stdout
    said = f"pinned asks for toy/sts at {COMMIT[:12]}, and the mirror holds {OTHER[:12]}; choose another --to"
    refused(fetch(home, None, "--tasks", "pinned"), said)


def test_a_mirror_begun_at_one_commit_stays_there_when_the_hub_moves_on(home: Path) -> None:
    assert fetch(home, None, "--languages", "en,en-en").returncode == 0
    with fake_hub.serving(home / "hub", OTHER) as endpoint:
        done = subprocess.run(line(home), capture_output=True, text=True, check=False, env=environment(endpoint, home))
    assert f"toy/nli at {COMMIT[:12]}" in done.stdout
    assert {held.commit for held in mirror.read(home / "carried").values()} == {COMMIT}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--parts", "test"], "no part 'test' in unibench data fetch; known: dev, eval, train"),
        (["--protocol", "zeroshot"], "no protocol 'zeroshot' in unibench; did you mean 'zero-shot'?"),
        (["--tasks", "toy_nil"], "did you mean 'toy_nli'?"),
        (["--languages", "xx"], "no language 'xx' in the picked tasks"),
        (["--tasks", "xnli"], "nothing of task 'xnli' can be fetched: facebook/xnli cannot be reached on the Hub"),
    ],
)
def test_a_mistake_is_one_line(home: Path, more: list[str], expected: str) -> None:
    refused(fetch(home, None, *more), expected)


def test_without_the_hub_or_a_manifest_it_says_so(home: Path, tmp_path: Path, capsys: Captured) -> None:
    words = ["data", "fetch", "--to", home / "carried", "--tasks", "xnli"]
    assert unibench(*words) == 2
    assert "the Hub does not answer; run this where it can be reached" in capsys.readouterr().err
    assert unibench("data", "verify", tmp_path / "hub") == 2
    assert "has no unibench-mirror.json" in capsys.readouterr().err.replace("\n", " ")
    (tmp_path / "hub" / mirror.MANIFEST).write_text('{"schema": 1, "datasets": {"a/b": {}}}')
    assert unibench("data", "verify", tmp_path / "hub") == 2
    assert "is not a mirror's manifest (KeyError: 'commit')" in capsys.readouterr().err.replace("\n", " ")
