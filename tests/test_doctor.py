"""The doctor tells what is there, and gives a remedy for whatever is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import unibench

from unibench import doctor
from unibench.cards import all_cards, card_folders


def found(results: Path) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine(results, device="cpu", precision="fp32")}


def test_what_is_not_ok_has_a_remedy(tmp_path: Path) -> None:
    seen = found(tmp_path / "new" / "results")
    assert {
        "python",
        "torch",
        "cores",
        "memory",
        "precision",
        "results",
        "hub",
        "mirror",
        "text",
        "sample",
    } <= seen.keys()
    assert any(what.startswith("gpu") for what in seen)
    for finding in seen.values():
        assert bool(finding.remedy) == (finding.status != "ok"), finding
    assert seen["hub"].status == "note", "tests have no network"
    assert "--data FOLDER" in seen["hub"].remedy
    assert seen["precision"].status == "note"
    assert not (tmp_path / "new").exists(), "it looks, and writes nothing"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_unwritable", lambda folder: "Permission denied" if folder == tmp_path else "")
    assert found(tmp_path)["results"].status == "problem"
    assert found(tmp_path)["results"].found == f"{tmp_path}: Permission denied"
    assert found(tmp_path)["temporary"].status != "problem"


def test_a_file_where_a_folder_should_be_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    assert found(tmp_path / "results")["results"].status == "problem"


def test_fewer_threads_than_cores_are_told_and_odd_settings_are_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert found(tmp_path)["threads"].remedy == "unset OMP_NUM_THREADS, or give --threads 4"
    for fine in ("4", "4,2", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", fine)
        assert "threads" not in found(tmp_path)


def test_mirrors_are_looked_into(tmp_path: Path, toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIBENCH_DATA", str(tmp_path / "gone"))
    assert found(tmp_path)["mirror"].status == "problem"
    monkeypatch.setenv("UNIBENCH_DATA", str(toys / "hub"))
    cards = len(all_cards(card_folders()))
    assert f"0 of {cards} tasks (none)" in found(tmp_path)["mirror"].found
    assert found(tmp_path)["mirror"].status == "problem"
    monkeypatch.setenv("UNIBENCH_CORPUS", str(tmp_path / "gone"))
    assert found(tmp_path)["text"].status == "problem"


@pytest.mark.realdata
def test_a_real_mirror_is_counted(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIBENCH_DATA", str(shared / "hub"))
    mirror = found(tmp_path)["mirror"]
    assert mirror.status == "ok"
    assert "wikiann" in mirror.found


def test_the_command_says_so_in_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unibench("doctor", "--results", tmp_path) == 0
    assert "remedy" in capsys.readouterr().out
    monkeypatch.setenv("UNIBENCH_CORPUS", "gone")
    assert unibench("doctor", "--results", tmp_path) == 1
    assert "correct it, or unset it" in " ".join(capsys.readouterr().out.split())
