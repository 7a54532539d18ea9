"""Formulas written the plain way, in Python's own numbers, to hold the fast ones against."""


def plain_index(activations, labels, classes):
    """SI of one unit by a loop over images, in Python's own floats."""
    sums, counts = [0.0] * classes, [0] * classes
    for value, label in zip(activations, labels, strict=True):
        sums[label] += float(value)
        counts[label] += 1
    means = [total / count for total, count in zip(sums, counts, strict=True) if count]
    highest = max(means)
    rest = (sum(means) - highest) / (len(means) - 1)
    return (highest - rest) / (highest + rest + 1e-7)
