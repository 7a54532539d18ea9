"""Folders as people have them: which of them are parts of a data set and which are classes, and what is not guessed."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from selviz import datasets
from selviz.errors import SelvizError

AB, CD = ("cat", "dog"), ("bus", "car")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Decoded pixels of this test only."""
    monkeypatch.setenv("SELVIZ_CACHE", str(tmp_path / "cache"))


def write(folder, count: int = 3, start: int = 0):
    """`count` pictures in a folder, each with another gray level."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(np.full((8, 8, 3), start + number, np.uint8)).save(folder / f"{number}.png")


def root_of(tmp_path, tree: dict[str, int]):
    """A folder with these many pictures in each path; each path's pictures have levels of their own."""
    root = tmp_path / "images"
    for position, (path, count) in enumerate(tree.items()):
        write(root / path, count, start=10 * position)
    return root


def levels(pixels) -> set[int]:
    return {int(image[0, 0, 0]) // 10 for image in pixels}


def split(train, test, classes=AB, count=5):
    return {f"{part}/{name}": count for part in (train, test) for name in classes}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"), ("Training", "Testing"), ("TRAIN", "TEST"), ("train", "Val"), ("train", "eval"),
        ("seg_train", "seg_test"), ("train_images", "validation-images"), ("TrainSet", "TestSet"),
        ("images_train", "dev"), ("training_data", "holdout"), ("train/train", "valid/valid"),
    ],
)  # fmt: skip
def test_the_held_out_folder_is_what_is_evaluated_whatever_its_name_is(tmp_path, train, test):
    dataset = datasets.load(f"folder:{root_of(tmp_path, split(train, test))}")
    assert dataset.class_names == AB
    assert levels(dataset.eval_pixels) == {2, 3} and levels(dataset.train_pixels) == {0, 1}
    assert len(dataset.eval_labels) == 10 == len(dataset.train_labels)


def test_a_test_folder_goes_before_a_validation_folder_and_the_other_is_named(tmp_path):
    tree = {**split("train", "Val"), **{f"TEST/{name}": 5 for name in AB}}
    dataset = datasets.load(f"folder:{root_of(tmp_path, tree)}")
    assert levels(dataset.eval_pixels) == {4, 5} and "Val/ left out" in dataset.origin["layout"]


def test_a_folder_of_images_without_classes_beside_the_parts_is_named_as_left_out(tmp_path):
    tree = {**split("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred": 4}
    dataset = datasets.load(f"folder:{root_of(tmp_path, tree)}")
    assert levels(dataset.eval_pixels) == {2, 3} and "seg_pred/ left out" in dataset.origin["layout"]


@pytest.mark.parametrize("name", ["train", "test", "val", "Training"])
def test_a_class_may_be_called_train_test_or_val(tmp_path, name):
    tree = {name: 10, "bus": 10, "car": 10}
    assert datasets.load(f"folder:{root_of(tmp_path, tree)}").class_names == tuple(sorted(tree))


def test_a_class_called_train_may_have_folders_of_its_own(tmp_path):
    tree = {"train/freight": 5, "train/express": 5, "bus": 10, "car/red": 5, "car/blue": 5}
    assert datasets.load(f"folder:{root_of(tmp_path, tree)}").class_names == ("bus", "car", "train")


def test_class_names_that_differ_in_case_between_the_parts_are_one_class(tmp_path):
    tree = {"train/Cat": 5, "train/Dog": 5, "test/cat": 5, "test/dog": 5}
    dataset = datasets.load(f"folder:{root_of(tmp_path, tree)}")
    assert dataset.class_names == ("Cat", "Dog") and len(dataset.train_labels) == 10 == len(dataset.eval_labels)


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (split("first", "second"), "first/, second/, each with the class folders cat/, dog/.*--train-folder"),
        (split("fold1", "fold2", CD), "look like parts of a data set"),
        ({**split("train", "test"), "extra/cat": 3, "extra/dog": 3}, "train/, test/, extra/|extra/.*--train-folder"),
        ({**split("train", "test"), "Testing/cat": 3, "Testing/dog": 3}, "Testing/.*--test-folder"),
        ({"train/cat": 5, "train/dog": 5, "test": 5}, "train/ with class folders and test/ with images and no class"),
        ({"train/cat": 5, "train/dog": 5, "cat": 5, "dog": 5}, "such folders beside it"),
        ({"train": 5, "test": 5}, "with images and not two class folders each"),
        ({"train/cat": 5, "train/dog": 5, "test/cat": 5, "test/cow": 5}, "cow/, dog/ are in one alone"),
        ({"data/train/cat": 5, "data/train/dog": 5, "data/test/cat": 5, "data/test/dog": 5}, "give that one: folder:"),
    ],
)
def test_what_is_not_clear_is_named_and_not_guessed(tmp_path, tree, sentence):
    with pytest.raises(SelvizError, match=sentence):
        datasets.load(f"folder:{root_of(tmp_path, tree)}")


