"""Values kept in the middle of a network: the same answers from there as from the pixels, whatever the disk holds."""

import dataclasses

import pytest
import torch

from selviz import ablation
from selviz.ablation import Engine
from selviz.ablation.cuts import cut_nodes
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.runs import cut_cache
from selviz.runs.cut_cache import DiskCuts
from selviz.testing.toy import toy_dataset
from tests.helpers.families import FAMILIES, family


def dataset_of(inputs):
    """A data set with as many evaluation images; the engine gets the inputs themselves."""
    labels = torch.arange(len(inputs)) % 3
    return dataclasses.replace(toy_dataset(), eval_labels=labels, eval_pixels=torch.zeros(len(inputs), 3, 2, 2).byte())


def engine_of(network, inputs, cuts=None, **options):
    return Engine(network, inputs, torch.arange(len(inputs)) % 10, first=3, batch=5, cuts=cuts, **options)


class FailsOnUse:
    """Inputs that must not be touched."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return self.images

    def __getitem__(self, rows):
        raise AssertionError("the pixels were read")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layer_behind_a_cut_answers_the_same_without_the_pixels(name, tmp_path):
    model, inputs = family(name)
    network = UnitNetwork(model, inputs[:1]).for_inference()
    dataset = dataset_of(inputs)
    cuts = DiskCuts(tmp_path, network, dataset, 10**9)
    first = engine_of(network, inputs, cuts)
    plain = engine_of(network, inputs)
    names = [layer.name for layer in network.layers]
    first.logits(ablation.changes(first, {names[0]: [0]}))  # one pass from the pixels, which keeps the cuts
    again = engine_of(network, FailsOnUse(len(inputs)), DiskCuts(tmp_path, network, dataset, 10**9))
    std, behind = float(plain.before().std()), 0
    for layer in names:
        edits = ablation.changes(plain, {layer: [0]})
        try:
            answer = again.logits(edits)
        except AssertionError:
            assert behind == 0, "a layer behind one that has a cut has one too"
            continue
        behind += 1
        torch.testing.assert_close(answer, plain.logits(edits), rtol=0, atol=1e-4 * std)
    assert behind >= 1 and bool(cut_nodes(network))
    torch.testing.assert_close(again.before(), plain.before(), rtol=0, atol=1e-4 * std)


@pytest.fixture
def kept(tmp_path):
    """(network, inputs, dataset, folder with the cuts of all inputs)."""
    model, inputs = family("resnet20")
    network = UnitNetwork(model, inputs[:1]).for_inference()
    dataset = dataset_of(inputs)
    engine = engine_of(network, inputs, DiskCuts(tmp_path, network, dataset, 10**9))
    engine.logits(ablation.changes(engine, {network.layers[0].name: [0]}))
    return network, inputs, dataset, tmp_path


def test_a_byte_that_changed_on_disk_is_computed_again(kept):
    network, inputs, dataset, folder = kept
    cuts = DiskCuts(folder, network, dataset, 10**9)
    node, images = cuts.nodes[0], range(len(inputs))
    good = cuts.read(node, images)
    (file,) = folder.glob(f"partial/cuts-*/{node}.f32")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert cuts.read(node, images) is None and cuts.read(node, [0]) is not None
    engine = engine_of(network, inputs, cuts)
    layer = network.layers[-1].name
    engine.logits(ablation.changes(engine, {layer: [0]}))
    for other in cuts.nodes[1:]:
        assert cuts.read(other, images) is not None
    cuts.write(node, images, good)
    assert torch.equal(cuts.read(node, images), good)


def test_a_part_of_the_images_is_kept_and_read_by_number(kept):
    network, inputs, dataset, _ = kept
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        cuts = DiskCuts(Path(name), network, dataset, 10**9)
        odd = list(range(1, len(inputs), 2))
        engine = engine_of(network, inputs[odd], cuts, images=odd)
        engine.logits(ablation.changes(engine, {network.layers[0].name: [0]}))
        assert cuts.read(cuts.nodes[0], odd) is not None and cuts.read(cuts.nodes[0], [0, 1]) is None


def test_other_weights_have_cuts_of_their_own_and_take_the_old_ones_room(kept):
    _, inputs, dataset, folder = kept
    other, _ = family("resnet20")
    with torch.no_grad():
        other.linear.weight.add_(0.01)
    changed = UnitNetwork(other, inputs[:1]).for_inference()
    cuts = DiskCuts(folder, changed, dataset, 10**9)
    assert cuts.read(cuts.nodes[0], [0]) is None
    engine = engine_of(changed, inputs, cuts)
    engine.logits(ablation.changes(engine, {changed.layers[0].name: [0]}))
    assert [path.name for path in (folder / "partial").iterdir()] == [cuts.folder.name]


def test_the_budget_takes_the_deepest_cuts_first_and_a_deleted_folder_is_no_error(kept):
    network, inputs, dataset, folder = kept
    sizes = cut_nodes(network)
    deepest = next(iter(sizes))
    small = DiskCuts(folder, network, dataset, sizes[deepest] * len(inputs))
    assert small.nodes == (deepest,)
    assert DiskCuts(folder, network, dataset, 0).nodes == ()
    import shutil

    shutil.rmtree(folder / "partial")
    assert small.read(deepest, [0]) is None


def test_nothing_is_kept_in_a_store_for_reading_only(kept, tmp_path, monkeypatch):
    network, inputs, dataset, _ = kept
    monkeypatch.setenv("SELVIZ_READ_ONLY", "1")
    cuts = DiskCuts(tmp_path / "other", network, dataset, 10**9)
    engine = engine_of(network, inputs, cuts)
    engine.logits(ablation.changes(engine, {network.layers[0].name: [0]}))
    assert not (tmp_path / "other").exists()


def test_only_runs_whose_pass_takes_long_keep_cuts_and_a_bad_budget_is_a_sentence(kept, monkeypatch):
    network = kept[0]
    assert not cut_cache.is_worthwhile(network, 100) and cut_cache.is_worthwhile(network, 10_000)
    monkeypatch.setenv(cut_cache.VARIABLE, "lots")
    with pytest.raises(SelvizError, match="SELVIZ_CUTS_GB is 'lots'"):
        cut_cache.budget()
