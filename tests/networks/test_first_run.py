"""A stranger's network: operators by name, indices that no image decides, and a first run in a process with limits."""

import json
import os
import random
import sys

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.networks import first_run, graph_format, graph_operators, tracing
from selviz.runs.importing import import_run
from selviz.store import Store, untrusted_files
from selviz.testing import operator_census
from selviz.testing.hostile.networks import X, extreme, step
from selviz.testing.hostile.zips import forge

DIGITS = {"dataset": "digits"}


class Net(nn.Module):
    """Looks a table up by stored numbers, as relative position biases do."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
        self.table = nn.Parameter(torch.randn(7))
        self.register_buffer("index", torch.tensor([0, 3, 6, 2]))

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)) + self.table[self.index])


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A store with one imported run, and its zip."""
    store = Store(tmp_path_factory.mktemp("imported"))
    import_run(store, "brought", f"{__file__}:make", DIGITS, factory=lambda classes, channels: Net())
    return store, store.pack("brought", store.path / "brought.zip")


def with_steps(store, *steps, at=1):
    """The stored network's document with steps after its placeholder, as JSON."""
    document = json.loads((store.run_path("brought") / "network.json").read_text())
    document.pop("seal", None)
    document["nodes"][at:at] = steps
    return json.dumps(document).encode()


FLAT = step("call_method", "flatten", [X], name="flat")
WHOLE = step("call_method", "to", [{"node": "flat"}, {"dtype": "int64"}], name="whole")
CRAFTED = {
    "indices of sparse tensors": step("call_function", "aten._convert_indices_from_csr_to_coo.default",
                                      [{"node": "whole"}, {"node": "whole"}]),
    "their other direction": step("call_function", "aten._convert_indices_from_coo_to_csr.default",
                                  [{"node": "whole"}, 5]),
    "a backward": step("call_function", "aten.embedding_dense_backward.default",
                       [X, {"node": "whole"}, 2, -1, False]),
    "a backward of a pool": step("call_function", "aten.max_pool2d_with_indices_backward.default",
                                 [X, X, [2, 2], [2, 2], [0, 0], [1, 1], False, {"node": "whole"}]),
    "bags": step("call_function", "aten._embedding_bag.default", [X, {"node": "whole"}, {"node": "whole"}]),
    "an unchecked split": step("call_method", "unsafe_split", [X, 0]),
    "an exponential of a matrix": step("call_function", "torch.linalg.matrix_exp", [X]),
    "the same in aten": step("call_function", "aten.linalg_matrix_exp.default", [X]),
    "strides": step("call_method", "as_strided", [X, [2**40], [1]]),
    "memory that nobody wrote": step("call_method", "new_empty", [X, [10**6]]),
    "a value that counts": step("call_method", "item", [X]),
    "a shape from values": step("call_method", "nonzero", [X]),
    "writing into a shared tensor": step("call_method", "add_", [X, 1]),
    "writing in aten": step("call_function", "aten.add_.Tensor", [X, X]),
    "an unpooling": step("call_function", "torch.nn.functional.max_unpool2d", [X, X, 2]),
    "a complex type": step("call_method", "to", [X, {"dtype": "complex64"}]),
    "a look-up by pixels": step("call_function", "operator.getitem", [{"node": "flat"}, {"node": "whole"}]),
    "a write at pixels": step("call_function", "aten.index_put.default", [{"node": "whole"}, [{"node": "whole"}], X]),
    "a write at pixels, by name": step("call_method", "index_put",
                                       [{"node": "flat"}], {"indices": [{"node": "whole"}], "values": X}),
    "an embedding of pixels": step("call_function", "torch.nn.functional.embedding", [{"node": "whole"}, X]),
    "classes from pixels": step("call_function", "torch.nn.functional.one_hot", [{"node": "whole"}]),
    "repeats from pixels": step("call_function", "torch.repeat_interleave", [{"node": "flat"}, {"node": "whole"}]),
}  # fmt: skip


@pytest.mark.parametrize("what", CRAFTED)
def test_a_network_with_an_operator_that_is_not_listed_is_refused_before_it_runs(imported, tmp_path, what):
    store, _ = imported
    document = json.loads(with_steps(store, FLAT, WHOLE, {**CRAFTED[what], "name": "extra"}))
    tensors = safetensors.torch.load_file(store.run_path("brought") / "weights.safetensors")
    with pytest.raises(SelvizError, match="The stored network is damaged"):
        graph_format.rebuilt(document, tensors, torch.zeros(1, 1, 8, 8))


