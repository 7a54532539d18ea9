"""The board and the pages around it with networks and inputs that are not like the demo's: each opens and says why."""

import io

import numpy as np
import pytest
from PIL import Image

from selviz.cli import main
from selviz.publishing.board import read_board
from selviz.publishing.site import publish
from selviz.store import Store
from selviz.studies.ablation import run_ablation
from selviz.text import unit_lists
from tests.helpers.pages import board, text

NETWORK = """
import torch
from torch import nn


class Wide(nn.Module):
    def __init__(self, classes, units=4096):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.wide, self.out = nn.Linear(192, 1), nn.Linear(1, units), nn.Linear(units, classes)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.out(self.act2(self.wide(self.act1(self.one(x.flatten(1))).abs() + 1)))


class LooksAtValues(Wide):
    def forward(self, x):
        if x.isnan().any():
            x = x * 2
        return super().forward(x)


def wide(num_classes, channels):
    return Wide(num_classes)


def narrow(num_classes, channels):
    return Wide(num_classes, 32)


def looks(num_classes, channels):
    return LooksAtValues(num_classes, 32)
"""


def imported(folder, classes, factory="wide", *options):
    """A store with a network of a layer of 1 unit and one of 4,096, or of 32, on two images of each class."""
    (folder / "net.py").write_text(NETWORK)
    dice = np.random.default_rng(0)
    for number in range(classes):
        place = folder / "images" / f"class {number:04}"
        place.mkdir(parents=True)
        for image in range(2):
            Image.fromarray(dice.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(place / f"{image}.png")
    command = ["import", "--name", "wide", "--model", f"{folder / 'net.py'}:{factory}", "--evaluate-all"]
    command += ["--dataset", f"folder:{folder / 'images'}", "--data", str(folder / "store"), *options]
    assert main(command) == 0
    return Store(folder / "store")


@pytest.fixture(scope="module")
def of_1000_classes(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("thousand"), 1000, "narrow")


@pytest.fixture(scope="module")
def of_200_classes(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("two hundred"), 200)


@pytest.mark.parametrize(
    ("classes", "page"), [(1000, "start"), (1000, "unit"), (1000, "silence"), (200, "network"), (200, "compare")]
)
def test_layers_of_1_and_4096_units_and_many_classes_open_on_every_page(visit, request, page, classes):
    store = request.getfixturevalue(f"of_{classes}_classes")
    opened = visit(store, page)
    assert not opened.exception and not opened.error


@pytest.mark.parametrize(("layer", "listed"), [("act1", "0"), ("act2", "0-199,4000-4095")])
def test_a_layer_of_one_unit_and_one_of_4096_are_silenced_with_the_librarys_numbers(
    visit, of_200_classes, layer, listed
):
    page = visit(of_200_classes, "ablation", silence=f"{layer}:{listed}")
    result = run_ablation(of_200_classes, "wide", unit_lists.parse_units(f"{layer}:{listed}"), draws=0)
    sent = board(page, "silence")
    assert not page.exception and not page.error
    assert sent["accuracy_after"] == result["accuracy_after"]
    assert sent["after"] == [row["after"] for row in result["per_class"]]


def test_the_board_of_a_wide_layer_has_all_its_units_and_no_pictures(of_200_classes):
    found = read_board(of_200_classes, "wide")
    assert found.layers["units"].tolist() == [1, 4096] and found.pictures is None
    assert found.unit_at(0) == ("act1", 0) and found.unit_at(4096) == ("act2", 4095)
    assert found.position("act2", 4095) == 4096


def test_a_run_of_a_thousand_classes_is_published(of_1000_classes, tmp_path):
    written = publish(of_1000_classes, "wide", tmp_path / "site")
    assert written.units == 33 and (tmp_path / "site" / "units" / "act2-31.html").exists()


def test_watched_units_are_looked_at_and_not_silenced(visit, tmp_path):
    store = imported(tmp_path, 4, "looks", "--watch", "act2")  # which axis one unit lies on, nothing tells
    for page, key in (("start", "start"), ("ablation", "silence"), ("units", "network"), ("unit", "unit")):
        opened = visit(store, page)
        assert not opened.exception and not opened.error
        assert board(opened, key)["silencing"] is False
    assert "it was watched when it was imported" in text(visit(store, "ablation"))


def test_a_run_without_weights_has_its_board_on_every_page_and_nothing_to_silence(visit, own_store, tiny_run):
    (own_store.run_path(tiny_run) / "weights.safetensors").unlink()
    for page, key in (("start", "start"), ("ablation", "silence"), ("units", "network"), ("unit", "unit")):
        opened = visit(own_store, page)
        assert not opened.exception
        assert board(opened, key)["silencing"] is False


@pytest.mark.parametrize("page", ["start", "ablation", "units"])
def test_a_link_with_silent_units_that_do_not_exist_says_so_and_silences_the_others(visit, tiny_store, page):
    opened = visit(tiny_store, page, do="hand", input="image", silence="relu2:3,900;relu9:1")
    assert not opened.exception
    told = "\n".join(warning.value for warning in opened.warning)
    assert "relu9:1" in told and "which is not here" in told
    key = {"start": "start", "ablation": "silence", "units": "lit"}[page]
    assert board(opened, key)["silent"] == "relu2:3"


def png(width, height):
    data = io.BytesIO()
    Image.new("L", (width, height), 120).save(data, "PNG")
    return data.getvalue()


def test_a_picture_of_more_than_25_megapixels_is_refused_in_words_and_one_of_25_is_taken(visit, tiny_store):
    for size, told in (((5200, 5000), "has 26 megapixels; choose one of at most 25"), ((5000, 5000), "")):
        page = visit(tiny_store, "network", input="own")
        page.file_uploader[0].upload("mine.png", png(*size), "image/png").run()
        assert not page.exception
        assert told in text(page)
        assert ("lit" in board(page, "lit")) is not told


def test_a_drawing_of_nothing_lights_nothing(visit, tiny_store):
    page = visit(tiny_store, "units", input="draw")
    assert not page.exception and not page.error
    assert "lit" not in board(page, "lit") and "Nothing lights the board yet" in text(page)
