"""Statistics: pure functions of arrays. What draws random numbers takes a Generator; nothing here reads a record.

Every p names what it claims, see the module of each.
"""

from unibench.stats.corrections import benjamini_hochberg, bonferroni, holm, k_hat, one_sided, resamples_for
from unibench.stats.means import eligible, macro_mean, relative_improvement
from unibench.stats.signed import Wilcoxon, wilcoxon

__all__ = [
    "Wilcoxon",
    "benjamini_hochberg",
    "bonferroni",
    "eligible",
    "holm",
    "k_hat",
    "macro_mean",
    "one_sided",
    "relative_improvement",
    "resamples_for",
    "wilcoxon",
]
