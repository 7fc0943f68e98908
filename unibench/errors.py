"""Everything that can go wrong on purpose, in one place.

UniBenchError            message is one line: what came, what was expected, what to do
├── UserError            the command cannot be carried out as asked; exit code 2, no traceback
│   ├── UnknownName      a task, model, language or size that does not exist; carries did-you-mean
│   ├── CardError        a task card with a wrong key or value; names file and key
│   ├── DataError        a data file or row that is not what its card says; names file, row and remedy
│   └── StaleRecord      a stored record made by another recipe, card, data or model
└── Unavailable          something named correctly that cannot be reached from here (offline Hub, absent split)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class UniBenchError(Exception):
    """Root of the tree; never raised itself."""


class UserError(UniBenchError):
    """A request that cannot be carried out as written."""


class UnknownName(UserError):
    """A name that is not among the known ones.

    `kind` is the noun ("task"), `where` says where the known ones were looked up ("tasks/").
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str) -> None:
        options = sorted(known)
        close = get_close_matches(name, options, n=1, cutoff=0.5)
        if close:
            hint = f"did you mean {close[0]!r}?"
        elif options:
            shown = ", ".join(options[:20]) + (", …" if len(options) > 20 else "")
            hint = f"known: {shown}"
        else:
            hint = "there are none"
        super().__init__(f"no {kind} {name!r} in {where}; {hint}")


class CardError(UserError):
    """A task card that does not say what a card must say."""


class DataError(UserError):
    """A data file or row that is not what its card promises."""


class StaleRecord(UserError):
    """A stored record that differs from what today's command would make."""


class Unavailable(UniBenchError):
    """A correct request that this machine cannot serve now; the message is the reason shown in the table."""


def one_line(error: BaseException, most: int = 200) -> str:
    """Returns what an error of another library says, as one line of at most `most` characters; its kind if nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else text[: most - 1] + "…"


def without_language(reason: str, code: str) -> str:
    """Returns a reason with "…" for its language, so that those of several languages read alike.

    Only where a reason names one (for sw, 'sw', a folder /sw/): the code of Norwegian is a word of English.
    """
    named = re.escape(code)
    return re.sub(rf"(?<= for ){named}(?![\w-])|(?<='){named}(?=')|(?<=/){named}(?=[/ ])", "…", reason)
