"""`selviz import --dry-run` and `selviz sql`: what is found is said before anything is captured, and no row is lost."""

import json

import pytest

from selviz.cli import main

NET = """
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.scale = nn.Conv2d(1, 6, 3), nn.GELU(), nn.Linear(6, 6)
        self.mix, self.fc = nn.Linear(6, 7), nn.Linear(7, 10)

    def forward(self, x):
        print("somebody else's words")
        x = self.act(self.conv(x))
        x = x * torch.sigmoid(self.scale(x.mean((2, 3))))[:, :, None, None]
        x = F.relu(self.mix(x.flatten(2).permute(2, 0, 1)))
        return self.fc(x.mean(0))
"""


@pytest.fixture
def network(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    return ["import", "--model", f"{tmp_path}/net.py:Net", "--dataset", "digits", "--max-images", "60"]


def test_a_dry_run_shows_the_layers_and_what_is_left_out_and_writes_nothing(network, tmp_path, capsys):
    data = tmp_path / "data"
    assert main([*network, "--dry-run", f"--data={data}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["layer", "units", "unit_axis", "positions", "activation", "signed"]
    assert lines[1] == ["act", "6", "1", "36", "GELU", "yes"]
    assert lines[2] == ["relu", "7", "2", "36", "ReLU"]
    assert " ".join(lines[4]) == "2 unit layers; left out: 1"
    assert " ".join(lines[5]) == "sigmoid: a gate: it only scales another value"
    assert not data.exists() or not any(data.rglob("*"))


def test_a_dry_run_as_json_is_one_document_and_needs_no_name(network, tmp_path, capsys):
    assert main([*network, "--dry-run", "--json", f"--data={tmp_path / 'data'}"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["layer"], row["units"], row["unit_axis"], row["positions"]) for row in document["layers"]] == [
        ("act", 6, 1, 36),
        ("relu", 7, 2, 36),
    ]
    assert document["left_out"] == [{"name": "sigmoid", "reason": "a gate: it only scales another value"}]


def test_an_import_shows_the_same_table_before_it_captures(network, tmp_path, capsys):
    assert main([*network, "--name", "mine", "--json", f"--data={tmp_path / 'data'}"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"] == "mine"
    assert err.index("2 unit layers; left out: 1") < err.index("capture")


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_for_an_import_is_a_mistake(network, tmp_path, capsys, name):
    assert main([*network, "--name", name, f"--data={tmp_path / 'data'}"]) == 2
    err = capsys.readouterr().err
    assert "name" in err.splitlines()[-1] and "Traceback" not in err


def test_all_rows_of_a_query_come_as_json(tiny_store, tiny_run, capsys):
    query = "select range as n from range(25000)"
    assert main(["sql", query, "--json", f"--data={tiny_store.path}"]) == 0
    out, err = capsys.readouterr()
    assert [row["n"] for row in json.loads(out)] == list(range(25_000)) and err == ""
    assert main(["sql", query, f"--data={tiny_store.path}"]) == 0
    assert "there are more than 10,000 rows; allow more with --limit" in capsys.readouterr().err
