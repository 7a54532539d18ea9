"""Capture at size: memory that does not grow with the images, and nothing captured twice after a cut."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from selviz.errors import SelvizError
from selviz.networks.activations import batch_size, observe
from selviz.networks.unit_network import UnitNetwork
from selviz.runs import capture, stages
from selviz.selectivity import unit_tables
from selviz.testing.toy import ToyNetwork, toy_dataset


@pytest.fixture(scope="module")
def toy():
    return UnitNetwork(ToyNetwork().eval(), toy_dataset().example).for_inference()


def record(toy, folder, key="key", report=lambda news: None, classes=3):
    return capture.record(toy, toy_dataset().view(), classes, folder, key, report, batch=2)


@pytest.fixture
def small_chunks(monkeypatch):
    """Four images a chunk: 7 units of 4 bytes."""
    monkeypatch.setattr(capture, "CHUNK_BYTES", 4 * 7 * 4)


def test_the_files_hold_what_observing_gives(toy, tmp_path, small_chunks):
    found, (logits, layers) = record(toy, tmp_path), observe(toy, toy_dataset().inputs())
    np.testing.assert_allclose(found.logits, logits, rtol=1e-6)
    for values, expected in zip(found.layers, layers, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_a_recording_that_was_cut_off_goes_on_at_the_last_chunk(toy, tmp_path, small_chunks):
    def cut(news):
        if news["images"] == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(toy, tmp_path, report=cut)
    assert json.loads((tmp_path / "progress.json").read_text())["done"] == 8
    seen = []
    whole = record(toy, tmp_path, report=lambda news: seen.append(news["images"]))
    assert seen == [10, 12]
    np.testing.assert_array_equal(whole.logits, record(toy, tmp_path / "other").logits)


def test_a_chunk_that_changed_on_the_disk_is_made_again(toy, tmp_path, small_chunks):
    whole = record(toy, tmp_path / "other")
    record(toy, tmp_path)
    with open(tmp_path / "activations.f32", "r+b") as file:
        file.seek(4 * 5)  # unit 0 on image 5, in the second chunk of three
        file.write(b"abcd")
    seen = []
    again = record(toy, tmp_path, report=lambda news: seen.append(news["images"]))
    assert seen == [6, 8, 10, 12]
    for values, expected in zip(again.layers, whole.layers, strict=True):
        np.testing.assert_array_equal(values, expected)


def test_other_weights_or_images_begin_anew_and_damage_does_too(toy, tmp_path):
    record(toy, tmp_path)
    seen = []
    record(toy, tmp_path, key="other", report=lambda news: seen.append(news["images"]))
    (tmp_path / "progress.json").write_text("{")
    record(toy, tmp_path, key="other", report=lambda news: seen.append(news["images"]))
    assert seen == [2, 4, 6, 8, 10, 12] * 2


def test_a_network_with_other_outputs_than_the_data_set_has_classes_is_told(toy, tmp_path):
    with pytest.raises(SelvizError, match="gives 3 outputs an image, and the data set has 5 classes"):
        record(toy, tmp_path, classes=5)


def test_large_images_are_passed_in_small_batches(toy):
    small, large = (UnitNetwork(ToyNetwork().eval(), torch.zeros(1, 3, side, side)) for side in (2, 512))
    assert batch_size(small) == 250 and batch_size(large) == 8
    assert large.observe(torch.zeros(1, 3, 512, 512))[1][0].shape[1] == large.layers[0].units


def test_metrics_in_blocks_of_units_are_those_of_the_whole_layer(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    values, labels = torch.rand(60, 11, generator=generator), torch.arange(60) % 4
    whole = unit_tables.layer_metrics(values, labels, 4, shuffles=20)
    monkeypatch.setattr(unit_tables, "BLOCK", 60 * 3)
    parts = unit_tables.layer_metrics(values, labels, 4, shuffles=20)
    assert parts["layer"] == pytest.approx(whole["layer"])
    for name in ("units", "class_means"):
        assert parts[name].columns.tolist() == whole[name].columns.tolist()
        np.testing.assert_allclose(parts[name].to_numpy(float), whole[name].to_numpy(float))


def test_thumbnails_keep_small_pixels_exactly_and_reduce_large_ones():
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(256, (2, 3, 12, 10), generator=generator, dtype=torch.uint8)
    pictures = [Image.open(io.BytesIO(data)) for data in stages.thumbnails(small)]
    for picture, pixels in zip(pictures, small.numpy(), strict=True):
        np.testing.assert_array_equal(np.moveaxis(np.asarray(picture), -1, 0), pixels)
    (large,) = stages.thumbnails(torch.full((1, 3, 200, 150), 77, dtype=torch.uint8))
    large = Image.open(io.BytesIO(large))
    assert large.format == "WEBP" and large.size == (72, 96) and abs(int(np.asarray(large).mean()) - 77) <= 2
