"""Resampling against doing it row by row, as ratios of CPU time in one run, and what a report of 10,000 records takes.

(a) 10,000 paired bootstraps of 5,000 examples, the 28 pairs of 8 models, 15 parallel languages; against a loop that
draws indices and takes two means for every resample, pair and language, and against one that draws once for all and
takes every model's mean once, as ours does. Ours draws once for all languages, or anew in each.
(b) Span F1 of 10,000 resamples of 2,000 sentences, against seqeval on each resample's tags.
(c) `unibench report --significance` on 20 models × 5 seeds × 100 cells of 500 examples, four families mixed, twice:
with nothing computed before, and again. CPU and wall time and the peak of memory of that process.

    python benchmarks/statistics.py
    python benchmarks/statistics.py --parts c --store made    # the store is kept, and found there the next time
    python benchmarks/statistics.py --tiny                    # all of it in seconds, no number to quote

In (a) and (b) each side is a process of its own with one thread; repeats are interleaved and medians printed, with the
range of the ratios. Loops take as long as they have resamples, so they are given some and extrapolated.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Parses the command line and measures."""
    import argparse
    import json
    import tempfile

    import report_store
    import resamples

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="a,b,c", help="of a, b and c, joined by commas")
    parser.add_argument("--tiny", action="store_true", help="sizes that take seconds")
    for name in ("resamples", "examples", "languages", "sentences", "looped"):
        parser.add_argument(f"--{name}", type=int, help=f"of (a) and (b); {resamples.FULL[name]:,}")
    parser.add_argument("--records", type=int, help="of (c), by fewer cells; 10,000")
    parser.add_argument("--store", type=Path, help="folder for the records of (c); one that is deleted if left out")
    parser.add_argument("--repeats", type=int, help="of (a) and (b); 3")
    parser.add_argument("--out", type=Path, help="also write every measurement here, as JSON")
    parser.add_argument("--verbose", action="store_true", help="show what the sides write to stderr")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if not set(parts) <= set("abc"):
        sys.exit(f"no part {arguments.parts!r}; --parts takes a, b and c, joined by commas")

    rows, stored = ((of.TINY if arguments.tiny else of.FULL) for of in (resamples, report_store))
    size = argparse.Namespace(**{name: getattr(arguments, name, None) or value for name, value in rows.items()})
    made = argparse.Namespace(**stored)
    if arguments.records:
        made.cells = max(len(report_store.TASKS), arguments.records // (made.models * made.seeds))
    repeats = arguments.repeats or (1 if arguments.tiny else 3)
    found = {part: resamples.compare(part, size, repeats, arguments.verbose) for part in parts if part != "c"}
    if "c" in parts:
        with tempfile.TemporaryDirectory() as folder:
            found["c"] = report_store.compare(arguments.store or Path(folder), made)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
else:  # the benchmarks beside this file, and what they import, want the standard library's module of this name
    import importlib.util
    import sysconfig

    spec = importlib.util.spec_from_file_location(__name__, Path(sysconfig.get_path("stdlib")) / "statistics.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[__name__] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[__name__])
