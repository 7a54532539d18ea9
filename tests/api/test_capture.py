"""Own networks and images in memory: what is stored is what the network does, and what does not fit is one sentence."""

import hashlib
import io
import json
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import selviz
from selviz.datasets.in_memory import from_memory
from selviz.errors import SelvizError
from selviz.runs.load import load_network

CLASSES = ["left", "right", "both"]


def make_model(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3),
    )  # fmt: skip


@pytest.fixture
def pixels():
    """60 pictures uint8 [60, 3, 6, 6], and labels of three classes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, 3, 6, 6), generator=generator, dtype=torch.uint8), torch.arange(60) % 3


@pytest.fixture
def normalized(pixels):
    """The same as a network gets them: float32, normalized by ImageNet's mean and standard deviation."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (pixels[0] / 255 - mean) / std, pixels[1]


def in_given_order(run, values, labels):
    """For each stored image the number of the image of `values` that it is."""
    _, dataset = load_network(run.store, run.name, sealed=True)
    inputs = dataset.inputs()
    return [int((values - one).abs().flatten(1).amax(1).argmin()) for one in inputs]


def forms(images, labels):
    pairs = TensorDataset(images, labels)
    return {
        "a pair of tensors": (images, labels),
        "a pair of arrays": (images.numpy(), labels.numpy()),
        "a Dataset": pairs,
        "a DataLoader": DataLoader(pairs, batch_size=7),
    }


@pytest.mark.parametrize("form", forms(torch.zeros(1), torch.zeros(1)))
def test_every_form_of_data_gives_the_activations_and_logits_of_the_plain_model(tmp_path, normalized, form):
    images, labels = normalized
    model = make_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = selviz.capture(model, forms(images, labels)[form], "mine", CLASSES, store=tmp_path)
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    plain = make_model().eval()
    order = in_given_order(run, images, labels)
    assert sorted(order) == list(range(60))
    with torch.no_grad():
        first = plain[:3](images[order]).mean((2, 3))
        logits = plain(images[order])
    reported = len(run.store.images("mine"))
    assert run.layers()["layer"].tolist() == ["2", "6"]
    np.testing.assert_allclose(run.store.matrix("mine", "2"), first[:reported], rtol=1e-4, atol=1e-5)
    assert run.store.images("mine")["prediction_index"].tolist() == logits.argmax(1)[:reported].tolist()
    assert run.store.images("mine")["label"].tolist() == [CLASSES[labels[i]] for i in order[:reported]]


def test_normalized_8_bit_images_come_back_from_the_store_to_rounding(normalized):
    images, labels = normalized
    dataset = from_memory((images, labels), "mine", CLASSES)
    distances = [(images - one).abs().flatten(1).amax(1).min() for one in dataset.inputs()]
    assert max(distances) < 1e-5 and dataset.origin["rounded_by"] == 0