def test_the_user_says_which_folder_is_which(tmp_path):
    root = root_of(tmp_path, split("first", "second"))
    dataset = datasets.load(f"folder:{root}", train_folder="second", test_folder="first")
    assert levels(dataset.eval_pixels) == {0, 1} and levels(dataset.train_pixels) == {2, 3}
    only = datasets.load(f"folder:{root}", train_folder="first")
    assert levels(only.eval_pixels) == {0, 1} and len(only.eval_labels) == 2
    with pytest.raises(SelvizError, match="has no such folder; it holds first/, second/"):
        datasets.load(f"folder:{root}", test_folder="third")
    with pytest.raises(SelvizError, match="has no such folder"):
        datasets.load(f"folder:{root}", test_folder="..")


def test_a_flat_folder_is_taken_whole_where_the_user_says_so(tmp_path):
    root = root_of(tmp_path, {"cat": 7, "dog": 8})
    assert len(datasets.load(f"folder:{root}", test_folder=".").eval_labels) == 15


# --------------------------------------------------------------------------------------------- other files, deep images


def test_files_that_are_no_images_by_their_names_are_counted_and_listed(tmp_path):
    root = root_of(tmp_path, {"test/cat": 3, "test/dog": 3})
    for name in ("a.heic", "b.HEIC", "c.avif", "notes.txt", "README"):
        (root / "test" / "cat" / name).write_bytes(b"x")
    (root / "test" / "dog" / ".DS_Store").write_bytes(b"x")
    origin = datasets.load(f"folder:{root}").origin
    assert origin["other_files"] == {".heic": 2, ".avif": 1, ".txt": 1, "no suffix": 1}
    assert ["cat/a.heic", ".heic"] in origin["other"] and origin["skipped_images"] == 0


def test_a_class_of_unreadable_files_alone_is_told_by_its_files(tmp_path):
    root = root_of(tmp_path, {"test/cat": 3, "test/dog": 3})
    (root / "test" / "cow").mkdir()
    for number in range(4):
        (root / "test" / "cow" / f"{number}.heic").write_bytes(b"x")
    with pytest.raises(SelvizError, match="Class 'cow' of .* has no image that can be read: 4 .heic; convert them"):
        datasets.load(f"folder:{root}")


def write_deep(root, values: dict[str, list[int]], mode=np.uint16, suffix="png"):
    for name, numbers in values.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number, value in enumerate(numbers):
            Image.fromarray(np.full((8, 8), value, mode)).save(root / name / f"{number}.{suffix}")
    return root


