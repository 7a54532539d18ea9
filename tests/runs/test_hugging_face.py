"""Networks and image sets of the Hugging Face hub: made here, saved by their own libraries, read by their names."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from selviz import datasets
from selviz.cli import main
from selviz.datasets.hugging_face import find
from selviz.errors import SelvizError
from selviz.networks.hugging_face import Prepared, prepared
from selviz.runs.importing import import_run
from selviz.store import Store

CLASSES = ["circle", "square", "stripe"]
SIDE = 16
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def pictures(count, seed):
    from PIL import Image

    values = np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return [Image.fromarray(value) for value in values]


def table(count, seed, **more):
    import datasets as library

    labels = library.ClassLabel(names=CLASSES)
    columns = {"image": pictures(count, seed), "label": [number % 3 for number in range(count)], **more}
    features = {"image": library.Image(), "label": labels, **{name: library.Value("string") for name in more}}
    return library.Dataset.from_dict(columns, features=library.Features(features))


def save_classifier(folder, labels=CLASSES):
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", id2label=dict(enumerate(labels))
    )
    ResNetForImageClassification(config).save_pretrained(folder)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=1.0, image_mean=mean, image_std=std).save_pretrained(
        folder
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with `classifier/` of transformers, `tiny/` of timm and `shapes/`, a set in parquet files."""
    import timm

    folder = tmp_path_factory.mktemp("hub")
    save_classifier(folder / "classifier")
    (folder / "shapes" / "data").mkdir(parents=True)
    for part, count in (("train", 30), ("test", 90)):
        table(count, seed=count).to_parquet(folder / "shapes" / "data" / f"{part}-00000-of-00001.parquet")
    torch.manual_seed(0)
    about = {"input_size": (3, SIDE, SIDE), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), "crop_pct": 1.0}
    model = timm.create_model("resnet10t", num_classes=3, pretrained_cfg_overlay=about)
    timm.models.save_for_hf(model, folder / "tiny", safe_serialization=True)
    return folder


def test_a_set_has_the_pictures_labels_and_parts_of_its_table(saved):
    dataset = datasets.load(f"hf-dataset:{saved / 'shapes'}")
    assert dataset.class_names == tuple(CLASSES)
    assert (len(dataset.eval_labels), len(dataset.train_labels)) == (90, 30)
    original = np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in pictures(90, 90)])
    distances = np.abs(dataset.eval_pixels.numpy()[:, None].astype(int) - original[None].astype(int)).max((2, 3, 4))
    order = distances.argmin(1)
    assert (distances.min(1) == 0).all() and sorted(order) == list(range(90))
    assert dataset.eval_labels.tolist() == [number % 3 for number in order]


def test_columns_are_chosen_by_name_and_words_are_classes(saved, tmp_path):
    words = [("warm", "cold")[number % 2] for number in range(12)]
    table(12, seed=1, tone=words).to_parquet(tmp_path / "train.parquet")
    parts = find(f"{tmp_path},label=tone")
    assert parts.class_names == ("cold", "warm")
    held_out, training = parts.evaluation, parts.training()
    assert (len(held_out), len(training)) == (2, 10) and sorted(held_out.labels) == [0, 1]
    with pytest.raises(SelvizError, match="Unknown column of .* 'tune'; did you mean 'tone'"):
        find(f"{tmp_path},label=tune")
    with pytest.raises(SelvizError, match="Unknown option of hf-dataset:NAME 'colour'"):
        find(f"{tmp_path},colour=tone")
    with pytest.raises(SelvizError, match="There is no folder"):
        datasets.load(f"hf-dataset:{tmp_path / 'nothing'}")


