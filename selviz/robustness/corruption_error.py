"""How much of a baseline's error a network makes under corruptions: `mean_corruption_error(errors, baseline)`.

Arrays of corruptions x images: the share of severities at which an image is taken for another class.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from selviz.statistics import mean_interval


class CorruptionError(NamedTuple):
    """The mean corruption error, 1 for the baseline itself, with its 95 % interval for new images.

    NaN where it is not defined: `undefined` are the rows of the corruptions under which the baseline makes no error.
    """

    mce: float
    low: float
    high: float
    undefined: tuple[int, ...]


def mean_corruption_error(
    errors: Float[np.ndarray, "corruptions images"], baseline: Float[np.ndarray, "corruptions images"]
) -> CorruptionError:
    """Return the mean over corruptions of the error relative to the baseline's on the same images.

    Of one corruption: the error summed over severities, over the baseline's summed over the same severities
    (Hendrycks & Dietterich 2019, arXiv 1903.12261, section 4.2: CE). `errors` and `baseline` are means over severities,
    whose quotient is that of the sums. The interval is the delta method's over images, which both networks share:
    an image that is hard for both moves the quotient little.
    """
    ours, theirs = np.asarray(errors, dtype=float), np.asarray(baseline, dtype=float)
    means = theirs.mean(axis=1)
    undefined = tuple(int(row) for row in np.flatnonzero(means == 0))
    if undefined:
        return CorruptionError(np.nan, np.nan, np.nan, undefined)
    by_corruption = ours.mean(axis=1) / means
    mce, n = float(by_corruption.mean()), ours.shape[1]
    influence = ((ours - by_corruption[:, None] * theirs) / means[:, None]).mean(axis=0)
    low, high = mean_interval(mce, influence.std(ddof=1) if n > 1 else np.nan, n)
    return CorruptionError(mce, max(float(low), 0.0), float(high), ())