@pytest.mark.parametrize(
    ("largest", "bits"), [(65535, 16), (40000, 16), (16383, 14), (4095, 12), (3000, 12), (1023, 10), (255, 8)]
)
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_deep_images_are_scaled_by_the_depth_of_the_whole_set(tmp_path, largest, bits, suffix):
    """A dark image among them stays dark, and a set of 12 bits is not nearly black."""
    root = write_deep(
        tmp_path / "images" / "test", {"cat": [largest, 200, 0], "dog": [largest // 2, 5, 1]}, suffix=suffix
    )
    dataset = datasets.load(f"folder:{root.parent}")
    expected = sorted(value >> (bits - 8) for value in (largest, 200, 0, largest // 2, 5, 1))
    assert sorted(int(image[0, 0, 0]) for image in dataset.eval_pixels) == expected
    assert f"read as {bits}-bit" in dataset.origin["transform"]


def test_the_training_images_decide_the_depth_too_and_images_of_8_bits_stay(tmp_path):
    root = tmp_path / "images"
    write_deep(root / "train", {"cat": [60000] * 2, "dog": [50000] * 2})
    write_deep(root / "test", {"cat": [4000], "dog": [2000]})
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(root / "test" / "dog" / "plain.png")
    dataset = datasets.load(f"folder:{root}")
    assert sorted(int(image[0, 0, 0]) for image in dataset.eval_pixels) == [2000 >> 8, 4000 >> 8, 77]
    assert sorted(int(image[0, 0, 0]) for image in dataset.train_pixels) == [50000 >> 8] * 2 + [60000 >> 8] * 2


def write_deep_colors(file, values, channels=3, form="png"):
    """Write a picture [8, 8] of 16 bits a channel, its first color of this value and its opacity full."""
    file.parent.mkdir(parents=True, exist_ok=True)
    colors = np.zeros((8, 8, channels), np.uint16)
    colors[..., 0] = values
    if channels in (2, 4):
        colors[..., -1] = 65535
    if form == "png":
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colors)
        head = struct.pack(">IIBBBBB", 8, 8, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
        parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        chunks = [
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        ]
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
        return
    data = colors.astype("<u2").tobytes()
    fields = [
        (256, 4, 1, 8),
        (257, 4, 1, 8),
        (258, 3, 3, 8 + len(data)),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
    ]
    fields += [(277, 3, 1, channels), (278, 4, 1, 8), (279, 4, 1, len(data))]
    entries = b"".join(struct.pack("<HHII", *field) for field in fields)
    start = 8 + len(data) + 6
    body = data + struct.pack("<HHH", 16, 16, 16) + struct.pack("<H", len(fields)) + entries + bytes(4)
    file.write_bytes(b"II*\0" + struct.pack("<I", start) + body)


@pytest.mark.parametrize(("channels", "form"), [(2, "png"), (3, "png"), (4, "png"), (3, "tiff")])
@pytest.mark.parametrize(("largest", "bits"), [(65535, 16), (4095, 12), (1000, 10)])
def test_colors_of_16_bits_are_scaled_by_the_depth_of_the_whole_set(tmp_path, largest, bits, channels, form):
    root, values = tmp_path / "images" / "test", {"cat": [largest, 200], "dog": [largest // 3, 5]}
    for name, numbers in values.items():
        for number, value in enumerate(numbers):
            write_deep_colors(root / name / f"{number}.{form}", value, channels, form)
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(root / "dog" / "plain.png")
    dataset = datasets.load(f"folder:{root.parent}")
    expected = sorted([77, *(value >> (bits - 8) for numbers in values.values() for value in numbers)])
    assert sorted(int(image[0, 0, 0]) for image in dataset.eval_pixels) == expected
    assert f"read as {bits}-bit" in dataset.origin["transform"]


def test_gray_of_16_bits_in_the_other_byte_order_is_the_same(tmp_path):
    root = write_deep(tmp_path / "images" / "test", {"cat": [4095, 30], "dog": [2000, 5]}, mode=">u2", suffix="tiff")
    assert Image.open(root / "cat" / "0.tiff").mode == "I;16B"
    dataset = datasets.load(f"folder:{root.parent}")
    assert sorted(int(image[0, 0, 0]) for image in dataset.eval_pixels) == [0, 1, 125, 255]


def test_a_bitmap_of_16_bits_for_all_colors_has_no_more_than_8_a_channel(tmp_path):
    words = struct.pack("<64H", *[0b1111100000000000] * 64)
    head = struct.pack("<2sIHHI", b"BM", 66 + len(words), 0, 0, 66) + struct.pack(
        "<IiiHHIIiiII", 40, 8, 8, 1, 16, 3, 128, 0, 0, 0, 0
    )
    for name in ("cat", "dog"):
        (tmp_path / "images" / "test" / name).mkdir(parents=True)
        (tmp_path / "images" / "test" / name / "0.bmp").write_bytes(
            head + struct.pack("<III", 0xF800, 0x07E0, 0x001F) + words
        )
    dataset = datasets.load(f"folder:{tmp_path / 'images'}")
    assert [int(value) for value in dataset.eval_pixels[0, :, 0, 0]] == [255, 0, 0]
    assert "more than 8 bits" not in dataset.origin["transform"]


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"cat/train": 3, "cat/test": 2, "dog/train": 3, "dog/test": 2}, "class folders: cat/test/, cat/train/"),
        ({"cat/Training": 3, "dog/Training": 3, "dog/val": 2}, "inside its class folders: cat/Training/"),
        ({"images": 3, "labels": 0}, "holds images/ and labels/, which are no classes"),
        ({"IMG": 3, "masks": 3}, "holds IMG/ and masks/, which are no classes"),
    ],
)  # fmt: skip
def test_parts_inside_classes_and_folders_of_annotations_are_said_to_be_what_they_are(tmp_path, tree, sentence):
    root = root_of(tmp_path, tree)
    with pytest.raises(SelvizError, match=sentence):
        datasets.load(f"folder:{root}")
