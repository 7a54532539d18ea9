"""The constants of CIFAR-10-C: each number, that the steps are corrupt-tta's, and what is refused."""

import numpy as np
import pytest

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.robustness import corruptions, small_pictures
from selviz.robustness.corruptions import CIFAR, corrupt, random_bits
from selviz.studies.robustness import run_robustness

# Of hendrycks/robustness, ImageNet-C/create_c/make_cifar_c.py: severities 1 to 5, as they stand there.
THERE = {
    "gaussian_noise": [0.04, 0.06, 0.08, 0.09, 0.10],
    "shot_noise": [500, 250, 100, 75, 50],
    "impulse_noise": [0.01, 0.02, 0.03, 0.05, 0.07],
    "speckle_noise": [0.06, 0.1, 0.12, 0.16, 0.2],
    "contrast": [0.75, 0.5, 0.4, 0.3, 0.15],
    "brightness": [0.05, 0.1, 0.15, 0.2, 0.3],
    "jpeg_compression": [80, 65, 58, 50, 40],
    "pixelate": [0.95, 0.9, 0.85, 0.75, 0.65],
}
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 3, 9, 11), dtype=np.uint8)


def expected(name: str, c: float) -> np.ndarray:
    """The corrupted picture in plain numpy and Pillow, by the steps of make_cifar_c.py, with selviz's draws."""
    from PIL import Image
    from skimage.color import hsv2rgb, rgb2hsv
    from skimage.util import random_noise

    random, bytes_ = np.random.RandomState(random_bits(name, 0)), PICTURE[0].transpose(1, 2, 0)
    x = bytes_ / 255
    if name == "impulse_noise":
        x = random_noise(x, mode="s&p", amount=c, rng=np.random.Generator(random_bits(name, 0)))
    elif name == "brightness":
        x = rgb2hsv(x)
        x[:, :, 2] = np.clip(x[:, :, 2] + c, 0, 1)
        x = hsv2rgb(x)
    elif name == "jpeg_compression":
        import io

        file = io.BytesIO()
        Image.fromarray(bytes_).save(file, "JPEG", quality=c)
        return np.asarray(Image.open(file))
    elif name == "pixelate":
        small = Image.fromarray(bytes_).resize((int(11 * c), int(9 * c)), Image.Resampling.BOX)
        return np.asarray(small.resize((11, 9), Image.Resampling.BOX))
    else:
        x = {
            "gaussian_noise": lambda: x + random.normal(size=x.shape, scale=c),
            "shot_noise": lambda: random.poisson(x * c) / c,
            "speckle_noise": lambda: x + x * random.normal(size=x.shape, scale=c),
            "contrast": lambda: (x - x.mean(axis=(0, 1))) * c + x.mean(axis=(0, 1)),
        }[name]()
    return np.rint(np.clip(x, 0, 1) * 255)


@pytest.mark.parametrize("name", THERE)
def test_a_tiny_picture_is_what_the_published_constants_make_of_it(name):
    for severity, c in enumerate(THERE[name], 1):
        found = corrupt(PICTURE, name, severity, constants=CIFAR)[0].transpose(1, 2, 0)
        assert np.abs(found - expected(name, c)).max() <= (1 if name == "brightness" else 0), severity


def test_the_constants_of_the_other_corruptions_are_the_published_ones():
    table = small_pictures.CONSTANTS
    assert table["gaussian_blur"] == (0.4, 0.6, 0.7, 0.8, 1)
    assert table["defocus_blur"] == ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))
    assert table["glass_blur"] == ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
    assert table["zoom_blur"] == (1.06, 1.11, 1.16, 1.21, 1.26)
    assert table["fog"] == ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))
    assert table["saturate"] == ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))
    assert table["elastic_transform"] == (
        (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)
    )  # fmt: skip
    assert set(table) | set(small_pictures.REFUSED) == set(corruptions.CORRUPTIONS)


