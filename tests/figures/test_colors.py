"""The colours of the dashboard stay apart for every kind of colour vision, and alpha's are not the classes'."""

import itertools

import numpy as np
import pytest
from plotly.colors import unlabel_rgb

from selviz.figures import colors

# Severity 1.0 of Machado, Oliveira and Fernandes 2009, for linear RGB.
VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# Oklab (Ottosson 2020): equal distances look about equally different; black to white is 1.
TO_CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
TO_OKLAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip


def oklab(hexadecimal, vision):
    rgb = np.array([int(hexadecimal[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    return np.array(TO_OKLAB) @ np.cbrt(np.array(TO_CONES) @ seen)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("dark", [False, True])
def test_class_and_alpha_colours_can_be_told_apart(dark, vision):
    every = [oklab(colour, vision) for colour in (*colors.CLASSES[dark], *colors.ALPHA[dark])]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(every, 2)) > 0.07


def test_there_are_ten_class_colours_and_none_is_alphas():
    for dark in (False, True):
        assert len(set(colors.CLASSES[dark])) == 10
        assert not set(colors.CLASSES[dark]) & set(colors.ALPHA[dark])


@pytest.mark.parametrize("dark", [False, True])
def test_alpha_runs_from_blue_over_grey_to_orange(dark):
    assert [colors.alpha(a, dark) for a in (0, None, float("nan"))] == [colors.ALPHA[dark][1]] * 3
    blueness = [part[2] - part[0] for part in (rgb(colors.alpha(a, dark)) for a in (-100, -5, -1, 0, 1, 5, 100))]
    assert blueness == sorted(blueness, reverse=True)
    assert blueness[0] > 0 > blueness[-1]


def test_with_more_than_ten_classes_only_the_singled_out_have_a_hue():
    hues = colors.classes(200, single_out=(7, 150))
    assert [c for c, hue in enumerate(hues) if hue != colors.OTHER[False]] == [7, 150]


def rgb(colour):
    return unlabel_rgb(colour) if colour.startswith("rgb") else [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
