"""Images as people have them: folders of any layout, format and size, prepared as the usual evaluation does."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from selviz import datasets
from selviz.cli import main
from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.runs import dataset_locations
from selviz.runs import load as run_load
from selviz.store import Store


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Decoded pixels of this test only."""
    monkeypatch.setenv("SELVIZ_CACHE", str(tmp_path / "cache"))


def picture(seed: int, size=(12, 12), mode: str = "RGB") -> Image.Image:
    """Noise: no two are the same."""
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def write_classes(root, classes=("ant", "bee", "cat"), images: int = 5, size=(12, 12), start: int = 0):
    """PNG files `<class>/<number>.png`, lossless, so that their pixels are known."""
    for position, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(images):
            picture(start + position * images + number, size).save(root / name / f"{number}.png")
    return root


def test_a_folder_with_train_and_test_gives_its_own_pixels_labels_and_statistics(tmp_path):
    write_classes(tmp_path / "train", images=4)
    write_classes(tmp_path / "test", images=2, start=100)
    dataset = datasets.load(f"folder:{tmp_path}")
    assert dataset.class_names == ("ant", "bee", "cat")
    expected = {picture(100 + number).tobytes(): number // 2 for number in range(6)}
    found = {
        np.moveaxis(image, 0, -1).tobytes(): label
        for image, label in zip(dataset.eval_pixels.numpy(), dataset.eval_labels.tolist())
    }
    assert found == expected
    train = np.stack([np.asarray(picture(number)) for number in range(12)]) / 255
    np.testing.assert_allclose(dataset.mean, train.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(dataset.std, train.std(axis=(0, 1, 2)), atol=1e-6)
    assert len(dataset.train_labels) == 12 and torch.bincount(dataset.eval_folds.long()).tolist() == [3, 3]


def test_without_train_and_test_a_fifth_of_each_class_is_held_out_and_stays_the_same(tmp_path):
    dataset = datasets.load(f"folder:{write_classes(tmp_path / 'pictures', images=10)}")
    assert torch.bincount(dataset.eval_labels).tolist() == [2, 2, 2]
    assert torch.bincount(dataset.train_labels).tolist() == [8, 8, 8]
    held_out = {image.numpy().tobytes() for image in dataset.eval_pixels}
    assert not held_out & {image.numpy().tobytes() for image in dataset.train_pixels}
    assert datasets.load(f"folder:{tmp_path / 'pictures'}") is dataset


def test_only_evaluation_images_are_enough_unless_there_is_training(tmp_path):
    write_classes(tmp_path / "val")
    dataset = datasets.load(f"folder:{tmp_path}")
    assert len(dataset.eval_labels) == 15 and dataset.origin["statistics"] == "the evaluation images"
    with pytest.raises(SelvizError, match="has no training images; add a folder train/"):
        dataset.train_pixels  # noqa: B018


def test_a_mix_of_formats_sizes_and_modes_becomes_one_shape_as_torchvision_makes_it(tmp_path):
    from torchvision import transforms

    write_classes(tmp_path / "val", ("ant", "bee"), images=1)
    for number, (size, mode, ending) in enumerate(
        [((300, 200), "RGB", "jpg"), ((40, 90), "L", "png"), ((64, 64), "RGBA", "webp"), ((50, 41), "P", "gif")]
    ):
        picture(number, size, mode).save(tmp_path / "val" / "bee" / f"mixed{number}.{ending}")
    Image.fromarray(np.full((30, 30), 40_000, np.uint16)).save(tmp_path / "val" / "bee" / "sixteen.tiff")
    dataset = datasets.load(f"folder:{tmp_path}", image_size=32, resize_size=37)
    usual = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32), transforms.PILToTensor()])
    for file in (tmp_path / "val").rglob("*[0-9].*"):
        with Image.open(file) as opened:
            expected = usual(opened.convert("RGB"))
        assert any(torch.equal(expected, image) for image in dataset.eval_pixels), file
    # 40,000 of 65,535 is 156 of 255
    assert any(torch.equal(torch.full((3, 32, 32), 156, dtype=torch.uint8), image) for image in dataset.eval_pixels)
    assert dataset.eval_pixels.shape == (7, 3, 32, 32)


