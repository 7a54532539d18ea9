"""The public names, their results, and the notebook that uses nothing below them."""

import importlib.util
import inspect
import re
import urllib.request

import pytest

import selviz
from selviz import api
from selviz.api.results import Result
from selviz.errors import SelvizError
from selviz.testing.dashboard import ROOT

NOTEBOOK = ROOT / "docs" / "own_network.ipynb"
NAMES = {
    "ablate": "run units mode factor keep fold draws matched seed store report",
    "atlas": "run store report",
    "attribute": "run image layer unit label method baseline faithful store settings",
    "capture": "model data name classes layers store outputs mean std max_images report",
    "curves": "run metric layers steps draws seed store report",
    "launch": "store port height embed",
    "open": "data",
    "publish": "run to atlas attribution store report",
    "register": "template run study planned seed store options",
    "sweep": "dataset model alphas seeds store workers threads backend address stack gpus device report settings",
    "test": "claim store report",
    "train": "dataset model store device report settings",
}


def test_the_public_names_and_their_arguments_stay():
    """A name or an argument that is to go warns for one version first (CONTRIBUTING.md); one may be added here."""
    assert selviz.__all__ == sorted([*NAMES, "SelvizError"], key=lambda name: (name != "SelvizError", name))
    assert {name: " ".join(inspect.signature(getattr(selviz, name)).parameters) for name in NAMES} == NAMES


def test_public_functions_have_the_words_and_defaults_of_their_commands():
    """Of the arguments that a command of the same name has and does not demand; `capture` is another thing there."""
    from selviz.cli import parser

    (commands,) = [action.choices for action in parser()._actions if isinstance(action.choices, dict)]
    compared = 0
    for name in sorted({*NAMES} & {*commands} - {"capture"}):
        defaults = {action.dest: action.default for action in commands[name]._actions if not action.required}
        for argument in inspect.signature(getattr(selviz, name)).parameters.values():
            if argument.name in defaults and argument.default is not argument.empty:
                compared += 1
                assert argument.default == defaults[argument.name], f"{name}: {argument.name}"
    assert compared > 15


def test_a_store_shows_its_runs_in_a_notebook(tiny_store, tiny_run, tmp_path):
    assert tiny_run in tiny_store._repr_html_() and "<table" in selviz.open(tmp_path)._repr_html_()


@pytest.fixture
def run(tiny_store, tiny_run):
    return api.Run(tiny_run, tiny_store)


def holds(result: Result) -> None:
    """What every result promises."""
    table = result.to_pandas()
    assert len(table) > 0 and len(repr(result)) < 500 and "\n" not in repr(result)
    assert "<table" in result._repr_html_()
    assert len(result.figure().data) > 0


def test_a_run_named_by_its_beginning_is_the_run(tiny_store, tiny_run):
    found = selviz.ablate(tiny_run[:12], "relu2:3", draws=0, store=tiny_store.path)
    assert (found.run.name, found.units, found.images) == (tiny_run, {"relu2": [3]}, found.details["images"])
    holds(found)
    holds(found.run)


def test_a_units_figure_computes_its_own_intervals(run, tiny_store, tiny_run):
    (bars,) = run.unit_figure("relu2", 3).data
    means = tiny_store.class_means(tiny_run, "relu2", 3)
    assert list(bars.y) == means["mean"].tolist()
    assert (bars.error_y.array > 0).all()


def test_attribution_is_a_map_of_the_image(run):
    found = selviz.attribute(run, 2, "relu3", 7, faithful=False)
    assert found.map.shape == (8, 8) and len(found.to_pandas()) == 64
    holds(found)


