"""A visitor's own picture: what it drives, and everything that a file can be instead of a picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app.views.unit import own_image
from selviz.errors import SelvizError


def encoded(picture: Image.Image, form: str = "PNG", **settings) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **settings)
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few bytes whose header claims side x side pixels."""
    data = bytearray(encoded(Image.new("L", (1, 1))))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_a_picture_is_decoded_upright():
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = encoded(picture.rotate(180), "WEBP", lossless=True, exif=exif)
    np.testing.assert_array_equal(np.asarray(own_image.decode(turned)), np.asarray(picture))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no PNG, JPEG or WebP picture"),
        (b"GIF89a" + bytes(40), "no PNG, JPEG or WebP picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no PNG, JPEG or WebP picture"),
        (encoded(Image.new("RGB", (40, 40)))[:60], "or it is damaged"),
        (bytes(10 * 10**6 + 1), "This file has 10.0 MB; choose a picture of at most 10 MB"),
        (encoded(Image.new("1", (5001, 5000))), "This picture has 25 megapixels"),
        (bomb(60_000), "no PNG, JPEG or WebP picture"),
    ],
    ids=["empty", "gif", "postscript", "cut", "heavy", "large", "bomb"],
)
def test_what_is_no_picture_within_the_limits_is_told_in_one_sentence(data, sentence):
    with pytest.raises(SelvizError, match=sentence):
        own_image.decode(data)


def test_the_share_of_images_below_a_value_is_the_stored_distributions(tiny_store, tiny_run):
    matrix = tiny_store.matrix(tiny_run, "relu4")
    values = matrix[7]
    expected = (matrix < values).mean(axis=0) + (matrix == values).mean(axis=0) / 2
    np.testing.assert_allclose(tiny_store.ranks(tiny_run, "relu4", values), expected)
    with pytest.raises(SelvizError, match="has 64 units, and 3 values"):
        tiny_store.ranks(tiny_run, "relu4", [1, 2, 3])


def test_an_evaluation_image_given_as_a_picture_gets_its_stored_answer(tiny_store, tiny_run, monkeypatch):
    from selviz import datasets

    monkeypatch.setenv("SELVIZ_DATA", str(tiny_store.path))
    pixels = datasets.load("digits").eval_pixels[12]
    picture = own_image.decode(encoded(Image.fromarray(pixels[0].numpy())))
    found = own_image.response(tiny_run, "relu4", picture)
    np.testing.assert_array_equal(found["pixels"], pixels)
    stored = tiny_store.matrix(tiny_run, "relu4")
    np.testing.assert_allclose(found["units"]["activation"], stored[12], rtol=1e-4, atol=1e-6)
    images = tiny_store.images(tiny_run)
    names = tiny_store.run(tiny_run)["classes"]
    assert names[found["probabilities"].argmax()] == images["prediction"][12]


def test_the_unit_page_shows_prediction_and_percentiles_of_an_uploaded_picture(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "unit", run=tiny_run, layer="relu4", unit="3", evidence="own")
    picture = encoded(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)))
    page.file_uploader[0].upload("mine.png", picture, "image/png").run()
    assert not page.exception and not page.error
    assert any("The network says" in text.value for text in page.markdown)
    told = page.dataframe[-1].value
    assert len(told) == own_image.SHOWN and told["percentile"].is_monotonic_decreasing
