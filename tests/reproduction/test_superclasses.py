"""CIFAR-10 as animals and vehicles: the same pictures, each under its superclass, and nothing done by halves unseen."""

import pytest
from PIL import Image

from reproduction import superclasses
from selviz import datasets


@pytest.fixture
def source(tmp_path):
    classes = [name for names in superclasses.SUPERCLASSES.values() for name in names]
    for part, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(sorted(classes)):
            (tmp_path / "cifar" / part / name).mkdir(parents=True)
            for picture in range(count):
                place = tmp_path / "cifar" / part / name / f"{picture}.png"
                Image.new("RGB", (32, 32), (20 * number, 10 * picture, 0)).save(place)
    return tmp_path / "cifar"


def test_every_picture_lies_under_its_superclass(source, tmp_path):
    assert superclasses.regroup(source, tmp_path / "two") == 50
    dataset = datasets.load(f"folder:{tmp_path / 'two'}")
    assert dataset.class_names == ("animal", "vehicle")
    assert dataset.train_labels.bincount().tolist() == [18, 12] and dataset.eval_labels.bincount().tolist() == [12, 8]
    one = tmp_path / "two" / "test" / "vehicle" / "ship-1.png"
    assert one.read_bytes() == (source / "test" / "ship" / "1.png").read_bytes()


def test_a_missing_class_and_a_folder_in_use_are_named(source, tmp_path):
    superclasses.regroup(source, tmp_path / "two")
    with pytest.raises(SystemExit, match="is not empty"):
        superclasses.regroup(source, tmp_path / "two")
    (source / "train" / "ship").rename(source / "train" / "boat")
    with pytest.raises(SystemExit, match="ship has no pictures"):
        superclasses.regroup(source, tmp_path / "three")