def test_a_classifier_of_transformers_is_prepared_as_it_was_trained_and_predicts_what_it_predicts_there(
    saved, tmp_path
):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    store = Store(tmp_path)
    summary = import_run(store, "theirs", f"hf:{saved / 'classifier'}", {"dataset": f"hf-dataset:{saved / 'shapes'}"})
    assert summary["mean"] == [0.4, 0.5, 0.6] and summary["weights"] == "DEFAULT"
    dataset = datasets.load(f"hf-dataset:{saved / 'shapes'}")
    shown = [pixels.transpose(1, 2, 0) for pixels in dataset.eval_pixels.numpy()]
    inputs = AutoImageProcessor.from_pretrained(saved / "classifier")(shown, return_tensors="pt")
    with torch.no_grad():
        model = AutoModelForImageClassification.from_pretrained(saved / "classifier").eval()
        expected = model(**inputs).logits.argmax(1)
    stored = store.images("theirs")["prediction_index"]
    assert stored.tolist() == expected[: len(stored)].tolist()


def test_outputs_that_are_named_in_another_order_are_never_taken_as_they_stand(saved, tmp_path):
    save_classifier(tmp_path / "other", labels=["stripe", "circle", "square"])
    settings = {"dataset": f"hf-dataset:{saved / 'shapes'}"}
    with pytest.raises(SelvizError, match="say which outputs are meant: --outputs 1,2,0"):
        import_run(Store(tmp_path), "theirs", f"hf:{tmp_path / 'other'}", settings)
    assert Store(tmp_path).names() == []


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, ((0.5,) * 3, 224, 224)),
        ({"size": {"height": 224, "width": 224}, "do_normalize": False}, ((0.0,) * 3, 224, 224)),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, ((), 224, 256)),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224}}, ((), 224, 256)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, ((), 384, 384)),
        ({"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 127.5}, ((), 224, 224)),
    ],
)
def test_the_preparation_is_read_in_each_form_that_the_hub_has(tmp_path, saved, about, expected):
    shutil.copytree(saved / "classifier", tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(about))
    found = prepared(f"hf:{tmp_path / 'model'}")
    assert (found.mean, found.image_size, found.resize_size) == expected and found.classes == tuple(CLASSES)
    assert found.missing_in({"mean": "1,1,1", "image_size": 8}) == {}


def test_a_network_of_the_hub_is_imported_with_its_weights_and_not_trained(capsys, tmp_path):
    assert main(["train", "--dataset", "digits", "--model", "hf:lab/classifier", "--data", str(tmp_path)]) == 2
    assert "selviz import --name NAME --model hf:lab/classifier" in capsys.readouterr().err
    assert Prepared().missing_in({}) == {}


def fill_cache(saved, home):
    """What a download of the hub leaves on this machine."""
    from datasets.packaged_modules.parquet.parquet import Parquet

    for name in ("classifier", "tiny"):
        there = home / "hub" / f"models--lab--{name}"
        shutil.copytree(saved / name, there / "snapshots" / COMMIT)
        (there / "refs").mkdir()
        (there / "refs" / "main").write_text(COMMIT)
    files = {part: str(next((saved / "shapes" / "data").glob(f"{part}-*"))) for part in ("train", "test")}
    builder = Parquet(
        cache_dir=str(home / "datasets"), dataset_name="shapes", hash=COMMIT, data_files=files, config_id="default"
    )
    builder.download_and_prepare()
    (home / "datasets" / "shapes").rename(home / "datasets" / "lab___shapes")


def test_names_of_the_hub_are_read_from_what_was_downloaded_without_a_connection(saved, tmp_path):
    fill_cache(saved, tmp_path / "home")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    program = (
        "import sys\nfrom selviz.cli import main\n"
        "for name, model in (('a', 'hf:lab/classifier'), ('b', 'timm:hf-hub:lab/tiny'), ('c', 'hf:lab/missing')):\n"
        "    main(['import', '--name', name, '--model', model, '--dataset', 'hf-dataset:lab/shapes', '--max-images', "
        "'60', '--layers', 'first:1'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    store = Store(tmp_path / "data")
    assert sorted(store.names()) == ["a", "b"], done.stderr
    for name, model in (("a", "hf:lab/classifier"), ("b", "timm:hf-hub:lab/tiny")):
        about = store.run(name)
        assert (about["dataset"], about["model"], about["mean"]) == ("hf-dataset:lab/shapes", model, [0.4, 0.5, 0.6])
    assert "hf:lab/missing cannot be loaded from the Hugging Face hub" in done.stderr.splitlines()[-1]