def test_damaged_and_empty_files_are_left_out_and_listed(tmp_path):
    write_classes(tmp_path / "test", images=3)
    (tmp_path / "test" / "ant" / "empty.jpg").touch()
    whole = (tmp_path / "test" / "bee" / "0.png").read_bytes()
    (tmp_path / "test" / "bee" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "test" / "bee" / "notes.txt").write_text("no image, and its name says so")
    dataset = datasets.load(f"folder:{tmp_path}")
    assert len(dataset.eval_labels) == 9 and dataset.origin["available"] == 11
    assert {file for file, _ in dataset.origin["skipped"]} == {"ant/empty.jpg", "bee/half.png"}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: None, "There is no folder .*; give one that holds a folder of images for each class"),
        (lambda root: root.mkdir(), "has no class folders; give a folder"),
        (lambda root: write_classes(root, ("ant",)), "has one class folder only, ant/"),
        (lambda root: (write_classes(root) / "dog").mkdir(), "Class 'dog' of .* has no image; put images into it"),
        (lambda root: write_classes(root, images=1), "a fifth of its images is too few"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_sentence(tmp_path, make, sentence):
    make(tmp_path / "images")
    with pytest.raises(SelvizError, match=sentence):
        datasets.load(f"folder:{tmp_path / 'images'}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mean": "0.5", "std": "0.5"}, "1 numbers were given for mean and std, and the images have 3 channels"),
        ({"mean": "0.5,0.5,0.5"}, "mean and std belong together"),
        ({"mean": "1,2,x", "std": "1,1,1"}, "mean is '1,2,x'; give one number a channel"),
        ({"mean": "0,0,0", "std": "1,0,1"}, "std is '1,0,1'; give one number above 0 a channel"),
        ({"interpolation": "bicubik"}, "did you mean 'bicubic'"),
        ({"channels": 2}, "use --channels 1 for grey"),
        ({"image_size": 32, "resize_size": 16}, "must be at least image_size"),
        ({"max_images": 2}, "has no image; allow more with --max-images"),
    ],
)
def test_options_that_do_not_fit_are_told_in_one_sentence(tmp_path, options, sentence):
    write_classes(tmp_path / "test")
    with pytest.raises(SelvizError, match=sentence):
        datasets.load(f"folder:{tmp_path}", **options)


def test_max_images_takes_the_same_share_of_each_class(tmp_path):
    write_classes(tmp_path / "test", images=20)
    few = datasets.load(f"folder:{tmp_path}", max_images=15)
    assert torch.bincount(few.eval_labels).tolist() == [5, 5, 5] and few.origin["available"] == 60
    everything = datasets.load(f"folder:{tmp_path}")
    assert torch.equal(few.eval_pixels, everything.eval_pixels[:15]) and few.fingerprint != everything.fingerprint


def test_a_second_load_decodes_nothing_until_a_file_changes(tmp_path, monkeypatch):
    write_classes(tmp_path / "test")
    decoded = []

    def load():
        datasets._opened.clear()
        return datasets.load(f"folder:{tmp_path}", report=decoded.append)

    first = load()
    assert decoded and decoded[-1] == {"stage": "decoding", "images": 15, "of": 15}
    decoded.clear()
    assert load().fingerprint == first.fingerprint and not decoded
    picture(99).save(tmp_path / "test" / "ant" / "0.png")
    assert load().fingerprint != first.fingerprint and decoded


def test_named_data_sets_take_the_same_options():
    plain, grown = datasets.load("digits"), datasets.load("digits", image_size=16, channels=3, max_images=50)
    assert grown.eval_pixels.shape == (50, 3, 16, 16) and grown.train_pixels.shape[1:] == (3, 16, 16)
    assert torch.equal(grown.eval_labels, plain.eval_labels[:50]) and grown.fingerprint != plain.fingerprint
    assert datasets.load("digits", mean=[0.5], std=[0.25]).mean == (0.5,)


