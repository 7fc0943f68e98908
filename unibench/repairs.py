"""What the repairs and omissions that a reader counted say about a card: warnings, each with what to look at."""

from __future__ import annotations

from unibench.cards import TaskCard
from unibench.data import Loaded
from unibench.readers import find_answer, stated_answers

FEW = 0.05  # of the rows: more answers than these stand elsewhere by a mistake in the offsets, not by a slip
MANY = 0.2  # of the sentences: more than these break their scheme because it is another one


def warnings(card: TaskCard, here: str, loaded: Loaded) -> list[str]:
    """Returns the warnings of one part in one language, which `here` names."""
    notes, rows = loaded.notes, loaded.rows
    found = []
    off, moved, lost = (notes.get(name, 0) for name in ("answer_absent", "answer_moved", "unlabelled"))
    if off:
        found.append(f"{off:,} answers are not where answer_start says, the first in {_first_absent(loaded)}")
    if moved:
        first, _ = loaded.noted["answer_moved"]
        found.append(f"{moved:,} answers stand near where answer_start says, and were moved, the first in {first}")
    if off + moved > FEW * rows:
        found.append(
            f"train and score nothing before {off + moved:,} answers in {rows:,} rows are corrected: "
            "answer_start counts characters (not bytes or words) from the start of the context, the first being 0"
        )
    if lost and card.family == "qa" and not card.options.get("unanswerable"):
        keep = "options = { unanswerable = true } keeps them"
        found.append(f"{lost:,} of {rows:,} questions have no answer and are left out; {keep}")
    elif lost:
        found.append(f"{lost:,} of {rows:,} rows have no label and are left out")
    if (repaired := notes.get("iob_repaired", 0)) > MANY * rows:
        place, _ = loaded.noted["iob_repaired"]
        asked = f"is options.scheme {card.options.get('scheme')!r} right?"
        found.append(f"the tags of {repaired:,} of {rows:,} sentences were repaired, the first in {place}; {asked}")
    if malformed := notes.get("malformed", 0):
        found.append(f"{malformed:,} malformed rows are passed over, as on_error says")
    return [f"{here}: {warning}" for warning in found]


def _first_absent(loaded: Loaded) -> str:
    """Returns where the first such answer stands in the file, what the data say of it, and where its text is."""
    place, (context, _, answers) = loaded.noted["answer_absent"]
    pairs = zip(*stated_answers(answers), strict=True)
    text, stated = next((t, s) for t, s in pairs if t.strip() and find_answer(context, t, s) == -1)
    at = context.find(text)
    return f"{place}: answer_start {stated}, its text {f'stands at {at}' if at >= 0 else 'is nowhere in the context'}"
