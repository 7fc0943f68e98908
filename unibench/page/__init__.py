"""The report as one HTML page: a file that needs no network, no server and no other file."""

from unibench.page.document import Facts, page
from unibench.page.drawings import Figure
from unibench.page.sections import Section, section

__all__ = ["Facts", "Figure", "Section", "page", "section"]
