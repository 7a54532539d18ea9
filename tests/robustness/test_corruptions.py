"""Corruptions: local seeding, corrupt-tta's own pixels, any size, one and three channels, and what is refused."""

# ruff: noqa: NPY002  (numpy's global generator is what some of these tests are about)

import re
import sys
import threading
import zlib

import corrupt_tta.corruptions as library
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from selviz.errors import SelvizError
from selviz.robustness import corruptions
from selviz.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt, mean_change, random_bits

RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog")
RANDOM += ("elastic_transform", "speckle_noise", "spatter")


def photographs(side: int, channels: int, count: int = 2) -> np.ndarray:
    """Cuts of scikit-learn's two photographs, reduced to uint8 [N, C, side, side]."""
    from PIL import Image

    pictures = [Image.fromarray(image).resize((side, side)) for image in load_sample_images().images]
    if channels == 1:
        pictures = [picture.convert("L") for picture in pictures]
    arrays = [np.asarray(picture).reshape(side, side, channels) for picture in pictures]
    return np.moveaxis(np.stack([arrays[i % 2] for i in range(count)]), -1, 1)


def test_there_are_the_fifteen_named_ones_and_four_more():
    assert len(corruptions.STANDARD) == 15 and len(CORRUPTIONS) == 19
    from corrupt_tta import corruption_dict

    assert set(CORRUPTIONS) == set(corruption_dict)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "images"), [(28, 2), (32, 2), (64, 1)])
def test_every_corruption_keeps_shape_and_range_and_changes_the_image(side, images, channels):
    pixels = photographs(side, channels, images)
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            found = corrupt(pixels, name, severity)
            assert found.dtype == np.uint8 and found.shape == pixels.shape
            still = name == "saturate" and channels == 1 and severity < 4  # grey has no saturation to scale
            assert still or (found != pixels).any(), (name, severity)


def test_at_224_pixels_too():
    for channels in (1, 3):
        pixels = photographs(224, channels, 1)
        for name in set(CORRUPTIONS) - {"glass_blur"}:  # a second an image, and the same code at any size
            found = corrupt(pixels, name, 3)
            assert found.shape == pixels.shape and (found != pixels).any() != (name == "saturate" and channels == 1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pixels_are_those_of_corrupt_tta_drawing_from_the_same_generator(name, monkeypatch):
    pixels = photographs(32, 3)
    ours = corrupt(pixels, name, 4, seed=5, images=[7, 40])
    plain = library.random_noise
    before = np.random.get_state()
    try:
        for row, number in enumerate((7, 40)):
            bits = np.random.MT19937(np.random.SeedSequence([5, zlib.crc32(name.encode()), number]))
            np.random.set_state(np.random.RandomState(bits).get_state())
            noise = np.random.Generator(bits)
            monkeypatch.setattr(library, "random_noise", lambda *a, g=noise, **o: plain(*a, rng=g, **o))
            theirs = getattr(library, name)(np.moveaxis(pixels[row], 0, -1), 4)
            np.testing.assert_array_equal(np.moveaxis(ours[row], 0, -1), np.rint(np.clip(theirs, 0, 255)))
    finally:
        np.random.set_state(before)


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_seed_gives_the_same_pixels_in_any_company_and_another_seed_others(name):
    pixels = photographs(28, 1, 4)
    together = corrupt(pixels, name, 2, seed=3)
    np.testing.assert_array_equal(corrupt(pixels[2:3], name, 2, seed=3, images=[2]), together[2:3])
    assert (corrupt(pixels, name, 2, seed=4) != together).any()
    assert (together[0] != together[2]).any()  # the same photograph, another image


def test_nobody_elses_draws_come_between_and_nobodys_generator_is_touched():
    pixels, stop = photographs(28, 3, 6), threading.Event()
    alone = {name: corrupt(pixels, name, 3) for name in RANDOM}

    def draw():
        while not stop.is_set():
            np.random.random(100)

    others = threading.Thread(target=draw)
    others.start()
    found: dict[int, dict] = {}

    def work(worker):
        found[worker] = {name: corrupt(pixels, name, 3) for name in RANDOM}

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    others.join()
    for worker in found.values():
        for name in RANDOM:
            np.testing.assert_array_equal(worker[name], alone[name])
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    corrupt(pixels, "snow", 1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_pixels_of_more_than_256_levels_are_corrupted_as_their_nearest_bytes():
    pixels = photographs(16, 3)
    deep = (pixels + np.random.default_rng(0).uniform(-0.4, 0.4, pixels.shape)).clip(0, 255).astype(np.float16)
    np.testing.assert_array_equal(corrupt(deep, "contrast", 3), corrupt(pixels, "contrast", 3))


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "brightness", "contrast", "pixelate"]
)
def test_the_change_rises_with_severity(name):
    pixels = photographs(32, 3)
    changes = [mean_change(pixels, corrupt(pixels, name, severity)).mean() for severity in SEVERITIES]
    assert changes == sorted(changes) and changes[0] > 0


