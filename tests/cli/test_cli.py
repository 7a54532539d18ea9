"""The command line on a tiny real store: a network trained for one epoch on 8 x 8 digits."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from selviz.cli import COMMANDS, GROUPS, main, parser
from selviz.errors import SelvizError
from selviz.store import Store
from selviz.text.tables import plain, table
from selviz.text.unit_lists import parse_units

ROOT = Path(__file__).parents[2]
SELVIZ = [sys.executable, "-m", "selviz"]


def no_constant(text):
    raise AssertionError(f"{text} is not JSON")


@pytest.fixture
def call(capsys, tiny_store):
    """Runs a command on the tiny store -> (exit status, stdout, stderr)."""

    def call(*argv, data=tiny_store.path):
        status = main([*map(str, argv), f"--data={data}"])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def ask(call):
    """Runs a command with --json and returns the one document that it prints."""

    def ask(*argv, **where):
        status, out, err = call(*argv, "--json", **where)
        assert status == 0, err
        return json.loads(out, parse_constant=no_constant)

    return ask


@pytest.fixture
def complaint(call):
    """Runs a command that must fail and returns its one sentence."""

    def complaint(*argv, data):
        status, out, err = call(*argv, data=data)
        assert (status, out) == (2, "")
        assert err.endswith("\n")
        assert err.count("\n") == 1, f"more than one line: {err}"
        assert "Traceback" not in err
        return err

    return complaint


def selviz(*argv, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*SELVIZ, *map(str, argv)], env=environment, capture_output=True, text=True, **options)


# ------------------------------------------------------------------------------------------------------------ results


def test_runs_lists_each_run_with_its_settings_and_numbers(ask, tiny_run):
    (row,) = [row for row in ask("runs") if row["run"] == tiny_run]
    assert {name: row[name] for name in ("dataset", "model", "alpha", "seed", "epochs", "state")} == {
        "dataset": "digits", "model": "cnn", "alpha": -1.0, "seed": 0, "epochs": 1, "state": "finished",
    }  # fmt: skip
    assert 0 <= row["test_accuracy"] <= 1
    assert 0 <= row["null_mean"] <= row["null_p95"] <= 1
    assert row["mean_si"] <= row["mean_si_live"]


def test_layers_come_in_forward_order_with_the_null_beside_the_index(ask, tiny_run):
    rows = ask("layers", tiny_run)
    assert [(row["layer"], row["units"]) for row in rows] == [
        ("relu1", 16),
        ("relu2", 32),
        ("relu3", 32),
        ("relu4", 64),
    ]
    assert [row["depth"] for row in rows] == sorted(row["depth"] for row in rows)
    for row in rows:
        assert 0 < row["null_mean"] <= row["null_p95"]
        assert isinstance(row["dead"], int)


def test_units_lists_every_unit_and_can_filter_sort_and_cut(ask, tiny_run):
    rows = ask("units", tiny_run)
    assert len(rows) == 144
    assert {"layer", "unit", "si", "preferred_class", "mean_activation", "dead", "null_mean", "null_p95"} <= set(
        rows[0]
    )
    best = ask("units", tiny_run, "--layer", "relu2", "--sort", "si", "--limit", 3)
    expected = sorted((row["si"] for row in rows if row["layer"] == "relu2"), reverse=True)[:3]
    assert [row["si"] for row in best] == expected


def test_unit_shows_its_tuning_and_its_extreme_images(ask, tiny_run):
    result = ask("unit", tiny_run, "relu2:5")
    (row,) = [row for row in ask("units", tiny_run, "--layer", "relu2") if row["unit"] == 5]
    assert result["si"] == row["si"]
    assert [entry["class"] for entry in result["classes"]] == list("0123456789")
    largest = [entry["value"] for entry in result["most_activating"]]
    smallest = [entry["value"] for entry in result["least_activating"]]
    assert (largest, smallest) == (sorted(largest, reverse=True), sorted(smallest))
    assert len(largest) == len(smallest) == 9


def test_ablate_compares_before_with_after_overall_and_by_class(ask, tiny_run, tiny_store):
    result = ask("ablate", tiny_run, "--units", "relu2:0-7", "--units", "relu1:3,5", "--draws", 3)
    images = tiny_store.images(tiny_run)
    assert result["images"] == len(images)
    assert result["accuracy_before"] == pytest.approx((images.label == images.prediction).mean(), abs=1e-9)
    assert sum(row["images"] for row in result["per_class"]) == len(images)
    for when in ("before", "after"):
        total = sum(row["images"] * row[when] for row in result["per_class"])
        assert result[f"accuracy_{when}"] == pytest.approx(total / len(images), abs=1e-9)


def test_ablate_on_one_fold_uses_only_its_images(ask, tiny_run, tiny_store):
    result = ask("ablate", tiny_run, "--units", "relu4:0", "--fold", 1, "--draws", 1)
    assert result["images"] == int((tiny_store.images(tiny_run).fold == 1).sum())


def test_sql_gives_a_list_of_row_objects_with_null_for_what_is_missing(ask, tiny_run):
    assert ask("sql", "select 1 as a, 'x' as b, null as c, 'nan'::double as d") == [
        {"a": 1, "b": "x", "c": None, "d": None}
    ]
    rows = ask("sql", "select run, layer, count(*) as n from units group by all order by layer", "--runs", tiny_run)
    assert rows[0] == {"run": tiny_run, "layer": "relu1", "n": 16}


def test_export_writes_the_table_that_units_prints(call, ask, tiny_run, tmp_path):
    status, out, _ = call("export", tiny_run, "units", "--format", "csv")
    assert status == 0
    frame = pd.read_csv(io.StringIO(out))
    rows = ask("units", tiny_run)
    assert frame.si.tolist() == pytest.approx([row["si"] for row in rows], abs=1e-6)
    for form, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet), ("json", pd.read_json)):
        file = tmp_path / f"units.{form}"
        status, out, err = call("export", tiny_run, "units", "--format", form, "--output", file)
        assert (status, out) == (0, ""), err
        assert len(read(file)) == len(rows)


def test_export_with_json_is_one_json_document(ask, tiny_run):
    assert len(ask("export", tiny_run, "layers")) == 4


def test_a_run_may_be_named_by_its_beginning(ask, tiny_run):
    assert ask("layers", tiny_run[:-4]) == ask("layers", tiny_run)


@pytest.mark.parametrize("argv", [("runs",), ("layers", "RUN"), ("units", "RUN"), ("unit", "RUN", "relu1:0")])
def test_without_json_a_person_reads_aligned_tables(call, tiny_run, argv):
    status, out, _ = call(*[tiny_run if word == "RUN" else word for word in argv])
    assert status == 0
    assert "nan" not in out.lower()
    assert tiny_run in out or "relu1" in out


def test_ablate_without_json_words_its_numbers_with_their_images(call, tiny_run):
    _, out, _ = call("ablate", tiny_run, "--units", "relu2:0-7", "--draws", 2)
    assert "images)" in out
    assert "points" in out


def test_an_empty_store_names_the_command_that_fills_it(call, ask, tmp_path):
    assert ask("runs", data=tmp_path) == []
    assert "selviz demo" in call("runs", data=tmp_path)[1]


# ----------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["trian"], "'train'"),
        (["train", "--dataset", "digits"], "--model"),
        (["train", "--dataset", "digit", "--model", "cnn"], "'digits'"),
        (["train", "--dataset", "digits", "--model", "resnet2"], "'resnet20'"),
        (["train", "--dataset", "digits", "--model", "cnn", "--alpha=nan"], "alpha"),
        (["train", "--dataset", "digits", "--model", "cnn", "--alpha=-inf"], "alpha"),
        (["train", "--dataset", "digits", "--model", "cnn", "--alpha=much"], "'much'"),
        (["train", "--dataset", "digits", "--model", "cnn", "--epochs=-1"], "0 is the untrained control"),
        (["train", "--dataset", "digits", "--model", "cnn", "--device", "abacus"], "abacus"),
        (["layers", "digits-cnn-a7"], "digits-cnn-a"),
        (["units", "RUN", "--layer", "relu9"], "'relu"),
        (["units", "RUN", "--sort", "sii"], "'si'"),
        (["units", "RUN", "--limit", "0"], "above 0"),
        (["unit", "RUN", "relu2"], "LAYER:3,5"),
        (["unit", "RUN", "relu2:1,2"], "2 units"),
        (["unit", "RUN", "relu2:99"], "99"),
        (["unit", "RUN", "relu9:1"], "'relu"),
        (["ablate", "RUN"], "--units"),
        (["ablate", "RUN", "--units", "relu2:x"], "LAYER:3,5"),
        (["ablate", "RUN", "--units", "relu2:32"], "32"),
        (["ablate", "RUN", "--units", "relu7:0"], "'relu"),
        (["ablate", "RUN", "--units", "relu2:0", "--mode", "zeros"], "'zero'"),
        (["sql", "select * from unit"], "units"),
        (["sql", "selec 1"], "syntax"),
        (["sql", "drop table units"], "SELECT"),
        (["sql", "select 1; select 2"], "one"),
        (["sql", "select 1", "--runs", "nothing"], "nothing"),
        (["sql", "select * from read_csv('/etc/passwd')"], ""),
        (["export", "RUN", "unitz"], "'units'"),
        (["export", "RUN", "units", "--format", "parquet"], "--output"),
        (["export", "RUN", "units", "--output", "/nowhere/units.csv"], "/nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_that_names_what_would_be_right(
    complaint, tiny_store, tiny_run, tmp_path, argv, says
):
    data = tmp_path if argv[0] == "train" else tiny_store.path
    assert says in complaint(*[tiny_run if word == "RUN" else word for word in argv], data=data)


def test_no_command_at_all_says_what_to_do_first(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "selviz demo" in text and "selviz --help" in text


def test_help_lists_each_command_in_one_group_with_what_it_does():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)
    text = parser().format_help()
    for name, (command, _, _) in COMMANDS.items():
        assert re.search(rf"^  {name} +{command.__doc__.split()[0]}", text, re.M), name


def test_the_store_may_be_named_before_the_command_as_after_it(capsys, tiny_store, tiny_run):
    path = str(tiny_store.path)
    outputs = []
    for argv in (["--data", path, "layers", tiny_run], ["layers", tiny_run, f"--data={path}"]):
        assert main([*argv, "--json"]) == 0
        outputs.append(capsys.readouterr().out)
    assert main([f"--data={path}", "--json", "layers", tiny_run]) == 0
    assert outputs == [capsys.readouterr().out] * 2
    assert main(["--data", path, "layer", tiny_run]) == 2
    assert "did you mean 'layers'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["layers", "units", "capture", "atlas"])
def test_an_empty_run_name_is_a_mistake_and_not_the_first_run(complaint, tiny_store, tiny_run, command):
    assert "name of the run is empty" in complaint(command, " ", data=tiny_store.path)


def test_a_data_folder_that_is_a_file_is_a_mistake(complaint, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in complaint(
        "train", "--dataset", "digits", "--model", "cnn", "--epochs", "0", data=tmp_path / "file"
    )


def test_units_are_numbers_and_ranges_of_named_layers():
    assert parse_units(["b:3,5", "a:0-2", "b:4-5"]) == {"b": [3, 4, 5], "a": [0, 1, 2]}
    assert parse_units(["layer1.0.relu_1: 7"]) == {"layer1.0.relu_1": [7]}


@pytest.mark.parametrize("spec", ["", "a", "a:", ":3", "a:3-", "a:-3", "a:3,,4", "a:1.5", "a:5-3", "a:0-999999999"])
def test_units_that_cannot_be_read_are_named(spec):
    with pytest.raises(SelvizError, match=r"'.*'"):
        parse_units([spec])


# ----------------------------------------------------------------------------------------------------------- printing


def test_json_has_null_for_every_number_that_json_cannot_write():
    frame = pd.DataFrame({"a": [1.5, float("nan")], "b": [float("inf"), None], "c": pd.array([1, None], dtype="Int64")})
    assert plain(frame) == [{"a": 1.5, "b": None, "c": 1}, {"a": None, "b": None, "c": None}]


def test_tables_align_numbers_right_and_words_left():
    frame = pd.DataFrame({"layer": ["relu1", "r"], "units": [16, 4], "si": [0.5, None], "dead": [True, False]})
    assert table(frame).splitlines() == ["layer  units     si  dead", "relu1     16  0.500  yes", "r          4      -"]


# ----------------------------------------------------------------------------------------------------------- processes


def test_listing_runs_and_units_does_not_import_torch(tiny_store, tiny_run):
    program = (
        "import sys; from selviz.cli import main\n"
        f"assert main(['runs', '--data', {str(tiny_store.path)!r}]) == 0\n"
        f"assert main(['unit', {tiny_run!r}, 'relu1:0', '--data', {str(tiny_store.path)!r}]) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_silencing_units_does_not_wait_for_torchvision(tiny_store, tiny_run):
    program = (
        "import sys; from selviz.cli import main\n"
        f"assert main(['ablate', {tiny_run!r}, '--units', 'relu1:0', '--data', {str(tiny_store.path)!r}]) == 0\n"
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_a_reader_that_closes_the_pipe_early_gets_no_error(tiny_store, tiny_run):
    command = f"{sys.executable} -m selviz units {tiny_run} --json --data {tiny_store.path}"
    script = f"set -o pipefail; ({command}; echo status $? >&2) | head -c 10"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "status 0\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_a_mistake(tiny_store):
    with open("/dev/full", "w") as full:
        command = [*SELVIZ, "runs", "--data", str(tiny_store.path)]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_training_prints_one_json_document_and_its_progress_goes_to_stderr(tmp_path):
    done = selviz(
        "train", "--dataset", "digits", "--model", "cnn", "--epochs", "0", "--json", "--data", tmp_path, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout, parse_constant=no_constant)
    assert 0 <= summary["test_accuracy"] <= 1
    assert summary["run"] in Store(tmp_path).names()


def test_ctrl_c_ends_training_with_one_sentence_and_the_same_command_resumes_it(tmp_path):
    argv = ["train", "--dataset", "digits", "--model", "cnn", "--epochs", "15", "--data", str(tmp_path), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*SELVIZ, *argv],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/partial/checkpoint*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b""), err
    assert b"Traceback" not in err
    (row,) = Store(tmp_path).runs().to_dict("records")
    assert row["state"] == "unfinished"
    assert "selviz train" in row["resume"]
    assert selviz(*argv, cwd=ROOT).returncode == 0
    assert Store(tmp_path).runs().state.tolist() == ["finished"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"Example:\n  selviz {command}" in text
    assert "--data DIR" in text
    assert "--json" in text
