"""The one error that is the user's to mend. Its message is one line: what came, what was expected, what to do."""

from __future__ import annotations


class UserError(ValueError):
    """A request that cannot be carried out as written."""