def test_noise_of_a_grey_image_is_as_strong_as_of_a_colour_image():
    flat = np.full((8, 3, 32, 32), 128, dtype=np.uint8)
    colour = mean_change(flat, corrupt(flat, "gaussian_noise", 1)).mean()
    grey = mean_change(flat[:, :1], corrupt(flat[:, :1], "gaussian_noise", 1)).mean()
    assert grey == pytest.approx(colour, rel=0.03)
    assert colour == pytest.approx(0.08 * 255 * np.sqrt(2 / np.pi), rel=0.03)  # sigma 0.08, mean of |N(0, sigma)|


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3", True])
def test_a_severity_outside_1_to_5_is_refused(severity):
    with pytest.raises(SelvizError, match="it must be 1, 2, 3, 4 or 5"):
        corrupt(photographs(28, 1), "fog", severity)


def test_an_unknown_corruption_names_the_near_ones():
    with pytest.raises(SelvizError, match="Unknown corruption 'gausian_noise'; did you mean 'gaussian_noise'"):
        corrupt(photographs(28, 1), "gausian_noise", 1)


def test_images_too_small_are_named_with_the_reason():
    names, skipped = corruptions.usable(8, 8)
    assert set(skipped) == {"glass_blur"} and len(names) == 14
    assert skipped["glass_blur"].startswith("glass_blur needs at least 9 pixels a side, these images have 8: it swaps")
    assert set(corruptions.usable(5, 40)[1]) == {"glass_blur", "pixelate", "elastic_transform"}
    assert corruptions.usable(28, 28, tuple(CORRUPTIONS))[1] == {}
    with pytest.raises(SelvizError, match="glass_blur needs at least 9 pixels"):
        corrupt(np.zeros((1, 1, 8, 8), np.uint8), "glass_blur", 1)


def test_what_is_no_image_is_refused():
    for wrong in (np.zeros((2, 2, 28, 28), np.uint8), np.zeros((28, 28), np.uint8), np.zeros((1, 1, 28, 28))):
        with pytest.raises(SelvizError, match="one or three channels"):
            corrupt(wrong, "fog", 1)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(CORRUPTIONS)), st.integers(9, 40), st.integers(9, 40), st.sampled_from(SEVERITIES))
def test_any_shape_from_nine_pixels_on_is_corrupted(name, height, width, severity):
    pixels = np.random.default_rng(height * width).integers(0, 256, (1, 1, height, width), dtype=np.uint8)
    assert corrupt(pixels, name, severity).shape == pixels.shape


def test_each_image_and_corruption_has_a_generator_of_its_own():
    first = [np.random.Generator(random_bits(name, image)).random() for name in CORRUPTIONS for image in range(3)]
    assert len(set(first)) == len(first)


def test_the_table_of_changes_says_what_is_skipped_and_why():
    table = corruptions.changes(photographs(8, 1)).set_index("corruption")
    assert len(table) == 19 and table.loc["glass_blur", "skipped"].startswith("glass_blur needs at least 9 pixels")
    pixels = photographs(8, 1)
    expected = mean_change(pixels, corrupt(pixels, "fog", 2)).mean()
    assert table.loc["fog", "severity_2"] == pytest.approx(expected)


def test_without_the_extra_one_sentence_says_what_installs_it(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "corrupt_tta"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "corrupt_tta", None)
    sentence = re.escape("Corruptions need the package corrupt-tta: pip install 'selviz[robustness]'")
    with pytest.raises(SelvizError, match=f"^{sentence}$"):
        corrupt(np.zeros((1, 3, 16, 16), np.uint8), "fog", 1)


def test_an_opencv_that_cannot_be_loaded_is_one_sentence_with_the_command(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "corrupt_tta"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cv2", None)  # what Python finds where the library's import fails
    with pytest.raises(SelvizError, match="need OpenCV.*pip install opencv-python-headless$"):
        corrupt(np.zeros((1, 3, 16, 16), np.uint8), "fog", 1)
