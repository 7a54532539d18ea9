"""Stored robustness: accuracies, summaries, what units do, resuming, images made by others, bad input."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.networks.activations import observe
from selviz.robustness import corruptions
from selviz.robustness.bench import Bench, Perturbation
from selviz.robustness.unit_shifts import corruption_accuracy, layer_change, unit_changes
from selviz.runs.load import load_network
from selviz.selectivity import index
from selviz.statistics import rank_correlation
from selviz.store import Store
from selviz.studies import corrupted_pictures
from selviz.studies.corrupted_pictures import CorruptedPictures
from selviz.studies.robustness import AttackSettings, run_robustness
from selviz.testing.toy import toy_dataset, toy_known
from selviz.text.tables import robustness_text

IMAGES = 60


@pytest.fixture(scope="module")
def stored(tiny_store, tmp_path_factory):
    """A copy of the tiny store with the robustness of its run: three corruptions at two severities, two attacks."""
    import shutil

    folder = tmp_path_factory.mktemp("robust") / "store"
    shutil.copytree(tiny_store.path, folder)
    store = Store(folder)
    names = ("gaussian_noise", "glass_blur", "contrast")
    run_robustness(store, store.names()[0], names, (1, 5), epsilons=(0.0, 8.0, 64.0), images=IMAGES)
    return store


def test_the_stored_accuracy_is_that_of_the_network_on_corrupted_images(stored, tiny_run):
    network, dataset = load_network(stored, tiny_run)
    pixels = corruptions.corrupt(dataset.eval_pixels[:IMAGES].numpy(), "contrast", 5)
    predictions = network.logits(dataset.normalise(torch.from_numpy(pixels))).argmax(dim=1)
    right = (predictions == dataset.eval_labels[:IMAGES]).double().mean()
    table = stored.robustness(tiny_run).set_index(["name", "level"])
    row = table.loc[("contrast", 5)]
    assert row["accuracy"] == pytest.approx(float(right)) and row["images"] == IMAGES
    assert row["low"] < row["accuracy"] < row["high"]
    clean = table.loc[("clean", 0)]
    assert clean["accuracy"] - row["accuracy"] == pytest.approx((row["lost"] - row["gained"]) / IMAGES)
    images = stored.robustness_images(tiny_run).query("name == 'contrast' and level == 5")
    assert images["prediction_index"].tolist() == predictions.tolist()


def test_what_is_too_small_is_left_out_and_the_summary_counts_what_is_there(stored, tiny_run):
    table = stored.robustness(tiny_run)
    assert set(table[table["kind"] == "corruption"]["name"]) == {"gaussian_noise", "contrast"}
    summary = stored.robustness_summary(tiny_run).set_index("family")
    accuracies = table[table["kind"] == "corruption"]["accuracy"]
    assert summary.loc["all", "accuracy"] == pytest.approx(accuracies.mean())
    clean = table[table["kind"] == "clean"]["accuracy"].iloc[0]
    assert summary.loc["all", "relative"] == pytest.approx(accuracies.mean() / clean)
    assert summary.loc["all", ["corruptions", "severities"]].tolist() == [2, 2]
    assert summary.loc["noise", "corruptions"] == 1


def test_grey_images_are_attacked_with_larger_epsilons_too(own_store, tiny_run, monkeypatch):
    def first(self, item, *rest):
        raise SelvizError(str(item.levels))

    monkeypatch.setattr(Bench, "measure", first)
    with pytest.raises(SelvizError, match="0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0"):
        run_robustness(own_store, tiny_run, [], kinds=("pgd",), images=10)
    with pytest.raises(SelvizError, match=r"^\(2.0,\)$"):
        run_robustness(own_store, tiny_run, [], kinds=("pgd",), epsilons=[2], images=10)


def test_the_text_gives_the_mean_of_each_family_with_its_interval(stored, tiny_run):
    summary = stored.robustness_summary(tiny_run)
    told = robustness_text({"run": tiny_run, "settings": stored.robustness(tiny_run), "summary": summary})
    row = summary.set_index("family").loc["noise"]
    assert f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})" in told


def test_epsilon_0_is_the_clean_accuracy_and_a_strong_attack_costs_accuracy(stored, tiny_run):
    table = stored.robustness(tiny_run).set_index(["name", "level"])
    clean = table.loc[("clean", 0), "accuracy"]
    for kind in ("fgsm", "pgd"):
        assert table.loc[(kind, 0), "accuracy"] == clean and table.loc[(kind, 0), "lost"] == 0
        assert table.loc[(kind, 64), "accuracy"] < clean - 0.2
        assert table.loc[(kind, 64), "pixel_change"] <= 64


def test_units_beside_clean_have_their_si_class_and_shift(stored, tiny_run):
    network, dataset = load_network(stored, tiny_run)
    labels = dataset.eval_labels[:IMAGES]
    pixels = torch.from_numpy(corruptions.corrupt(dataset.eval_pixels[:IMAGES].numpy(), "contrast", 5))
    clean = observe(network, dataset.normalise(dataset.eval_pixels[:IMAGES]))[1][2].double()
    moved = observe(network, dataset.normalise(pixels))[1][2].double()
    units = stored.robustness_units(tiny_run, "relu3").query("name == 'contrast' and level == 5")
    expected = index.index(*index.class_means(moved, labels, 10))
    np.testing.assert_allclose(units["si"], expected)
    shift = (moved - clean).abs().mean(dim=0) / clean.std(dim=0)
    live = clean.std(dim=0) > 0
    np.testing.assert_allclose(units["shift"][live.numpy()], shift[live])
    assert units["shift"][~live.numpy()].isna().all()
    means = stored.robustness_classes(tiny_run, "relu3", 4).query("name == 'contrast' and level == 5")
    np.testing.assert_allclose(means["mean"], index.class_means(moved, labels, 10)[0][:, 4], rtol=1e-5)
    layer = stored.robustness_layers(tiny_run, "relu3").query("name == 'contrast' and level == 5").iloc[0]
    si = index.index(*index.class_means(clean, labels, 10))
    assert layer["si_to_shift"] == pytest.approx(rank_correlation(si[live], shift[live]))
    assert layer["low"] < layer["si_to_shift"] < layer["high"] and layer["units"] == int(live.sum())


def test_the_same_command_again_computes_nothing_and_more_is_added(own_store, tiny_run, monkeypatch):
    run_robustness(own_store, tiny_run, ["fog"], [2], [], images=30)
    first = own_store.robustness(tiny_run)
    file = own_store.run_path(tiny_run) / "robustness.duckdb"
    before = file.stat().st_mtime_ns
    run_robustness(own_store, tiny_run, ["fog"], [2], [], images=30)
    assert file.stat().st_mtime_ns == before
    measured = []
    plain = Bench.measure
    monkeypatch.setattr(
        Bench, "measure", lambda self, item, *rest: measured.append(item.name) or plain(self, item, *rest)
    )
    run_robustness(own_store, tiny_run, ["fog", "snow"], [2], ["fgsm"], [4.0], images=30)
    assert measured == ["snow", "fgsm"]
    both = own_store.robustness(tiny_run)
    assert set(both["name"]) == {"clean", "fog", "snow", "fgsm"}
    pd.testing.assert_frame_equal(both[both["name"].isin(["clean", "fog"])].reset_index(drop=True), first)
    run_robustness(own_store, tiny_run, ["fog"], [2], [], images=40)  # other images: nothing of the old ones stays
    assert set(own_store.robustness(tiny_run)["images"]) == {40}
    assert set(own_store.robustness(tiny_run)["name"]) == {"clean", "fog"}


def test_attacks_made_in_another_way_replace_the_old_ones(own_store, tiny_run):
    run_robustness(own_store, tiny_run, ["fog"], [2], ["pgd"], [8.0, 16.0], AttackSettings(steps=1), images=30)
    run_robustness(own_store, tiny_run, ["fog"], [2], ["pgd"], [8.0], AttackSettings(steps=3, restarts=2), images=30)
    table = own_store.robustness(tiny_run)
    assert table[table["kind"] == "attack"]["level"].tolist() == [8.0]
    run_robustness(own_store, tiny_run, ["fog"], [2], ["pgd"], [8.0], AttackSettings(target="7"), images=30)
    assert "pgd to 7" in set(own_store.robustness(tiny_run)["name"])


def test_one_that_was_cut_off_goes_on_where_it_was(own_store, tiny_run, monkeypatch):
    plain, made = Bench.measure, []

    def cut(self, item, *rest):
        if item.name == "frost":
            raise KeyboardInterrupt
        made.append(item.name)
        return plain(self, item, *rest)

    monkeypatch.setattr(Bench, "measure", cut)
    with pytest.raises(KeyboardInterrupt):
        run_robustness(own_store, tiny_run, ["snow", "frost"], [1], [], images=30)
    assert made == ["snow"] and not (own_store.run_path(tiny_run) / "robustness.duckdb").exists()
    monkeypatch.setattr(Bench, "measure", lambda self, item, *rest: made.append(item.name) or plain(self, item, *rest))
    run_robustness(own_store, tiny_run, ["snow", "frost"], [1], [], images=30)
    assert made == ["snow", "frost"]
    assert not list((own_store.run_path(tiny_run) / "partial").glob("*.npz"))
    alone = Bench(*load_network(own_store, tiny_run), 30).measure(Perturbation("corruption", "snow", (1.0,)))
    stored = own_store.robustness(tiny_run).set_index("name").loc["snow"]
    assert stored["accuracy"] == alone["robustness"]["accuracy"][0]
    assert stored["mean_si"] == alone["robustness"]["mean_si"][0]


@pytest.fixture
def cifar_c(tmp_path, tiny_store, tiny_run):
    """A folder in the layout of CIFAR-10-C, of the digits: severity s shifts all grey levels by 10 s."""
    _, dataset = load_network(tiny_store, tiny_run)
    pixels = dataset.eval_pixels[:50].numpy()
    levels = [np.clip(pixels.astype(int) + 10 * severity, 0, 255).astype(np.uint8) for severity in range(1, 6)]
    np.save(tmp_path / "brightness.npy", np.moveaxis(np.concatenate(levels), 1, -1))
    np.save(tmp_path / "labels.npy", np.tile(dataset.eval_labels[:50], 5))
    return tmp_path


def test_a_folder_like_cifar_10_c_is_read(own_store, tiny_run, cifar_c):
    run_robustness(own_store, tiny_run, severities=[4], kinds=[], folder=cifar_c, images=50)
    row = own_store.robustness(tiny_run).query("kind == 'stored'").iloc[0]
    network, dataset = load_network(own_store, tiny_run)
    pixels = (dataset.eval_pixels[:50].int() + 40).clamp(max=255).to(torch.uint8)
    right = network.logits(dataset.normalise(pixels)).argmax(dim=1) == dataset.eval_labels[:50]
    assert row["name"] == "brightness" and row["accuracy"] == pytest.approx(float(right.double().mean()))
    summary = own_store.robustness_summary(tiny_run)
    assert summary["kind"].tolist() == ["stored", "stored"] and summary["relative_low"].isna().all()


def test_a_folder_like_tiny_imagenet_c_is_read_and_what_is_wrong_is_said(tmp_path, cifar_c):
    from selviz.robustness.corrupted_sets import names, read

    tree = tmp_path / "tree"
    for label in ("a", "b"):
        place = tree / "fog" / "1" / label
        place.mkdir(parents=True)
        Image.fromarray(np.full((6, 6, 3), 40 if label == "a" else 90, np.uint8)).save(place / "1.png")
    assert names(tree) == ["fog"]
    pixels, labels = read(tree, "fog", 1, ["a", "b"])
    assert pixels.shape == (2, 3, 6, 6) and labels.tolist() == [0, 1] and pixels[1].min() == 90
    with pytest.raises(SelvizError, match="Unknown class 'a'"):
        read(tree, "fog", 1, ["b"])
    with pytest.raises(SelvizError, match="Unknown corruption 'frost'"):
        read(cifar_c, "frost", 1, "0123456789")
    with pytest.raises(SelvizError, match="this network knows 0 to 2"):
        read(cifar_c, "brightness", 1, "abc")
    with pytest.raises(SelvizError, match="must be 1, 2, 3, 4 or 5"):
        read(cifar_c, "brightness", 6, "0123456789")
    np.save(cifar_c / "fog.npy", np.zeros((7, 8, 8, 1), np.uint8))
    with pytest.raises(SelvizError, match="five severities in turn"):
        read(cifar_c, "fog", 1, "0123456789")
    (cifar_c / "labels.npy").unlink()
    with pytest.raises(SelvizError, match="no labels.npy"):
        names(cifar_c)
    with pytest.raises(SelvizError, match="There is no folder"):
        names(cifar_c / "nowhere")


def test_images_of_another_size_are_refused(own_store, tiny_run, cifar_c):
    np.save(cifar_c / "brightness.npy", np.zeros((250, 9, 9, 1), np.uint8))
    with pytest.raises(SelvizError, match="this network takes"):
        run_robustness(own_store, tiny_run, severities=[1], kinds=[], folder=cifar_c, images=20)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--severity 0", "severity is 0; it must be 1, 2, 3, 4 or 5"),
        ("--severity 6", "severity is 6; it must be"),
        ("--corruption frosty", "Unknown corruption 'frosty'; did you mean 'frost'?"),
        ("--epsilon=-1", "epsilon is -1.0; it is in pixel units, from 0 to 255"),
        ("--target 11", "Unknown class '11'"),
        ("--images 1", "at least 2 are needed"),
        ("--folder nowhere", "There is no folder nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(tiny_store, tiny_run, words, said, capsys):
    assert main(["robustness", tiny_run, *words.split(), "--data", str(tiny_store.path)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tiny_store.run_path(tiny_run) / "robustness.duckdb").exists()


def test_the_command_prints_one_document_and_says_what_it_skipped(own_store, tiny_run, capsys):
    words = (
        f"robustness {tiny_run} --corruption glass_blur --corruption fog --severity 1 --attack none --images 20 --json"
    )
    assert main([*words.split(), "--data", str(own_store.path)]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert {row["name"] for row in document["settings"]} == {"clean", "fog"}
    assert "glass_blur needs at least 9 pixels" in document["skipped"][0]
    assert "skipped: glass_blur needs" in shown.err


def test_on_paper_mean_corruption_accuracy_and_its_intervals():
    correct = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    found = corruption_accuracy(correct, np.array([1, 1, 1, 0]))
    assert found.accuracy == 3 / 8 and found.relative == 0.5
    assert found.low < 3 / 8 < found.high and found.relative_low < 0.5 < found.relative_high
    same = corruption_accuracy(np.array([[1, 0, 1]]), np.array([1, 0, 1]))
    assert (same.relative, same.relative_low, same.relative_high) == (1, 1, 1)
    assert np.isnan(corruption_accuracy(correct, np.zeros(4)).relative)


def test_on_paper_a_units_shift_is_in_its_own_standard_deviations():
    clean = torch.tensor([[0.0, 1, 0], [2, 1, 0], [0, 1, 0], [2, 1, 0]])
    moved = clean + torch.tensor([1.0, 5, 3])
    units, means = unit_changes(moved, torch.tensor([0, 1, 0, 1]), 2, clean)
    spread = float(clean[:, 0].std())
    assert units["shift"][0] == pytest.approx(1 / spread) and units["change"][0] == pytest.approx(1 / spread)
    assert units["shift"][1:].isna().all()  # one does not vary, one is dead
    assert units["preferred_class"][0] == 1 and units["si"][0] == pytest.approx((3 - 1) / (3 + 1))
    assert means["mean"].tolist() == [1, 3, 6, 6, 3, 3]
    row = layer_change(units, units)
    assert row["units"] == 1 and row["kept_class"] == 1 and np.isnan(row["si_to_shift"])


def test_a_network_on_paper_is_fooled_by_the_smallest_epsilon_that_can(tmp_path):
    from selviz.runs.train import train_run

    with toy_known() as config:
        store = Store(tmp_path)
        run = train_run(store, config)["run"]
        run_robustness(store, run, ["brightness"], [1], ["fgsm", "pgd"], [0.25, 1.0], images=12)
        table = store.robustness(run).set_index(["name", "level"])
    assert toy_dataset().eval_pixels.shape == (12, 3, 2, 2)
    # Channels are 2 for the own class and 1 for others: half a grey level up and down makes them equal.
    assert table.loc[("pgd", 0.25), "accuracy"] == 1 and table.loc[("fgsm", 0.25), "accuracy"] == 1
    assert table.loc[("pgd", 1.0), "accuracy"] < 1


def test_corrupted_pictures_are_made_once_for_all_runs_and_again_where_a_bit_changed(own_store, tiny_run, monkeypatch):
    network, dataset = load_network(own_store, tiny_run)
    bench = Bench(network, dataset, 30, 0, CorruptedPictures(own_store.path, dataset, 30))
    item = Perturbation("corruption", "snow", (2.0,))
    first = [pixels.clone() for pixels, _ in bench.perturbed(item, 2.0)]
    (file,) = own_store.path.glob("images/*/corrupted/*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    file.with_name(f".{file.name}.4d7aa877").write_bytes(b"of a process that was killed")
    assert torch.equal(next(pixels for pixels, _ in bench.perturbed(item, 2.0)), first[0])
    assert list(own_store.path.glob("images/*/corrupted/*")) == [file]
    monkeypatch.setattr(corruptions, "corrupt", None)
    again = [pixels for pixels, _ in bench.perturbed(item, 2.0)]
    assert torch.equal(first[0], again[0])


def test_pictures_made_in_two_processes_are_those_made_one_by_one(own_store, tiny_run, tmp_path, monkeypatch):
    _, dataset = load_network(own_store, tiny_run)
    wanted, pixels = [("snow", 2), ("brightness", 1)], dataset.eval_pixels[:20]
    one_by_one = CorruptedPictures(tmp_path / "one", dataset, 20)
    plain = [one_by_one(name, severity, pixels, range(20)) for name, severity in wanted]
    together, reports = CorruptedPictures(tmp_path / "two", dataset, 20), []
    together.make(wanted, pixels, report=lambda *event: reports.append(event), processes=2)
    assert not reports  # too little work for other processes: made when asked for
    monkeypatch.setattr(corrupted_pictures, "LEAST", 1)
    together.make(wanted, pixels, report=lambda *event: reports.append(event), processes=2)
    assert reports == [(1, 2), (2, 2)]
    together.make(wanted, pixels, report=lambda *event: reports.append(event), processes=2)
    assert len(reports) == 2  # they are there
    monkeypatch.setattr(corruptions, "corrupt", None)
    for (name, severity), expected in zip(wanted, plain, strict=True):
        assert torch.equal(together(name, severity, pixels, range(20)), expected)
