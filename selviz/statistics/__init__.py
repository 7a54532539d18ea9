"""Intervals, tests and ranks for all pages: `wilson(correct, n)`, `mcnemar(lost, gained)`, `over_seeds(accuracies)`."""

from selviz.statistics.correlations import (
    correlation_estimate,
    correlation_interval,
    pooled_correlation,
    rank_correlation,
)
from selviz.statistics.estimates import Estimate, bounded_difference, bounded_mean, delong, welch_estimate
from selviz.statistics.groups import LEVEL, Equivalence, equivalence, equivalence_power, rank_test, welch
from selviz.statistics.intervals import (
    CALIPER,
    CONFIDENCE,
    chance,
    change_interval,
    mcnemar,
    mean_interval,
    split_interval,
    wilson,
)
from selviz.statistics.ranks import Rank, benjamini_hochberg, holm, rank_among, smallest_p
from selviz.statistics.seeds import FEWEST_SEEDS, MAX_T_SEEDS, RESAMPLES, Collapse, OverSeeds, collapse, over_seeds

__all__ = [
    "CALIPER",
    "CONFIDENCE",
    "FEWEST_SEEDS",
    "LEVEL",
    "MAX_T_SEEDS",
    "RESAMPLES",
    "Collapse",
    "Equivalence",
    "Estimate",
    "OverSeeds",
    "Rank",
    "benjamini_hochberg",
    "bounded_difference",
    "bounded_mean",
    "chance",
    "change_interval",
    "collapse",
    "correlation_estimate",
    "correlation_interval",
    "delong",
    "equivalence",
    "equivalence_power",
    "holm",
    "mcnemar",
    "mean_interval",
    "over_seeds",
    "pooled_correlation",
    "rank_among",
    "rank_correlation",
    "rank_test",
    "smallest_p",
    "split_interval",
    "welch",
    "welch_estimate",
    "wilson",
]
