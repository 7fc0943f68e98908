"""How fast a corpus is built: megabytes of text a CPU second, and memory for four times the text.

    python benchmarks/corpus.py --source TEXT --languages en,ru,zh

TEXT is a folder of LANG.txt[.zst|.gz]; without it the rows are the sample's passages in five languages. Lines are put
together into documents of --lines each, as articles have them. One process builds, so that CPU seconds are those of one
core; decontamination is left out: it depends on the test sets at hand. The rate is that of the text the larger build
has more than the smaller, so that starting costs nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TELLING_S = 1.0  # of difference; starting alone varies by a tenth of a second


def lines_of(source: Path | None, language: str) -> Iterator[str]:
    """Yields a language's lines, of a folder or of the sample."""
    if source is None:
        from unibench.sample import text

        return iter(text.lines(language))
    from unibert.corpus import from_folder

    return from_folder(source, (language,)).read(language)


def write_documents(source: Path | None, languages: list[str], folder: Path, *, lines: int, documents: int) -> None:
    """Writes LANG.jsonl with so many documents of so many lines each, fewer where there is less text."""
    folder.mkdir()
    for language in languages:
        read = lines_of(source, language)
        with (folder / f"{language}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(documents):
                document = "\n".join(itertools.islice(read, lines))
                if document:
                    file.write(json.dumps({"text": document}, ensure_ascii=False) + "\n")


def build(source: Path, out: Path) -> tuple[float, float, float]:
    """Returns megabytes of text read, CPU seconds, and peak megabytes of the largest process so far."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "unibench.cli", "corpus", "build", "--source", str(source), "--out", str(out)]
    done = subprocess.run([*command, "--decontaminate", "none", "--workers", "1"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    languages = json.loads((out / "manifest.json").read_text())["languages"].values()
    megabytes = sum(language["read"]["bytes"] for language in languages) / 1e6
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return megabytes, seconds, after.ru_maxrss / 1024


def main() -> None:
    """Builds twice and prints a line each, and the rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--languages", default="de,en,es,fr,ru")
    parser.add_argument("--lines", type=int, default=20, help="lines a document")
    parser.add_argument("--documents", type=int, default=150, help="documents a language of the smaller build")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for documents in (arguments.documents, 4 * arguments.documents):
            source, out = Path(name) / f"text-{documents}", Path(name) / f"corpus-{documents}"
            write_documents(
                arguments.source, arguments.languages.split(","), source, lines=arguments.lines, documents=documents
            )
            megabytes, seconds, memory = build(source, out)
            found.append((megabytes, seconds))
            print(f"{megabytes:7.1f} MB of text in {seconds:6.1f} CPU s, starting included; peak {memory:,.0f} MB")
    (less, quick), (more, slow) = found
    if slow - quick < TELLING_S:
        print(
            f"the larger build took {slow - quick:.1f} CPU s more, too little to tell a rate by; give more --documents"
        )
    else:
        print(f"{(more - less) / (slow - quick):.2f} MB/s a core")


if __name__ == "__main__":
    main()
