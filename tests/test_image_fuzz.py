"""260 damaged files and folders: each gives images or one sentence, runs nothing, and leaves nothing half-written."""

import io
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from selviz import datasets
from selviz.config import RunConfig
from selviz.datasets.decoding import read_picture
from selviz.datasets.preparation import Preparation
from selviz.errors import SelvizError
from selviz.pipeline import train_run
from selviz.store import Store

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm"}


def encoded(form: str, seed: int = 0, size: int = 12) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Cut, overwritten, with a piece doubled, or with the first bytes of nothing: one of these at random."""
    data, place = bytearray(data), int(random.integers(len(data)))
    match int(random.integers(5)):
        case 0:
            del data[place:]
        case 1:
            for position in random.integers(len(data), size=8):
                data[position] = int(random.integers(256))
        case 2:
            data[place:place] = data[place // 2 : place]
        case 3:  # the header, where sizes and offsets are
            for position in random.integers(min(40, len(data)), size=4):
                data[position] = int(random.choice([0, 1, 127, 255]))
        case 4:
            del data[place : place + int(random.integers(1, 20))]
    return bytes(data)


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


class Trap:
    """Whoever unpickles this leaves a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (os.mkdir, (str(self.file),))


def scatter(root, random: np.random.Generator, trap) -> None:
    """A folder such as somebody may have by mistake: any depth, any names, any content."""
    contents = [
        b"",
        encoded("PNG", int(random.integers(99))),
        encoded("JPEG"),
        mutated(encoded("PNG"), random),
        pickle.dumps(Trap(trap)),
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%mkdir {trap}) (w) file\n".encode(),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    ]
    parts = [[], ["train", "test"], ["val"], ["train"], ["train", "val", "test"]][random.integers(5)]
    names = ["ant", "bee", "c d", "..e", "-f", "é", "val", "g;h", "'i'", "%j", os.fsdecode(b"k\xff")]
    chosen = random.choice(names, size=int(random.integers(0, 5)), replace=False)
    for base in [root / part for part in parts] or [root]:
        base.mkdir(parents=True, exist_ok=True)
        for name in chosen if random.random() < 0.8 else random.choice(names, size=2, replace=False):
            folder = base / name / ("deep" if random.random() < 0.2 else "")
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(int(random.integers(0 if random.random() < 0.1 else 6, 14))):
                ending = random.choice(["png", "jpg", "gif", "txt", "PNG", "eps"])
                content = random.choice(len(contents), p=[0.06, 0.3, 0.3, 0.1, 0.08, 0.08, 0.08])
                (folder / f"{number}.{ending}").write_bytes(contents[content])
            if random.random() < 0.2:
                (folder / "loop.png").symlink_to(folder)
            if random.random() < 0.2:
                (folder / "nowhere.png").symlink_to(root / "missing")


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