# corrupt-tta's own constants of severity 1, in the form of these functions; elastic_transform's are shares of the side.
SIDE = 12
OF_PHOTOGRAPHS = {
    "gaussian_noise": 0.08, "shot_noise": 60, "impulse_noise": 0.03, "speckle_noise": 0.15, "gaussian_blur": 1,
    "defocus_blur": (3, 0.1), "glass_blur": (0.7, 1, 2), "zoom_blur": 1.11, "fog": (1.5, 3), "brightness": (1, 0.1),
    "contrast": 0.4, "saturate": (0.3, 0), "jpeg_compression": 25, "pixelate": 0.6,
    "elastic_transform": (448 / SIDE, 0.7 * 224 / SIDE, 22.4 / SIDE),
}  # fmt: skip


@pytest.mark.parametrize("name", small_pictures.CONSTANTS)
def test_with_the_constants_of_photographs_the_pixels_are_corrupt_ttas(name, monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, SIDE, SIDE), dtype=np.uint8)
    theirs = corrupt(pixels, name, 1, seed=3)
    functions = small_pictures.functions
    monkeypatch.setattr(small_pictures, "functions", lambda *parts: functions(*parts, {name: (OF_PHOTOGRAPHS[name],)}))
    np.testing.assert_array_equal(corrupt(pixels, name, 1, seed=3, constants=CIFAR), theirs)


@pytest.mark.parametrize("channels", [1, 3])
def test_they_change_a_small_picture_less_and_keep_its_shape_and_what_is_random_is_the_seeds(channels):
    pixels = np.random.default_rng(2).integers(40, 216, (2, channels, 28, 28), dtype=np.uint8)
    pixels = np.repeat(np.repeat(pixels[:, :, :7, :7], 4, axis=2), 4, axis=3)
    names, _ = corruptions.usable(28, 28, corruptions.STANDARD, CIFAR)
    assert len(names) == 12
    for name in names:
        mild, hard = (corrupt(pixels, name, 3, constants=constants) for constants in (CIFAR, "imagenet"))
        assert mild.shape == pixels.shape and mild.dtype == np.uint8
        assert corruptions.mean_change(pixels, mild).mean() < corruptions.mean_change(pixels, hard).mean(), name
        alone = corrupt(pixels[1:], name, 3, images=[1], constants=CIFAR)
        np.testing.assert_array_equal(alone, mild[1:])


def test_what_cannot_be_made_says_why_and_unknown_constants_are_refused(own_store, tiny_run, capsys):
    with pytest.raises(SelvizError, match="motion_blur cannot be made .*ImageMagick"):
        corrupt(PICTURE, "motion_blur", 1, constants=CIFAR)
    with pytest.raises(SelvizError, match="Unknown set of constants 'tiny'"):
        corrupt(PICTURE, "fog", 1, constants="tiny")
    with pytest.raises(SelvizError, match="glass_blur needs at least 3 pixels"):
        corrupt(PICTURE[:, :, :2, :2], "glass_blur", 1, constants=CIFAR)
    asked = ["--corruption", "snow", "--corruption", "contrast", "--severity", "2", "--attack", "none"]
    command = ["robustness", tiny_run, *asked, "--images", "20", "--constants", "cifar", "--data", str(own_store.path)]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "skipped: snow cannot be made as in CIFAR-10-C" in captured.err
    assert "severity (constants of CIFAR-10-C)" in captured.out
    assert main([*command, "--folder", str(own_store.path)]) == 2
    assert "those of --folder were made by others" in capsys.readouterr().err


def test_both_sets_of_constants_are_stored_side_by_side_and_the_old_numbers_stay(own_store, tiny_run):
    run_robustness(own_store, tiny_run, ["contrast"], [2], [], images=30)
    before, summary = own_store.robustness(tiny_run), own_store.robustness_summary(tiny_run)
    run_robustness(own_store, tiny_run, ["contrast"], [2], [], images=30, constants=CIFAR)
    table = own_store.robustness(tiny_run)
    assert table["kind"].tolist() == ["clean", "corruption", "corruption_cifar"]
    assert table[table["kind"] != "corruption_cifar"].reset_index(drop=True).equals(before)
    after = own_store.robustness_summary(tiny_run)
    assert after[after["kind"] == "corruption"].reset_index(drop=True).equals(summary)
    accuracy = table.set_index("kind")["accuracy"]
    assert accuracy["corruption_cifar"] >= accuracy["corruption"]