def test_a_zip_with_such_a_network_is_refused_in_a_sentence_and_leaves_nothing(imported, tmp_path, capsys):
    store, file = imported
    content = with_steps(store, FLAT, WHOLE, {**CRAFTED["indices of sparse tensors"], "name": "extra"})
    forged = forge(file, {"run/network.json": content})
    assert main(["import", "--zip", str(forged), "--data", str(tmp_path / "other")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "its network cannot be used (The stored network is damaged" in err and "Traceback" not in err
    assert Store(tmp_path / "other").names() == []


def test_the_same_run_whole_comes_in_and_doctor_tries_its_network_again(imported, tmp_path, capsys):
    _, file = imported
    assert main(["import", "--zip", str(file), "--data", str(tmp_path / "other")]) == 0
    assert main(["doctor", "--data", str(tmp_path / "other")]) == 0
    assert "1 imported networks run" in capsys.readouterr().out
    network = Store(tmp_path / "other").run_path("brought") / "network.json"
    network.write_bytes(with_steps(imported[0], {**CRAFTED["a value that counts"], "name": "extra"}))
    assert main(["doctor", "--data", str(tmp_path / "other")]) == 1
    assert "its network cannot be used" in capsys.readouterr().out


KEPT = {"node": "kept"}  # a tensor of the network's own, which every visitor's pages use
OVERWRITING = {
    "a result into a weight": step("call_function", "torch.add", [X, 1], {"out": KEPT}),
    "a result into the image": step("call_function", "torch.add", [KEPT, 1], {"out": X}),
    "a norm into a weight": step("call_function", "torch.nn.functional.normalize", [X], {"out": KEPT}),
    "statistics": step("call_function", "torch.nn.functional.batch_norm", [X, KEPT, KEPT], {"training": True}),
    "statistics in aten": step("call_function", "aten.instance_norm.default",
                               [X, None, None, KEPT, KEPT, True, 0.5, 1e-5, False]),
    "rows that are cut": step("call_function", "torch.nn.functional.embedding",
                              [{"node": "zero"}, KEPT], {"max_norm": 0.1}),
}  # fmt: skip
MADE_PLAIN = {
    "adding": step("call_function", "operator.iadd", [KEPT, 1]),
    "an activation": step("call_function", "torch.nn.functional.hardtanh", [KEPT, 5.0, 9.0], {"inplace": True}),
    "an activation, by place": step("call_function", "torch.nn.functional.hardtanh", [KEPT, 5.0, 9.0, True]),
}


def with_kept(store, crafted):
    """The document with a crafted step, before it a tensor of the network's own; and the network's tensors."""
    tensors = safetensors.torch.load_file(store.run_path("brought") / "weights.safetensors")
    tensors["kept"] = torch.ones(1)
    kept = {"name": "kept", "op": "get_attr", "target": "kept", "args": [], "kwargs": {}}
    zero = step("call_function", "torch.zeros", [1], {"dtype": {"dtype": "int64"}}, name="zero")
    return json.loads(with_steps(store, kept, zero, {**crafted, "name": "extra"})), tensors


@pytest.mark.parametrize("what", OVERWRITING)
def test_a_step_that_writes_into_what_all_visitors_share_is_refused(imported, what):
    document, tensors = with_kept(imported[0], OVERWRITING[what])
    with pytest.raises(SelvizError, match="writes into what it is given"):
        graph_format.rebuilt(document, tensors, torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("what", MADE_PLAIN)
def test_a_step_in_place_gives_its_result_and_leaves_what_it_was_given(imported, what):
    document, tensors = with_kept(imported[0], MADE_PLAIN[what])
    traced = graph_format.rebuilt(document, tensors, torch.zeros(1, 1, 8, 8))
    first_run.run(traced, torch.zeros(1, 1, 8, 8))
    assert traced.root.kept.item() == 1


def test_a_step_that_overwrites_in_a_way_that_nobody_listed_is_seen_when_it_runs(imported, monkeypatch):
    document, tensors = with_kept(imported[0], OVERWRITING["a result into a weight"])
    monkeypatch.setattr(graph_format, "check_writes", lambda root, graph: None)
    traced = graph_format.rebuilt(document, tensors, torch.zeros(1, 1, 8, 8))
    with pytest.raises(SelvizError, match="the step extra writes into what it is given"):
        first_run.run(traced, torch.zeros(1, 1, 8, 8))


def test_a_network_that_needs_little_for_one_image_and_all_memory_for_many_is_refused(imported):
    number = step("call_method", "size", [X, 0], name="number")
    square = step("call_function", "operator.mul", [{"node": "number"}] * 2, name="square")
    fourth = step("call_function", "operator.mul", [{"node": "square"}] * 2, name="fourth")
    document, tensors = with_kept(imported[0], step("call_function", "torch.zeros", [{"node": "fourth"}, 4]))
    document["nodes"][1:1] = [number, square, fourth]
    traced = graph_format.rebuilt(document, tensors, torch.zeros(1, 1, 8, 8))
    with pytest.raises(SelvizError, match="images need .* MB, and one"):
        first_run.run(traced, torch.zeros(1, 1, 8, 8))


def test_a_module_of_endlessly_many_layers_is_refused_before_it_is_made(imported):
    """Found by extreme values: it took a minute, and as much memory as there was."""
    store, _ = imported
    tensors = safetensors.torch.load_file(store.run_path("brought") / "weights.safetensors")
    for name, settings in (
        ("LSTM", {"input_size": 4, "hidden_size": 4, "num_layers": 2**40}),
        ("TransformerEncoder", {"encoder_layer": True, "num_layers": 2**63 - 1}),
        ("Embedding", {"num_embeddings": 2**62, "embedding_dim": 4}),
    ):
        document = json.loads(with_steps(store))
        document["modules"]["many"] = {"class": name, "settings": settings}
        with pytest.raises(SelvizError, match="The stored network is damaged"):
            graph_format.rebuilt(document, tensors, torch.zeros(1, 1, 8, 8))


def test_an_index_outside_what_it_looks_in_is_refused_by_value(imported, tmp_path):
    store, _ = imported
    tensors = safetensors.torch.load_file(store.run_path("brought") / "weights.safetensors")
    document = json.loads(with_steps(store))
    traced = graph_format.rebuilt(document, tensors, torch.zeros(1, 1, 8, 8))
    first_run.run(traced, torch.zeros(1, 1, 8, 8))
    for index in (7, -8, 2**62):
        with torch.no_grad():
            traced.root.index[1] = index
        with pytest.raises(SelvizError, match="looks up .* of 7"):
            first_run.run(traced, torch.zeros(1, 1, 8, 8))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals")
@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("os.kill(os.getpid(), 11)", "ended the process that tried it (status -11)"),
        ("os.kill(os.getpid(), 9)", "ended from outside; try again"),
        ("raise OSError(24, 'Too many open files')", "cannot be used ([Errno 24] Too many open files)"),
        ("time.sleep(60)", "took more than"),
    ],
)
def test_a_network_that_ends_its_process_or_never_ends_is_refused_and_the_others_are_tried(
    imported, tmp_path, monkeypatch, deed, told
):
    """The process is made to do so at the second of three, as no listed operator is known to."""
    store, _ = imported
    folders = [store.run_path("brought"), tmp_path / "second", tmp_path / "third"]
    for folder in folders[1:]:
        folder.mkdir()
        for name in ("network.json", "weights.safetensors", "config.json"):
            (folder / name).write_bytes((folders[0] / name).read_bytes())
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time, builtins, pathlib\n"
        "read = pathlib.Path.read_text\n"
        f"def broken(path, *a, **k):\n    if path.parent.name == 'second':\n        {deed}\n    return read(path, "
        "*a, **k)\n"
        "pathlib.Path.read_text = broken\n"
    )
    known = untrusted_files.environment()
    path = os.pathsep.join([str(tmp_path), known["PYTHONPATH"]])
    monkeypatch.setattr(untrusted_files, "environment", lambda: {**known, "PYTHONPATH": path})
    if "sleep" in deed:
        monkeypatch.setattr(untrusted_files, "TRIAL_S", 5.0)
    found = untrusted_files.network_problems(folders)
    assert found[folders[0]] is None and found[folders[2]] is None
    problem = found[folders[1]]
    assert told in problem.message and problem.may_pass == (", 9)" in deed or "OSError" in deed)