def test_a_folder_trains_under_a_name_that_is_a_safe_folder(tmp_path, capsys, visit):
    write_classes(tmp_path / "my pictures", images=20)
    data = str(tmp_path / "store")
    spec = f"folder:{tmp_path / 'my pictures'}"
    options = ["--epochs", "1", "--batch-size", "16", "--max-images", "9", "--data", data, "--json"]
    assert main(["train", "--dataset", spec, "--model", "cnn", *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    config = RunConfig(spec, "cnn", epochs=1, batch_size=16, max_images=9)
    assert summary["run"] == run_name(config) and summary["run"].startswith("my-pictures-cnn-a0-s0-")
    assert summary["images"] == 9 and summary["train_images"] == 48 and summary["dataset"] == spec
    assert main(["ablate", summary["run"], "--units", "relu4:0-7", "--data", data, "--json"]) == 0
    capsys.readouterr()
    store, run, images = Store(data), summary["run"], tmp_path / "my pictures"
    assert summary["available_images"] == 12 and run_load.images_changed(store, run) is None
    os.utime(images / "ant" / "0.png")  # written again, the same pixels
    assert run_load.images_changed(store, run) is None
    for file in images.rglob("*.png"):
        picture(999).save(file)
    assert "no longer those that this run was captured on" in run_load.images_changed(store, run)
    page = visit(store, "units", run=run)
    assert not page.exception and [warning.value for warning in page.warning] == [run_load.images_changed(store, run)]
    images.rename(tmp_path / "elsewhere")
    assert (
        f"say where they are now: selviz relink {run} --dataset folder:/new/place --data "
        in run_load.images_changed(store, run)
    )
    assert main(["ablate", run, "--units", "relu4:0-7", "--data", data]) == 2
    assert "selviz relink" in capsys.readouterr().err
    assert len(store.thumbnails(run, range(9))) == 9 and len(store.units(run)) == 144


def test_a_folder_that_was_moved_is_linked_anew_for_all_runs_on_its_images_and_travels_without_its_path(
    tmp_path, capsys
):
    here, there, data = tmp_path / "here", tmp_path / "there", tmp_path / "store"
    write_classes(here, images=5)
    store, options = Store(data), ["--model", "cnn", "--epochs", "0", "--batch-size", "4", "--data", str(data)]
    for seed in ("0", "1"):
        assert main(["train", "--dataset", f"folder:{here}", "--seed", seed, *options]) == 0
    first, second = store.names()
    ablate = ["ablate", second, "--units", "relu4:0-7", "--data", str(data)]
    here.rename(there)
    capsys.readouterr()
    assert main(ablate) == 2
    told = capsys.readouterr().err
    command = f"selviz relink {second} --dataset folder:/new/place --data {data}"
    assert told.count("\n") == 1 and command in told
    before = {file: file.read_bytes() for file in store.run_path(first).glob("*.json")}
    assert main(command.replace("/new/place", str(there)).split()[1:]) == 0
    assert capsys.readouterr().out == f"2 runs now find their images in folder:{there}\n"
    assert main(ablate) == 0
    assert run_load.images_changed(store, first) is None
    assert {file: file.read_bytes() for file in before} == before
    write_classes(tmp_path / "others", images=5, start=500)
    with pytest.raises(SelvizError, match=f"are not those of run {first}"):
        dataset_locations.relink(store, first, f"folder:{tmp_path / 'others'}")

    store.pack(first, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert not [name for name in archive.namelist() if str(tmp_path).encode() in archive.read(name)]
    assert store.unpack(tmp_path / "run.zip") == first  # it is there, and the same
    other = Store(tmp_path / "other")
    assert other.run(other.unpack(tmp_path / "run.zip"))["dataset"] == "folder:here"
    assert main(["relink", first, "--dataset", f"folder:{there}", "--data", str(other.path)]) == 0
    assert main(["ablate", first, "--units", "relu4:0-7", "--data", str(other.path)]) == 0


def test_a_relative_path_and_an_absolute_one_are_the_same_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunConfig("folder:pictures", "cnn") == RunConfig(f"folder:{tmp_path / 'pictures'}", "cnn")
