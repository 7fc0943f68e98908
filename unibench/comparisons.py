"""What a comparison with the baseline says, and all comparisons of one setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unibench.pairing import NAN, CellKey

TEST = "paired permutation of example groups, two-sided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One model's score, and its difference from the baseline's, in one cell or averaged (`language`, `task` None).

    Scores are 0..1 and averaged over `seeds`, those that both models have; means run language -> task -> overall.
    `ci_low`, `ci_high` bound `delta`; every interval is at 95 %, `bca_low`, `bca_high` bound it too, corrected for bias
    and skewness (cells only). `relative_improvement` and `ratio` (of means) are over the eligible cells only. What
    can't be known, or doesn't apply (the baseline against itself), is nan. `corrected` is the difference as a share of
    what chance leaves to be gained, over all cells. `cells` of the `cells_wanted` entered; `n` examples in `groups`
    that are drawn as a whole; `floor` is what chance scores (cells only) and `above_floor` whether the score's interval
    lies above it.

    `p` comes from `swaps` permutations, whose seeds `drawn` names; `p_adjusted` is nan outside the family, and `closed`
    says that a test above it was not rejected. `exact_p` is McNemar's, where it applies. `detectable` is the least true
    difference that the test finds in four cases of five, at the family's hardest step. `equivalence_p` and `verdict`
    ask whether the difference lies within the family's margin.
    """

    model: str
    baseline: str | None
    task: str | None
    language: str | None
    metric: str
    score: float
    score_low: float
    score_high: float
    baseline_score: float = NAN
    delta: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    bca_low: float = NAN
    bca_high: float = NAN
    relative_improvement: float = NAN
    ri_low: float = NAN
    ri_high: float = NAN
    ratio: float = NAN
    corrected: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    closed: bool = False
    exact_p: float = NAN
    detectable: float = NAN
    equivalence_p: float = NAN
    verdict: str = ""
    swaps: int = 0
    drawn: str = ""
    groups: int = 0
    test: str = TEST
    n: int = 0
    seeds: tuple[int, ...] = ()
    floor: float = NAN
    above_floor: bool = False
    cells: int = 1
    cells_wanted: int = 1
    ri_cells: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """All comparisons of one setting, and what their footer must say.

    `rows` go by task, language (cells first, then the task's mean), model; the overall means come last. `family` tests
    were adjusted together, by `correction`. `ineligible` maps each baseline cell left out of relative improvements to
    its (lower bound, floor). `undefined` lists the baseline's cells without a defined score, left out of every mean.
    """

    rows: tuple[Comparison, ...]
    family: int
    resamples: int  # bootstrap samples of each interval
    swaps: int  # permutations of each test, at least
    ineligible: Mapping[CellKey, tuple[float, float]]
    undefined: tuple[CellKey, ...]
    correction: str = "holm"
