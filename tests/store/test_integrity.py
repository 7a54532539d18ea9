"""A byte that changed, a file cut short, in each place of a store: it is found by its checksum, named, and mended."""

import json
import shutil

import pytest
import torch

from selviz.cli import main
from selviz.config import RunConfig, config_to_dict
from selviz.errors import SelvizError
from selviz.runs.load import load_network
from selviz.runs.train import train_run
from selviz.store import Store, read_group, read_json, write_group, write_json
from selviz.store.files import SEAL
from selviz.store.integrity import check_rest, check_run
from selviz.testing.toy import toy_dataset, toy_known
from selviz.training.loop import train


def flip(path, at=0.5):
    """One bit of the file, at a share of its length."""
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def toy_store(tmp_path_factory):
    """A run of the toy network, which takes half a second to make again."""
    store = Store(tmp_path_factory.mktemp("toy") / "data")
    with toy_known() as config:
        train_run(store, config)
        yield store


@pytest.fixture
def store(toy_store, tmp_path):
    shutil.copytree(toy_store.path, tmp_path / "data")
    return Store(tmp_path / "data")


PLACES = [
    "config.json", "summary.json", "weights.safetensors", "capture.duckdb", "capture.json", "metrics.duckdb",
    "metrics.json", "training.duckdb", "training.json",
]  # fmt: skip


@pytest.mark.parametrize("at", [0.1, 0.7])
@pytest.mark.parametrize("name", PLACES)
def test_one_changed_bit_anywhere_in_a_run_is_found_and_named_with_the_command_that_mends_it(store, name, at):
    (run,) = store.names()
    assert check_run(store, run) == []
    flip(store.run_path(run) / name, at)
    problems = check_run(store, run)
    assert {problem.file.stem for problem in problems} == {name.partition(".")[0]}
    assert all(run in problem.told and run in problem.fix and not problem.note for problem in problems)


@pytest.mark.parametrize("name", PLACES)
def test_what_is_cut_short_is_found_too(store, name):
    (run,) = store.names()
    path = store.run_path(run) / name
    path.write_bytes(path.read_bytes()[:-40])
    assert [problem.file.stem for problem in check_run(store, run)] == [name.partition(".")[0]]


@pytest.mark.parametrize("name", ["summary.json", "metrics.json"])
def test_no_changed_bit_of_a_sealed_file_gives_other_content(toy_store, tmp_path, name):
    (run,) = toy_store.names()
    path, content = tmp_path / name, (toy_store.run_path(run) / name).read_bytes()
    path.write_bytes(content)
    written, refused = read_json(path), 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            assert read_json(path) == written, position  # a last digit that no float can tell
        except SelvizError:
            refused += 1
    assert refused > 0.99 * len(content)


def test_settings_and_summary_that_changed_are_never_shown_as_numbers(store):
    (run,) = store.names()
    path = store.run_path(run) / "summary.json"
    text = path.read_text()
    path.write_text(text.replace('"test_accuracy": 1.0', '"test_accuracy": 0.9'))
    assert path.read_text() != text
    with pytest.raises(SelvizError, match="summary.json .its content does not have the checksum that it names"):
        store.run(run)
    row = store.runs().iloc[0]
    assert row["state"] == "failed" and "summary.json" in row["reason"]


def test_a_summary_that_was_rewritten_with_its_seal_is_told_from_what_the_stages_give_and_mended(store):
    (run,) = store.names()
    path = store.run_path(run) / "summary.json"
    written = read_json(path)
    for name in ("test_accuracy", "mean_si", "images", "dead"):
        write_json(path, {**written, name: written[name] / 2 + 1})
        (problem,) = check_run(store, run)
        assert f"summary.json of run {run} says {name} {written[name] / 2 + 1:.6g}" in problem.told
        assert not problem.note and f"{path}" in problem.fix
    for file in problem.fix.split("; ")[0].split()[2:]:
        (store.run_path(run) / file).unlink()
    assert main(problem.fix.split("; ")[1].split()[1:]) == 0 and check_run(store, run) == []


def test_what_doctor_says_mends_settings_and_summary(store):
    (run,) = store.names()
    before = read_json(store.run_path(run) / "config.json")
    for name in ("config.json", "summary.json"):
        flip(store.run_path(run) / name)
        (problem,) = check_run(store, run)
        removed, again = problem.fix.split("; ")
        assert removed == f"rm -f {store.run_path(run) / 'config.json'} {store.run_path(run) / 'summary.json'}"
        for file in removed.split()[2:]:
            (store.run_path(run) / file).unlink()
        assert main(again.split()[1:]) == 0
        assert check_run(store, run) == [] and read_json(store.run_path(run) / "config.json") == before


def test_changed_weights_are_not_used(store):
    (run,) = store.names()
    load_network(store, run)
    flip(store.run_path(run) / "weights.safetensors", 0.9)
    with pytest.raises(SelvizError, match="weights.safetensors is damaged: it does not have the checksum"):
        load_network(store, run)


def test_a_changed_checkpoint_costs_its_epochs_and_not_the_weights(tmp_path):
    config, dataset = RunConfig("toy", "cnn", epochs=2, batch_size=6, max_images=4), toy_dataset()

    def stop(news):
        if news["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path, stop)
    path, seen = tmp_path / "checkpoint.pt", []
    saved = torch.load(path)["weights"]
    weight = next(value for value in saved.values() if value.dim() == 1 and value.std() > 0).numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weight) + 2] ^= 64  # a tensor's own byte: torch reads it without a word
    path.write_bytes(content)
    assert torch.load(path)["config"] == config_to_dict(config)
    again, _ = train(config, dataset, tmp_path, lambda news: seen.append(news["epoch"]))
    whole, _ = train(config, dataset, tmp_path / "undisturbed")
    assert seen[0] == 1
    for value, expected in zip(again.root.state_dict().values(), whole.root.state_dict().values(), strict=True):
        assert torch.equal(value, expected)


def test_a_changed_group_is_named_and_not_taken_for_another(store):
    key = write_group(store.path, {"relu": [1, 2]}, "two", store.names()[0])
    assert check_rest(store) == []
    path = store.path / "groups" / f"{key}.json"
    document = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: value for name, value in document.items() if name not in SEAL} | {"name": "three"})
    )
    with pytest.raises(SelvizError, match="does not hold the units that it was named after"):
        read_group(store.path, key)
    (problem,) = check_rest(store)
    assert (problem.file, problem.fix) == (path, f"rm {path}")


def test_changed_pictures_are_found_and_capture_writes_them_again(store):
    (run,) = store.names()
    (pictures,) = store.path.glob("images/*/images.duckdb")
    flip(pictures)
    (problem,) = check_run(store, run)
    assert problem.file == pictures and problem.fix.startswith(f"selviz capture {run} ")
    assert main(problem.fix.split()[1:]) == 0
    assert check_run(store, run) == []