def test_an_unknown_layer_run_or_setting_is_one_sentence(run, tmp_path):
    with pytest.raises(SelvizError, match="Unknown layer 'relu9'"):
        selviz.ablate(run, "relu9:1")
    with pytest.raises(SelvizError, match="no_such_run"):
        selviz.ablate("no_such_run", "relu1:1", store=run.store)
    with pytest.raises(SelvizError, match="Unknown setting 'epoch'; did you mean 'epochs'"):
        selviz.train("digits", "cnn", epoch=3, store=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_sweep_gives_its_runs_and_training_one_of_them_again_gives_that_run(tmp_path):
    found = selviz.sweep("digits", "cnn", alphas=(-1, 0), epochs=0, max_images=60, workers=1, store=tmp_path)
    assert [one.summary["alpha"] for one in found.runs] == [-1, 0]
    holds(found)
    assert selviz.train("digits", "cnn", alpha=-1, epochs=0, max_images=60, store=tmp_path) == found.runs[0]


def test_a_sweep_takes_several_values_of_any_setting_and_one_of_others(tmp_path):
    given = {"epochs": 0, "max_images": 60, "workers": 1, "store": tmp_path}
    found = selviz.sweep("digits", ["cnn"], alphas=-1, learning_rate=[0.01, 0.1], **given)
    assert [run.summary["learning_rate"] for run in found.runs] == [0.01, 0.1]
    with pytest.raises(SelvizError, match="Unknown setting 'epoch'"):
        selviz.sweep("digits", "cnn", epoch=[1, 2], store=tmp_path)
    with pytest.raises(SelvizError, match="alpha has no value"):
        selviz.sweep("digits", "cnn", alphas=[], store=tmp_path)


def example_of(function) -> str:
    """The indented lines of a docstring."""
    lines = inspect.getdoc(function).splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines if line.startswith("    "))


def test_the_example_of_every_public_function_runs(tmp_path, monkeypatch):
    import torch
    from torch import nn

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SELVIZ_NO_DEMO", "1")
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    images = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8)
    values = {"selviz": selviz, "model": model, "images": images, "labels": torch.arange(60) % 3}
    run = None
    for name in ("train", *sorted({*NAMES} - {"train"})):
        example = example_of(getattr(selviz, name))
        assert f"selviz.{name}(" in example, name
        scope = {**values, "run": run}
        exec(compile(example, f"the example of selviz.{name}", "exec"), scope)
        run = run or scope["run"]
        for value in scope.values():
            if isinstance(value, Result):
                holds(value)


def test_the_dashboard_starts_on_a_free_port_shows_itself_in_a_cell_and_stops(tiny_store):
    dashboard = selviz.launch(tiny_store)
    try:
        with urllib.request.urlopen(dashboard.address) as page:
            assert page.status == 200
        assert f'<iframe src="{dashboard.address}' in dashboard._repr_html_()
    finally:
        dashboard.stop()
    assert not dashboard.running


def test_without_plotly_a_figure_says_what_to_install(run, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.startswith(("plotly", "selviz.figures"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("selviz.figures", raising=False)
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(SelvizError, match=r"pip install 'selviz\[plot\]'"):
        run.figure()


def test_the_notebook_runs_from_top_to_bottom_with_public_names_only(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not re.search(r"^\s*(from|import) selviz\.", code, re.M)
    used = set(re.findall(r"\bselviz\.(\w+)", code))
    assert used >= {"capture", "ablate", "attribute", "register", "test", "publish"} and used <= {*selviz.__all__}
    assert importlib.util.find_spec("ipykernel"), "tests/run installs it"
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert (tmp_path / "claim.html").stat().st_size > 2000
    assert (tmp_path / "site" / "index.html").exists()


def test_the_penalty_lowers_selectivity_in_a_loop_of_ones_own():
    """The formulas in a plain loop; the same call is what a Lightning or accelerate loop makes."""
    import torch
    from torch import nn

    from selviz.selectivity import class_means, class_selectivity, penalty, shuffle_null

    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 2)
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], 0.5)
    x, y = torch.randn(64, 4), torch.arange(64) % 2
    before = float(class_selectivity(class_means(body(x).detach(), y, 2)[0]).mean())
    for _ in range(30):
        units = body(x)
        loss = nn.functional.cross_entropy(head(units), y) + 5 * penalty([units], y, 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = float(class_selectivity(class_means(body(x).detach(), y, 2)[0]).mean())
    assert after < before and shuffle_null(body(x).detach(), y, 2, shuffles=3).shape == (3, 8)


def test_the_board_in_a_notebook_follows_what_is_silenced(tiny_store, tiny_run):
    run = api.Run(tiny_run, tiny_store)
    board = run.board()
    assert board.accuracy == pytest.approx(run.test_accuracy)
    board.silent = "relu2:3,5-9"
    found = selviz.ablate(run, "relu2:3,5-9", draws=0)
    assert board.accuracy == pytest.approx(found.accuracy_after)
    assert board.accuracy_by_class == pytest.approx(found.to_pandas()["after"].tolist())
    assert board.view["after"] == board.accuracy_by_class
    board.silent = ""
    assert board.accuracy == pytest.approx(run.test_accuracy) and "after" not in board.view