@pytest.fixture
def deep(pixels):
    """60 images of 12 bits, normalized so that no 256 levels hold them, and labels."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 4096, (60, 3, 6, 6), generator=generator)
    return (images / 4095 - 0.45) / 0.22, pixels[1]


def test_images_of_more_than_8_bits_are_kept_in_half_precision_and_silenced_as_by_hand(tmp_path, deep):
    """Against the plain module on the images themselves, not on what the store holds."""
    images, labels = deep
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = selviz.capture(make_model(), deep, "mine", store=tmp_path)
    _, dataset = load_network(run.store, "mine", sealed=True)
    assert dataset.eval_pixels.dtype == torch.float16 and len(dataset.eval_pixels[:, 0].unique()) > 1000
    order = in_given_order(run, images, labels)
    assert sorted(order) == list(range(60))
    off = float((dataset.inputs() - images[order]).abs().max())
    assert 0 < off < 0.0012 and run.summary["origin"]["rounded_by"] == pytest.approx(off, abs=1e-5)
    plain = make_model().eval()
    with torch.no_grad():
        first, logits = plain[:3](images[order]).mean((2, 3)), plain(images[order])
    shown = len(run.store.images("mine"))
    np.testing.assert_allclose(run.store.matrix("mine", "2"), first[:shown], atol=5e-4)
    assert run.store.images("mine")["prediction_index"].tolist() == logits.argmax(1)[:shown].tolist()
    plain[6].register_forward_hook(lambda module, args, output: output.index_fill(1, torch.tensor([1, 3]), 0))
    with torch.no_grad():
        correct = plain(images[order]).argmax(1) == labels[order]
    found = selviz.ablate("mine", "6:1,3", draws=0, store=tmp_path)
    assert found.accuracy_after == pytest.approx(float(correct[:shown].float().mean()))
    pictures = run.store.thumbnails("mine", [0])[0]
    seen = np.moveaxis(np.asarray(Image.open(io.BytesIO(pictures))), -1, 0)
    assert np.abs(seen - dataset.eval_pixels[0].float().numpy()).max() <= 0.5


def test_half_precision_travels_in_a_zip_and_what_it_cannot_hold_is_refused(tmp_path, deep):
    run = selviz.capture(make_model(), deep, "mine", store=tmp_path / "here")
    run.store.pack("mine", tmp_path / "whole.zip", pixels=True)
    there = selviz.open(tmp_path / "there")
    there.unpack(tmp_path / "whole.zip")
    before = selviz.ablate(run, "6:1,3", draws=0)
    assert selviz.ablate("mine", "6:1,3", draws=0, store=there).accuracy_after == before.accuracy_after
    for value, sentence in (
        (float("nan"), "outside 0 to 255"),
        (256.0, "outside 0 to 255"),
        (0.5, "not those"),
    ):

        def change(tensors, value=value):
            tensors["pixels"][3, 0, 0, 0] = value

        refused(tmp_path, run, change, sentence)

    def widen(tensors):
        tensors["pixels"] = tensors["pixels"].astype(np.float32)

    refused(tmp_path, run, widen, "do not fit its images")


def test_values_far_from_all_others_are_warned_of(tmp_path, deep):
    images, labels = deep
    images = images.clone()
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 5000.0, -5000.0
    with pytest.warns(UserWarning, match="a few values lie far from all others: clip those first"):
        selviz.capture(make_model(), (images, labels), "mine", store=tmp_path)


def test_silencing_in_another_process_is_what_it_is_by_hand(tmp_path, normalized):
    """The store alone is enough: `open` as another process would, the model is gone."""
    images, labels = normalized
    run = selviz.capture(make_model(), normalized, "mine", store=tmp_path)
    order = in_given_order(run, images, labels)[: len(run.store.images("mine"))]
    plain = make_model().eval()
    plain[6].register_forward_hook(lambda module, args, output: output.index_fill(1, torch.tensor([1, 3]), 0))
    with torch.no_grad():
        correct = plain(images[order]).argmax(1) == labels[order]
    found = selviz.ablate("mine", "6:1,3", draws=0, store=tmp_path)
    assert found.accuracy_after == pytest.approx(float(correct.float().mean()))


def test_the_same_call_again_returns_the_run_and_another_network_needs_another_name(tmp_path, normalized):
    run = selviz.capture(make_model(), normalized, "mine", store=tmp_path)
    stored = (tmp_path / "runs" / "mine" / "capture.duckdb").stat().st_mtime_ns
    assert selviz.capture(make_model(), normalized, "mine", store=tmp_path) == run
    assert (tmp_path / "runs" / "mine" / "capture.duckdb").stat().st_mtime_ns == stored
    other = make_model()
    nn.init.zeros_(other[8].weight)
    with pytest.raises(SelvizError, match="another run mine already; give this one a name of its own"):
        selviz.capture(other, normalized, "mine", store=tmp_path)


def test_a_capture_that_is_cut_off_goes_on_with_the_same_call(tmp_path, normalized):
    class Killed(BaseException):
        pass

    def kill(event):
        if event.get("stage") == "metrics":
            raise Killed

    with pytest.raises(Killed):
        selviz.capture(make_model(), normalized, "mine", store=tmp_path, report=kill)
    assert selviz.open(tmp_path).runs()["state"].tolist() == ["unfinished"]
    assert selviz.capture(make_model(), normalized, "mine", store=tmp_path).summary["units"] == 20


def test_a_model_on_another_device_with_some_modules_in_training_is_left_as_it_was(tmp_path, normalized):
    """Weights, device, the mode of every module, gradients and torch's random numbers."""
    from tests.helpers.second_device import HERE, SecondDevice, move_module

    model = make_model().train()
    model[1].eval()  # a frozen batch norm
    model[0].weight.requires_grad_(False)
    expected = selviz.capture(model, normalized, "here", store=tmp_path)
    modes = [module.training for module in model.modules()]
    with SecondDevice():
        move_module(model)
        before = torch.get_rng_state()
        run = selviz.capture(model, normalized, "there", store=tmp_path)
        assert torch.equal(torch.get_rng_state(), before)
        assert {value.device for value in model.state_dict().values()} == {HERE}
        assert [module.training for module in model.modules()] == modes
        assert [part.requires_grad for part in model.parameters()][:2] == [False, True]
    np.testing.assert_array_equal(run.units()["si"], expected.units()["si"])