def test_the_list_covers_what_tracing_produces_and_has_no_private_backward_or_unchecked_operator():
    names = [*graph_operators.TRACED, *graph_operators.REVIEWED]
    assert len(names) == len(set(names))
    bad = [name for name in names if name.startswith(("_", "unsafe")) or name.endswith(("_", "backward"))]
    assert bad == []
    never = (
        "item tolist nonzero masked_select unique as_strided matrix_exp empty new_empty empty_like "
        "numpy apply_ bincount"
    )
    assert not set(names) & set(never.split())
    for name in ("cnn", "resnet20", "torchvision:mobilenet_v3_small"):
        for way in tracing.WAYS:
            traced, reason = operator_census.trace_one(name, way)
            assert traced is not None, reason
            graph_format.graph_document(traced)


def test_extreme_values_on_listed_operators_are_answers_or_sentences(imported):
    """A short form; `benchmarks/failure/fuzz.py --only networks` tries thousands."""
    store, _ = imported
    tensors = safetensors.torch.load_file(store.run_path("brought") / "weights.safetensors")
    document, ends = json.loads(with_steps(store)), {"used": 0, "refused": 0}
    for number in range(60):
        try:
            traced = graph_format.rebuilt(extreme(random.Random(number), document), tensors, torch.zeros(1, 1, 8, 8))
            first_run.run(traced, torch.zeros(1, 1, 8, 8))
            ends["used"] += 1
        except SelvizError:
            ends["refused"] += 1
    assert min(ends.values()) > 0


def test_a_relu_and_friends_of_a_user_s_own_network_can_still_be_stored():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)

        def forward(self, x):
            x = F.leaky_relu(self.conv(x)).repeat(1, 1, 1, 1)
            x = torch.where(x > 0, x, torch.log1p(x.abs()))
            return self.head(F.adaptive_max_pool2d(x, 1).flatten(1))

    for way in tracing.WAYS:
        traced = tracing.trace(Own().eval(), torch.zeros(1, 1, 8, 8), way)
        document = json.loads(json.dumps(graph_format.graph_document(traced)))
        graph_format.rebuilt(document, graph_format.tensors_of(traced), torch.zeros(1, 1, 8, 8))
