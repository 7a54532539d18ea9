"""260 damaged files and folders: each gives images or one sentence, runs nothing, and leaves nothing half-written."""

import io

import numpy as np
import pytest

from selviz import datasets
from selviz.config import RunConfig
from selviz.datasets.decoding import read_picture
from selviz.datasets.preparation import Preparation
from selviz.errors import SelvizError
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.testing.hostile.pictures import FORMATS, encoded, mutated, scatter


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_file_is_a_picture_or_one_reason(form):
    random, preparation, outcomes = np.random.default_rng(sum(form.encode())), Preparation((8, 8), 9), []
    whole = encoded(form)
    for _ in range(30):
        try:
            pixels = read_picture(io.BytesIO(mutated(whole, random)), preparation)
            outcomes.append(pixels.shape == (3, 8, 8) and pixels.dtype == np.uint8)
        except ValueError as error:
            outcomes.append(bool(str(error)))
    assert outcomes == [True] * 30


def test_a_scattered_folder_is_a_data_set_or_one_sentence(tmp_path, monkeypatch):
    cache, trap, store = tmp_path / "cache", tmp_path / "sprung", Store(tmp_path / "store")
    monkeypatch.setenv("SELVIZ_CACHE", str(cache))
    outcomes, sentences = {"images": 0, "sentence": 0}, []
    for seed in range(50):
        root = tmp_path / f"images{seed}"
        scatter(root, np.random.default_rng(seed), trap)
        try:
            dataset = datasets.load(f"folder:{root}")
            assert len(dataset.eval_labels) == len(dataset.eval_pixels) > 1 < len(dataset.class_names)
            outcomes["images"] += 1
        except SelvizError as error:
            sentences.append(str(error))
            outcomes["sentence"] += 1
            if outcomes["sentence"] <= 5:
                with pytest.raises(SelvizError):
                    train_run(store, RunConfig(f"folder:{root}", "cnn", epochs=0))
    assert min(outcomes.values()) > 3  # both happen
    assert all(sentence.strip() and "\n" not in sentence for sentence in sentences)
    assert not trap.exists() and not store.names()
    assert not [entry for entry in (cache / "pixels").iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("what", ["image", "class"])
def test_a_link_that_leads_out_of_the_folder_is_refused_unless_it_is_asked_for(what, tmp_path, monkeypatch):
    root, outside = tmp_path / "images", tmp_path / "outside"
    for folder in (root / "ant", root / "bee", outside):
        folder.mkdir(parents=True)
        for number in range(6):
            (folder / f"{number}.png").write_bytes(encoded("PNG", number))
    (root / "bee" / "inside.png").symlink_to(root / "ant" / "0.png")
    assert len(datasets.load(f"folder:{root}").class_names) == 2
    place = root / "bee" / "9.png" if what == "image" else root / "cat"
    place.symlink_to(outside / "0.png" if what == "image" else outside)
    with pytest.raises(SelvizError, match=f"{place} is a link that leads out of the data set's folder"):
        datasets.load(f"folder:{root}")
    monkeypatch.setenv("SELVIZ_FOLLOW_LINKS", "1")
    assert len(datasets.load(f"folder:{root}").class_names) == (2 if what == "image" else 3)