@pytest.mark.parametrize("keys", [("pixel_values", "labels"), ("image", "label")])
def test_a_loader_of_dicts_as_transformers_give_them_will_do(tmp_path, normalized, keys):
    images, labels = normalized
    items = [dict(zip(keys, pair)) for pair in zip(images, labels)]
    run = selviz.capture(make_model(), DataLoader(items, batch_size=7), "mine", store=tmp_path)
    same = selviz.capture(make_model(), normalized, "same", store=tmp_path)
    np.testing.assert_allclose(run.units()["si"], same.units()["si"], atol=1e-6)


BAD = {
    "a dict with pixels, answer, and no pair": lambda x, y: [{"pixels": x[0], "answer": 1}] * 9,
    "labels of the shape [60, 3]": lambda x, y: DataLoader(TensorDataset(x, nn.functional.one_hot(y, 3)), 7),
    "and more are more than fit here": lambda x, y: endless(x),
    "not a pair of image and label": lambda x, y: DataLoader(x, batch_size=7),
    "Labels go from 0 to 2 and there are 2 classes": lambda x, y: ((x, y), ["a", "b"]),
    "Labels go from -1 to 1": lambda x, y: (x, y - 1),
    "The images have several sizes": lambda x, y: [(x[0], 0), (x[1, :, :4], 1), (x[2], 2)] * 4,
    "with 1 or 3 channels, channels first": lambda x, y: (x.movedim(1, 3), y),
    "values that are not finite": lambda x, y: (x.index_fill(0, torch.tensor([3]), float("nan")), y),
    "labels of the shape [59]": lambda x, y: (x, y[1:]),
    "The labels are not whole numbers": lambda x, y: (x, y + 0.5),
    "data is empty": lambda x, y: [],
    "data is a int": lambda x, y: 5,
    "There are 2 images; at least 4": lambda x, y: (x[:2], y[:2]),
}


def endless(images):
    while True:
        yield images.expand(3, 60, 3, 6, 6).flatten(0, 1), torch.arange(180) % 3


@pytest.mark.parametrize("sentence", BAD)
def test_data_that_does_not_fit_is_one_sentence_and_leaves_no_run(tmp_path, normalized, sentence, monkeypatch):
    monkeypatch.setattr("selviz.datasets.in_memory.LARGEST", 10**5)
    data, classes = BAD[sentence](*normalized), CLASSES
    if isinstance(data, tuple) and isinstance(data[0], tuple):
        data, classes = data
    with pytest.raises(SelvizError) as caught:
        selviz.capture(make_model(), data, "mine", classes, store=tmp_path)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert selviz.open(tmp_path).names() == []


