"""Data sets in the formats that their authors hand out, generated small: the real readers, no network."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets as sets

from selviz import datasets
from selviz.datasets import downloads
from selviz.errors import SelvizError

N = 40  # images a part


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Downloads and decoded pixels of this test only."""
    monkeypatch.setenv("SELVIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "torchvision"


def noise(seed: int, shape: tuple) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def checksum(path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_idx(path, array: np.ndarray):
    header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + array.astype(np.uint8).tobytes())
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(path.read_bytes())


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnists_idx_files(own_cache, name, folder):
    for seed, part in enumerate(("train", "t10k")):
        write_idx(own_cache / folder / "raw" / f"{part}-images-idx3-ubyte", noise(seed, (N, 28, 28)))
        write_idx(own_cache / folder / "raw" / f"{part}-labels-idx1-ubyte", np.arange(N) % 10)
    dataset = downloads.DOWNLOADS[name]()
    assert dataset.train_pixels.shape == (N, 1, 28, 28) and len(dataset.class_names) == 10
    assert torch.equal(dataset.train_pixels[:, 0], torch.from_numpy(noise(0, (N, 28, 28))))
    assert dataset.mirrors == (name == "fashion-mnist") and sorted(dataset.eval_labels.tolist()) == sorted(
        [*range(10)] * 4
    )


@pytest.mark.parametrize(
    ("name", "kind", "key", "classes"),
    [("cifar10", "CIFAR10", "labels", 10), ("cifar100", "CIFAR100", "fine_labels", 100)],
)
def test_cifars_batches(own_cache, monkeypatch, name, kind, key, classes):
    made, folder = getattr(sets, kind), own_cache / getattr(sets, kind).base_folder
    folder.mkdir(parents=True)
    lists = {}
    for seed, which in enumerate(("train_list", "test_list")):
        entries = []
        for position, (file, _) in enumerate(getattr(made, which)):
            images = 2 * classes
            entry = {"data": noise(10 * seed + position, (images, 3072)), key: [n % classes for n in range(images)]}
            (folder / file).write_bytes(pickle.dumps(entry))
            entries.append([file, checksum(folder / file)])
        lists[which] = entries
    names = [f"class {n}" for n in range(classes)]
    (folder / made.meta["filename"]).write_bytes(pickle.dumps({made.meta["key"]: names}))
    meta = {**made.meta, "md5": checksum(folder / made.meta["filename"])}
    for attribute, value in {**lists, "meta": meta}.items():
        monkeypatch.setattr(made, attribute, value)
    dataset = downloads.DOWNLOADS[name]()
    first = torch.from_numpy(noise(0, (2 * classes, 3072))).reshape(-1, 3, 32, 32)
    assert torch.equal(dataset.train_pixels[: 2 * classes], first) and dataset.class_names == tuple(names)
    assert torch.bincount(dataset.eval_labels).tolist() == [2] * classes


def test_svhns_matlab_files_in_which_10_is_the_digit_0(own_cache, monkeypatch):
    own_cache.mkdir(parents=True)
    splits = dict(sets.SVHN.split_list)
    for seed, part in enumerate(("train", "test")):
        file = own_cache / f"{part}_32x32.mat"
        savemat(file, {"X": noise(seed, (32, 32, 3, N)), "y": (np.arange(N) % 10 + 1)[:, None]})
        splits[part] = [splits[part][0], file.name, checksum(file)]
    monkeypatch.setattr(sets.SVHN, "split_list", splits)
    dataset = downloads.DOWNLOADS["svhn"]()
    assert torch.equal(dataset.train_pixels[3], torch.from_numpy(noise(0, (32, 32, 3, N))[..., 3]).permute(2, 0, 1))
    assert dataset.train_labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_a_download_that_fails_is_told_with_the_folder_for_the_files(own_cache, monkeypatch):
    nowhere = "http://127.0.0.1:9/"
    monkeypatch.setattr(sets.MNIST, "mirrors", [nowhere])
    monkeypatch.setattr(sets.CIFAR10, "url", f"{nowhere}cifar-10-python.tar.gz")
    for name, folder in (("mnist", "MNIST/raw"), ("cifar10", "cifar-10-batches-py")):
        with pytest.raises(SelvizError, match=f"{name} cannot be downloaded .*put the original files into .*{folder}"):
            datasets.load(name)


def write_picture(path, seed: int, size=(64, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, (size[1], size[0], 3))).save(path, "JPEG")


IDS = ("n01440764", "n01443537", "n02012849")


def test_tiny_imagenet_as_it_is_unpacked(tmp_path):
    lines = []
    for number in range(6):
        write_picture(tmp_path / "val" / "images" / f"val_{number}.JPEG", number)
        lines.append(f"val_{number}.JPEG\t{IDS[number % 3]}\t0\t32\t44\t62\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("".join(lines))
    (tmp_path / "words.txt").write_text("n01440764\ttench, Tinca tinca\nn01443537\tgoldfish\nn99\tother\n")
    for number, wnid in enumerate(IDS):
        write_picture(tmp_path / "train" / wnid / "images" / f"{wnid}_0.JPEG", 50 + number)
    dataset = datasets.load(f"tiny-imagenet:{tmp_path}")
    assert dataset.class_names == ("tench", "goldfish", "n02012849")
    assert dataset.eval_pixels.shape == (6, 3, 64, 64) and dataset.train_labels.tolist() == [0, 1, 2]


def imagenet_val(root, folder, flat: bool):
    for number in range(6):
        name = f"ILSVRC2012_val_{number + 1:08d}.JPEG"
        write_picture(root / folder / (name if flat else f"{IDS[number % 3]}/{name}"), number, (80, 60))


def test_imagenet_in_class_folders_takes_ids_in_order_and_the_usual_crop(tmp_path):
    imagenet_val(tmp_path, "val", flat=False)
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01440764 crane, machine\nn01443537 goldfish\nn02012849 crane\n")
    dataset = datasets.load(f"imagenet:{tmp_path}", mean="0.485,0.456,0.406", std="0.229,0.224,0.225", image_size=32)
    assert dataset.class_names == ("crane (n01440764)", "goldfish", "crane (n02012849)")
    assert dataset.eval_pixels.shape == (6, 3, 32, 32) and "shorter side to 37" in dataset.origin["transform"]
    with pytest.raises(SelvizError, match="no training images in"):
        dataset.train_pixels  # noqa: B018


def test_imagenet_of_kaggle_is_labelled_by_its_csv(tmp_path):
    imagenet_val(tmp_path, "ILSVRC/Data/CLS-LOC/val", flat=True)
    rows = [f"ILSVRC2012_val_{number + 1:08d},{IDS[number % 3]} 1 2 3 4" for number in range(6)]
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    dataset = datasets.load(f"imagenet:{tmp_path}", image_size=32)
    assert torch.bincount(dataset.eval_labels).tolist() == [2, 2, 2] and dataset.class_names == IDS


def test_imagenet_of_the_challenge_is_labelled_by_its_devkit(tmp_path):
    imagenet_val(tmp_path, "ILSVRC2012_img_val", flat=True)
    with pytest.raises(SelvizError, match="have no labels; put ILSVRC2012_devkit_t12/"):
        datasets.load(f"imagenet:{tmp_path}")
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    synsets = np.array(
        [(3, IDS[0], "tench", 0), (1, IDS[1], "goldfish", 0), (2, IDS[2], "crane", 0), (4, "n0", "all", 3)], kinds
    )
    savemat(kit / "meta.mat", {"synsets": synsets})
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n2\n3\n1\n2\n")
    dataset = datasets.load(f"imagenet:{tmp_path}", image_size=32)
    assert dataset.class_names == ("tench", "goldfish", "crane") and torch.bincount(dataset.eval_labels).tolist() == [
        2,
        2,
        2,
    ]
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n")
    with pytest.raises(SelvizError, match="names the classes of 2; unpack both archives completely"):
        datasets.load(f"imagenet:{tmp_path}")
