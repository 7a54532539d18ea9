"""Whether gradients mislead a white-box attack: `masking(right_under_pgd, right_under_rays)`.

An attack that may use the gradients can do all that one without them can. If it leaves more images right, its gradients
lead nowhere (Athalye, Carlini & Wagner 2018, arXiv 1802.00420), and the accuracy under it is too high.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from selviz import statistics


class Masking(NamedTuple):
    """How many more images, as a share of all, a white-box attack leaves right than one without gradients."""

    images: int
    white_box: float  # share that is right under the white-box attack
    without: float  # under the attack without gradients
    difference: float
    low: float  # of its 95 % interval for new images
    high: float
    p: float  # exact, one-sided: against at most as many


def masking(white_box: Bool[np.ndarray, " images"], without: Bool[np.ndarray, " images"]) -> Masking:
    """Compare which images [N] are right under two attacks on the same images; McNemar's exact test, one-sided."""
    from scipy import stats

    only_white, only_without = int((white_box & ~without).sum()), int((~white_box & without).sum())
    n = len(white_box)
    low, high = statistics.change_interval(only_without, only_white, n)  # what is lost, and what is gained
    differ = only_white + only_without
    p = float(stats.binomtest(only_white, differ, 0.5, alternative="greater").pvalue) if differ else 1.0
    return Masking(
        n, float(white_box.mean()), float(without.mean()), (only_white - only_without) / n, float(low), float(high), p
    )