def test_a_model_that_does_not_fit_is_one_sentence(tmp_path, normalized):
    with pytest.raises(SelvizError, match="cannot be run on images of shape"):
        selviz.capture(make_model(channels=1), normalized, "mine", store=tmp_path)
    with pytest.raises(SelvizError, match="The network has 3 outputs and the data set 4 classes"):
        selviz.capture(make_model(), normalized, "mine", [*CLASSES, "none"], store=tmp_path)
    with pytest.raises(SelvizError, match="give a torch.nn.Module"):
        selviz.capture(lambda x: x, normalized, "mine", store=tmp_path)
    assert selviz.open(tmp_path).names() == []


def test_without_its_pixels_a_run_can_be_read_and_says_what_is_missing(tmp_path, normalized):
    run = selviz.capture(make_model(), normalized, "mine", store=tmp_path)
    next(tmp_path.glob("images/*/pixels.safetensors")).unlink()
    assert len(run.units()) == 20
    with pytest.raises(SelvizError, match="call selviz.capture.* with the images again"):
        selviz.ablate(run, "6:1", draws=0)


def test_uint8_pixels_are_normalized_as_it_is_said(tmp_path, pixels, normalized):
    images, labels = pixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = selviz.capture(
            make_model(),
            (images, labels),
            "mine",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            store=tmp_path,
        )
    same = selviz.capture(make_model(), normalized, "same", store=tmp_path)
    np.testing.assert_allclose(run.store.matrix("mine", "2"), same.store.matrix("same", "2"), atol=1e-4)


def test_a_zip_with_pixels_can_be_silenced_in_another_store_and_one_without_says_how(tmp_path, normalized):
    run = selviz.capture(make_model(), normalized, "mine", store=tmp_path / "here")
    before = selviz.ablate(run, "6:1,3", draws=0)
    run.store.pack("mine", tmp_path / "small.zip")
    run.store.pack("mine", tmp_path / "whole.zip", pixels=True)
    there = selviz.open(tmp_path / "there")
    there.unpack(tmp_path / "small.zip")
    with pytest.raises(SelvizError, match="made with selviz export --pixels"):
        selviz.ablate("mine", "6:1,3", draws=0, store=there)
    there.unpack(tmp_path / "whole.zip")  # the run is there already; its pixels are not
    assert selviz.ablate("mine", "6:1,3", draws=0, store=there) == before
    third = selviz.open(tmp_path / "third")
    third.unpack(tmp_path / "whole.zip")
    assert selviz.ablate("mine", "6:1,3", draws=0, store=third).accuracy_after == before.accuracy_after


def refused(tmp_path, run, change, sentence):
    """Pack a run with its pixels changed, checksum and all, and hold that no store takes it."""
    run.store.pack(run.name, tmp_path / "right.zip", pixels=True)
    name = "images/pixels.safetensors"
    with zipfile.ZipFile(tmp_path / "right.zip") as old, zipfile.ZipFile(tmp_path / "other.zip", "w") as new:
        tensors = {key: value.copy() for key, value in safetensors.numpy.load(old.read(name)).items()}
        change(tensors)
        changed = safetensors.numpy.save(tensors)
        manifest = json.loads(old.read("selviz-run.json"))
        manifest["files"][name] = {"bytes": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
        for entry in old.namelist():
            data = {name: changed, "selviz-run.json": json.dumps(manifest)}.get(entry) or old.read(entry)
            new.writestr(entry, data)
    (tmp_path / "right.zip").unlink()
    store = selviz.open(tmp_path / "refusing")
    with pytest.raises(SelvizError, match=sentence):
        store.unpack(tmp_path / "other.zip")
    assert store.names() == []


def test_pixels_that_are_not_those_of_the_run_are_refused(tmp_path, normalized):
    run = selviz.capture(make_model(), normalized, "mine", store=tmp_path / "here")

    def change(tensors):
        tensors["pixels"] ^= 1

    refused(tmp_path, run, change, "its pixels are not those of its run")


def test_a_run_whose_images_are_elsewhere_has_no_pixels_to_give(tiny_store, tiny_run, tmp_path):
    with pytest.raises(SelvizError, match="The store has no pixels of run"):
        tiny_store.pack(tiny_run, tmp_path / "run.zip", pixels=True)
