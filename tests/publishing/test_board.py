"""What the board shows is what is stored: units, accuracies, top images and the pictures made of them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from selviz.errors import SelvizError
from selviz.publishing import board as boards
from selviz.publishing.board import class_accuracy, mean_picture, read_board, sheet, stages, top_images, unit_pictures


def decoded(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


def test_a_model_holds_every_unit_in_its_place_as_it_is_stored(tiny_store, tiny_run):
    board, units = read_board(tiny_store, tiny_run), tiny_store.units(tiny_run)
    model = board.model()
    assert np.array_equal(decoded(model["si"], "<f4"), units["si"].to_numpy(dtype=np.float32))
    assert np.array_equal(decoded(model["null_p95"], "<f4"), units["null_p95"].to_numpy(dtype=np.float32))
    preferred = decoded(model["preferred"], "<i2")
    assert np.array_equal(preferred == -1, units["dead"].to_numpy())
    assert np.array_equal(preferred[preferred >= 0], units.loc[~units["dead"], "preferred_index"])
    for layer in model["layers"]:
        rows = units[units["layer"] == layer["name"]]
        assert rows.index[0] == layer["start"] and len(rows) == layer["units"]
    assert board.position("relu3", 5) == units[(units["layer"] == "relu3") & (units["unit"] == 5)].index[0]


def test_the_top_images_of_a_unit_are_those_of_its_activations(tiny_store, tiny_run):
    top = top_images(tiny_store, tiny_run, ["relu3"])
    for unit in (0, 5, 31):
        table = tiny_store.activations(tiny_run, "relu3", unit)
        order = table[table["value"] > table["value"].min()].sort_values(["value", "image"], ascending=[False, True])
        wanted = order["image"].head(9).tolist()
        assert top[unit][: len(wanted)].tolist() == wanted
        assert (top[unit][len(wanted) :] == -1).all()


def test_the_highest_values_are_those_of_a_stable_sort_where_many_are_equal():
    random = np.random.default_rng(0)
    values = random.integers(0, 4, (60, 40)).astype(np.float32)  # most of the nine highest are one number
    values[:, 0], values[:, 1], values[:55, 2] = 1.0, 0.0, 0.0
    values[3, 4] = np.nan
    for some in (values, values[:5], random.gamma(1.0, size=(50, 30)).astype(np.float32)):
        order = np.argsort(-some, axis=0, kind="stable")[:9].T
        active = np.take_along_axis(some.T, order, axis=1) > some.min(axis=0)[:, None]
        expected = np.full((some.shape[1], 9), -1)
        expected[:, : order.shape[1]] = np.where(active, order, -1)
        assert np.array_equal(boards.highest(some), expected)


def test_some_units_of_a_matrix_are_its_columns_in_the_order_asked_for(tiny_store, tiny_run):
    whole = tiny_store.matrix(tiny_run, "relu2")
    assert np.array_equal(tiny_store.matrix(tiny_run, "relu2", [7, 0, 31, 7]), whole[:, [7, 0, 31, 7]])
    assert tiny_store.matrix(tiny_run, "relu2", []).shape == (len(whole), 0)
    with pytest.raises(SelvizError, match="unit"):
        tiny_store.matrix(tiny_run, "relu2", [10_000])


def test_a_units_picture_is_the_mean_of_its_nine_top_images(tiny_store, tiny_run):
    board = read_board(tiny_store, tiny_run)
    top, place = top_images(tiny_store, tiny_run, ["relu1"])[3], board.position("relu1", 3)
    side = board.pictures.size
    stored = tiny_store.thumbnails(tiny_run, [int(image) for image in top if image >= 0])
    expected = mean_picture([boards.decode(data, side) for data in stored.values()], side)
    row, column = divmod(place, board.pictures.across)
    whole = pixels(board.pictures.uri)
    assert np.array_equal(whole[row * side : (row + 1) * side, column * side : (column + 1) * side], expected)


def test_pictures_of_some_units_are_those_of_the_whole_board(tiny_store, tiny_run):
    one = unit_pictures(tiny_store, tiny_run, [("relu2", 4)])
    table = tiny_store.activations(tiny_run, "relu2", 4)
    active = table[table["value"] > table["value"].min()].sort_values(["value", "image"], ascending=[False, True])
    stored = tiny_store.thumbnails(tiny_run, active["image"].head(9).astype(int).tolist())
    expected = mean_picture([boards.decode(data, one.size) for data in stored.values()], one.size)
    assert np.abs(pixels(one.uri).astype(int) - expected).max() <= 1
    assert unit_pictures(tiny_store, tiny_run, []) is None


def test_units_of_a_large_network_have_no_pictures_but_top_images_as_far_as_there_is_room(
    tiny_store, tiny_run, monkeypatch
):
    whole = read_board(tiny_store, tiny_run)
    monkeypatch.setattr(boards, "MAX_PICTURED", 100)
    board = read_board(tiny_store, tiny_run)
    assert board.pictures is None and np.array_equal(board.top, whole.top) and board.images == whole.images
    monkeypatch.setattr(boards, "MAX_IMAGES", 20)
    few = read_board(tiny_store, tiny_run).top
    _, counts = np.unique(whole.top[whole.top >= 0], return_counts=True)
    assert len(np.unique(few[few >= 0])) == 20
    assert (few >= 0).sum() == np.sort(counts)[-20:].sum(), "those that drive most units are there"
    monkeypatch.setattr(boards, "MAX_VALUES", 100)
    model = read_board(tiny_store, tiny_run).model()
    assert model["pictures"] is None and model["images"] is None


def test_a_sheet_of_many_pictures_in_color_is_small_and_close_to_them():
    random = np.random.default_rng(0)
    parts = random.integers(0, 256, (150, 1, 1, 3)).repeat(32, 1).repeat(32, 2).astype(np.uint8)
    made = sheet(parts)
    shown = pixels(made.uri)[32:64, 32:64]
    assert made.uri.startswith("data:image/webp") and np.abs(shown.astype(int) - parts[14]).mean() < 12


def test_stages_follow_the_names_of_layers_or_cut_the_network_into_parts():
    assert stages(["layer1.0.relu", "layer1.1.relu", "layer2.0.relu", "layer3.0.relu"]) == (
        ["layer1", "layer1", "layer2", "layer3"]
    )
    cut = stages([f"features.{number}.relu" for number in range(20)])
    assert len(set(cut)) == 8 and cut[0] == "layers 1–3" and cut[-1] == "layers 19–20"
    assert stages(["a.relu", "b.relu", "a.relu_1"]) == ["layer 1", "layer 2", "layer 3"], "a name that comes back"
    assert stages([]) == []


def test_the_accuracy_of_a_class_without_images_is_no_number(tiny_store, tiny_run):
    images = tiny_store.images(tiny_run)
    found = class_accuracy(images[images["label_index"] != 4], 10)
    assert np.isnan(found[4])
    own = images[images["label_index"] == 2]
    assert found[2] == pytest.approx((own["label"] == own["prediction"]).mean())


def test_an_empty_mean_is_black_and_a_sheet_keeps_every_picture():
    assert not mean_picture([], 4).any()
    parts = [np.full((2, 2, 3), value, dtype=np.uint8) for value in (1, 2, 3, 4, 5)]
    made = sheet(parts)
    assert made.across == 3 and pixels(made.uri).shape == (4, 6, 3)
    assert pixels(made.uri)[2, 2, 0] == 5
