"""A run leaves one store as a zip and arrives in another as it was; what is no run, or would do harm, is refused."""

import json
import os
import re
import shutil
import stat
import threading
import zipfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.runs.load import images_changed, load_network
from selviz.store import Store, image_folder, write_images, write_json
from selviz.store.files import sealed
from selviz.store.run_archive import ARRIVED, MANIFEST
from selviz.store.stage_files import make_record, record_path
from selviz.studies.ablation import run_ablation
from selviz.testing.hostile.zips import forge, members
from tests.helpers.stored import CLASSES, IMAGES, LABELS, everything_below, make_run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store with one run that no test changes."""
    store = Store(tmp_path_factory.mktemp("home") / "data")
    make_run(store, classes=CLASSES)
    return store


@pytest.fixture(scope="module")
def run(home):
    return home.names()[0]


@pytest.fixture(scope="module")
def original(home, run, tmp_path_factory):
    return home.pack(run, tmp_path_factory.mktemp("packed") / "run.zip")


@pytest.fixture
def packed(original, tmp_path):
    """The run of `home` as a zip that a test may change."""
    return Path(shutil.copy(original, tmp_path))


@pytest.fixture
def store(home, tmp_path):
    """A copy of `home` that a test may change."""
    shutil.copytree(home.path, tmp_path / "data")
    return Store(tmp_path / "data")


@pytest.fixture
def other(tmp_path):
    return Store(tmp_path / "other")


@pytest.fixture
def refuse(other, tmp_path):
    """Claims that importing a zip raises one sentence and leaves nothing behind, inside the store or beside it."""

    def refuse(path, match: str, **options):
        before = everything_below(tmp_path)
        with pytest.raises(SelvizError, match=match) as error:
            other.unpack(path, **options)
        assert "\n" not in str(error.value)
        assert everything_below(tmp_path) == before
        assert other.names() == []

    return refuse


def alter(store: Store, run: str, stage: str, *statements: str) -> None:
    """Change a stage's file and write a record that fits it, as somebody would who means harm."""
    file = store.run_path(run) / f"{stage}.duckdb"
    with duckdb.connect(str(file)) as connection:
        for statement in statements:
            connection.execute(statement)
    write_json(record_path(file), make_record(file, stage, {}, {}))


# ------------------------------------------------------------------------------------------------- there and back again


def test_a_run_arrives_as_it_left(home, run, packed, other):
    store = home
    assert other.unpack(packed) == run
    assert everything_below(other.run_path(run)).keys() - {ARRIVED} == everything_below(store.run_path(run)).keys() - {
        name for name in everything_below(store.run_path(run)) if name.startswith("partial")
    }
    for table in ("layers", "units", "class_means", "images", "epochs", "epoch_layers"):
        pd.testing.assert_frame_equal(getattr(other, table)(run), getattr(store, table)(run))
    np.testing.assert_array_equal(other.matrix(run, "conv1.relu"), store.matrix(run, "conv1.relu"))
    assert other.thumbnails(run, range(IMAGES)) == store.thumbnails(run, range(IMAGES))
    pd.testing.assert_frame_equal(other.runs(), store.runs())


def test_a_network_that_arrived_can_be_ablated(tiny_store, tiny_run, other, tmp_path):
    other.unpack(tiny_store.pack(tiny_run, tmp_path / "tiny.zip"), name="from-afar")
    ours, theirs = (
        run_ablation(s, run, {"relu4": [3]}, draws=0) for s, run in ((tiny_store, tiny_run), (other, "from-afar"))
    )
    assert ours["per_class"] == theirs["per_class"]


def test_a_folder_that_a_zip_names_is_not_read_before_somebody_here_names_it(packed, other, tmp_path):
    settings = {**json.loads(members(packed)["run/config.json"]), "dataset": f"folder:{tmp_path}"}
    run = other.unpack(forge(packed, {"run/config.json": json.dumps(sealed(settings)).encode()}))
    told = f"came from another store.*selviz relink {run} --dataset folder:/place"
    with pytest.raises(SelvizError, match=told):
        load_network(other, run)
    assert re.search(told, images_changed(other, run))
    write_json(other.path / "places" / "f1.json", {"dataset": f"folder:{tmp_path}"})  # as relink does after a look
    with pytest.raises(SelvizError, match="holds one folder alone, other/"):
        load_network(other, run)


def test_a_run_that_is_packed_twice_gives_the_same_file(home, run, packed, tmp_path):
    assert home.pack(run, tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_every_stage_of_the_run_goes_along(store, run, other, tmp_path):
    from selviz.store import write_stage

    write_stage(store.run_path(run), "thoughts", {"t": pd.DataFrame({"a": [1]})}, {})
    other.unpack(store.pack(run, tmp_path / "run.zip"))
    assert (other.run_path(run) / "thoughts.duckdb").exists()


def test_what_is_no_part_of_a_finished_run_stays_at_home(store, run, tmp_path):
    for name in ("notes.txt", "claim.json", ".hidden", "failed.json"):
        (store.run_path(run) / name).write_text("{}")
    names = set(members(store.pack(run, tmp_path / "run.zip")))
    assert not [name for name in names if Path(name).name in ("notes.txt", "claim.json", ".hidden", "failed.json")]
    assert not [name for name in names if "partial" in name]


def test_the_same_run_may_be_imported_twice(packed, other):
    first = other.unpack(packed)
    before = everything_below(other.path)
    assert other.unpack(packed) == first
    assert everything_below(other.path) == before


def test_a_run_of_that_name_with_other_content_stays_and_another_name_is_offered(run, packed, other):
    make_run(other, classes=CLASSES, test_accuracy=0.7)
    before = everything_below(other.path)
    with pytest.raises(SelvizError, match=f"--name {run}-2"):
        other.unpack(packed)
    assert everything_below(other.path) == before
    assert other.unpack(packed, name=f"{run}-2") == f"{run}-2"
    assert other.runs().set_index("run")["test_accuracy"].to_dict() == {run: 0.7, f"{run}-2": 0.6}


def test_images_that_are_there_stay_and_other_ones_are_refused(run, packed, other):
    pictures = [f"picture {i}".encode() for i in range(IMAGES)]
    write_images(other.path, "f1", pictures, LABELS, CLASSES)
    before = everything_below(image_folder(other.path, "f1"))
    other.unpack(packed)
    assert everything_below(image_folder(other.path, "f1")) == before
    third = Store(other.path.with_name("third"))
    write_images(third.path, "f1", pictures, LABELS[::-1], CLASSES)
    with pytest.raises(SelvizError, match="not those that the store has"):
        third.unpack(packed)
    assert third.names() == []


def test_damaged_images_make_room_for_those_of_the_run(run, packed, other):
    folder = write_images(other.path, "f1", [b"x"] * IMAGES, LABELS, CLASSES)
    (folder / "images.duckdb").write_bytes(b"")
    other.unpack(packed)
    assert other.thumbnails(run, [3]) == {3: b"picture 3"}
    assert sorted(os.listdir(folder)) == ["images.duckdb", "images.json"]


def test_of_two_imports_at_once_both_find_the_run(packed, other):
    found, errors = [], []

    def bring():
        try:
            found.append(other.unpack(packed))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, len(set(found)), len(found)) == ([], 1, 4)
    assert other.names() == found[:1]
    assert [name for name in os.listdir(other.path / "runs") if name.startswith(".")] == []


def test_an_import_that_is_stopped_leaves_nothing(packed, other, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("selviz.store.untrusted_files.validate_untrusted_run", stop)
    with pytest.raises(KeyboardInterrupt):
        other.unpack(packed)
    assert everything_below(other.path) == {}


# ------------------------------------------------------------------------------------------------ what cannot be packed


def test_a_damaged_stage_is_not_packed_and_its_remedy_is_named(store, run, tmp_path):
    file = store.run_path(run) / "metrics.duckdb"
    content = bytearray(file.read_bytes())
    content[5000] ^= 1  # of the same size, so only its SHA-256 tells
    file.write_bytes(content)
    with pytest.raises(SelvizError, match=f"metrics.duckdb is damaged.*selviz capture {run}"):
        store.pack(run, tmp_path / "run.zip")
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".*"))


def test_an_unfinished_run_is_not_packed(store, run, tmp_path):
    (store.run_path(run) / "summary.json").unlink()
    with pytest.raises(SelvizError, match="is unfinished; go on with: selviz train"):
        store.pack(run, tmp_path / "run.zip")


def test_a_zip_that_cannot_be_written_is_one_sentence(home, run, tmp_path):
    for path in (tmp_path, tmp_path / "none" / "run.zip"):
        with pytest.raises(SelvizError, match="a file in a folder that exists"):
            home.pack(run, path)


# --------------------------------------------------------------------------------------------- what cannot be unpacked


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "/tmp/evil.json",
        "run/../../evil.json",
        "run/..",
        "run\\..\\evil.json",
        "run/sub/evil.json",
        "C:evil.json",
        "run/evil.py",
        "run/evil.json",
        "run/claim.json",
        "run/summary.json.duckdb",
        "images/evil.duckdb",
        "images/config.json",
        "run/",
        "evil",
        "run/" + "x" * 300 + ".json",
        "run/caf\u00e9.json",
        "run/.hidden.json",
    ],
)
def test_a_name_that_is_none_of_a_runs_files_is_refused(packed, refuse, name):
    refuse(forge(packed, {name: b"{}"}), "is no file of a run|is missing|is not what its")
    refuse(forge(packed, {name: b"{}"}, honest=False), "is no file of a run|is missing|is not what its")


@pytest.mark.parametrize("name", ["../evil", "/evil", "..", "", ".evil", "a/b", "a\\b", "x" * 300, None, 5, ["a"]])
def test_a_name_that_would_leave_the_store_is_refused(packed, refuse, name):
    refuse(forge(packed, {}, run=name), "cannot be the name of a run")
    refuse(forge(packed, {}, fingerprint=name), "cannot be the name of a data set fingerprint")
    if isinstance(name, str) and name:
        refuse(packed, "cannot be the name of a run", name=name)


def test_a_link_in_the_zip_is_refused(packed, refuse):
    forged = packed.with_name("link.zip")
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(forged, "w") as new:
        for entry in old.infolist():
            copied = zipfile.ZipInfo(entry.filename)
            if entry.filename == "run/config.json":
                copied.external_attr = (stat.S_IFLNK | 0o777) << 16
            new.writestr(copied, old.read(entry))
    refuse(forged, "'run/config.json' is no file of a run")


def test_two_files_of_one_name_are_refused(packed, refuse):
    forged = packed.with_name("twice.zip")
    shutil.copy(packed, forged)
    with zipfile.ZipFile(forged, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("run/config.json", "{}")
    refuse(forged, "some of them twice")


@pytest.mark.parametrize(
    "name", ["run/config.json", "run/summary.json", "run/capture.duckdb", "run/capture.json", "images/images.duckdb"]
)
def test_a_zip_without_all_of_a_run_is_refused(packed, refuse, name):
    refuse(forge(packed, {name: None}), "is missing|is no file of a run")
    refuse(forge(packed, {name: None}, honest=False), "is missing|is no file of a run")


def test_content_that_is_not_what_the_manifest_says_is_refused(packed, refuse):
    content = bytearray(members(packed)["run/capture.duckdb"])
    content[9000] ^= 1
    refuse(forge(packed, {"run/capture.duckdb": bytes(content)}, honest=False), "'run/capture.duckdb' is damaged")
    refuse(forge(packed, {"run/config.json": b"{}"}, honest=False), "the size of 'run/config.json'")
    refuse(forge(packed, {"run/capture.duckdb": bytes(content)}), "capture.duckdb does not fit its record")


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30, 5000])
def test_a_zip_that_was_cut_off_is_refused(packed, refuse, cut):
    packed.write_bytes(packed.read_bytes()[:cut])
    refuse(packed, "it is no zip file or a damaged one")


def test_a_zip_with_flipped_bits_is_refused_or_as_good_as_before(packed, other):
    content, random = packed.read_bytes(), np.random.default_rng(0)
    for position in random.integers(0, len(content), 60):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(random.integers(8))
        packed.write_bytes(flipped)
        try:
            run = other.unpack(packed)
        except SelvizError:
            assert other.names() == []
        else:  # a bit of a time stamp or the like
            assert len(other.units(run)) == 5
            shutil.rmtree(other.path)


def test_what_is_no_zip_is_one_sentence(tmp_path, refuse):
    (tmp_path / "text.zip").write_text("no zip")
    refuse(tmp_path / "text.zip", "it is no zip file")
    refuse(tmp_path / "none.zip", "No such file")
    refuse(tmp_path, "Is a directory")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    refuse(tmp_path / "empty.zip", f"it holds no {MANIFEST}")


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "null", '{"format": 1}', '{"format": "1", "files": {}}', "[" * 100_000]
)
def test_a_manifest_that_is_none_is_refused(packed, refuse, text):
    forged = packed.with_name("manifest.zip")
    with zipfile.ZipFile(forged, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, text)
    refuse(forged, "is not one of selviz")


def test_a_zip_of_a_newer_selviz_says_so(home, run, packed, refuse):
    refuse(forge(packed, {}, format=2), "newer selviz .format 2, this one reads 1.; update selviz")
    path = record_path(home.run_path(run) / "capture.duckdb")
    about = {**json.loads(path.read_text()), "schema": 99}
    refuse(forge(packed, {"run/capture.json": json.dumps(about).encode()}), "newer selviz")


def test_a_zip_bomb_is_refused_before_anything_is_written(packed, refuse):
    refuse(forge(packed, {"run/capture.duckdb": bytes(100_000_000)}), r"bytes would become 10\d,\d{3},\d{3}")
    refuse(forge(packed, {"run/config.json": b" " * 5_000_000}), "'run/config.json' has 5,000,000 bytes")
    many = {f"run/s{number}{suffix}": b"" for number in range(150) for suffix in (".duckdb", ".json")}
    refuse(forge(packed, many), "it holds 3.. files")


def test_a_file_that_hides_its_size_is_not_unpacked_beyond_it(packed, refuse):
    forged = packed.with_name("lie.zip")
    files = {**members(packed), "run/capture.duckdb": bytes(50_000_000)}
    about = json.loads(files.pop(MANIFEST))
    with zipfile.ZipFile(forged, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(MANIFEST, json.dumps(about))
        archive.getinfo("run/capture.duckdb").file_size = about["files"]["run/capture.duckdb"]["bytes"]
    refuse(forged, "damaged")


def test_a_run_that_does_not_fit_on_the_disk_is_refused(packed, refuse, monkeypatch):
    usage = shutil.disk_usage(packed.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    refuse(packed, "has 1,000 free; make room")


@pytest.mark.parametrize(
    ("stage", "statements"),
    [
        ("metrics", ("DROP TABLE units", "CREATE VIEW units AS SELECT * FROM read_csv('/etc/passwd')")),
        ("metrics", ("CREATE VIEW more AS SELECT 1",)),
        ("metrics", ("CREATE SCHEMA s", "CREATE VIEW s.more AS SELECT * FROM read_text('/etc/passwd')")),
        ("metrics", ("CREATE MACRO si() AS (SELECT content FROM read_text('/etc/passwd'))",)),
        ("metrics", ("CREATE MACRO units() AS TABLE SELECT * FROM read_text('/etc/passwd')",)),
        ("metrics", ("CREATE TABLE t (a INTEGER, b VARCHAR GENERATED ALWAYS AS (current_setting('home_directory')))",)),
    ],
)  # fmt: skip
def test_a_file_with_more_than_tables_is_refused(store, run, refuse, tmp_path, stage, statements):
    alter(store, run, stage, *statements)
    refuse(store.pack(run, tmp_path / "run.zip"), "metrics.duckdb (holds more than tables|lacks the column)")


@pytest.mark.parametrize(
    ("stage", "statement", "told"),
    [
        ("metrics", "ALTER TABLE units DROP si", "metrics.duckdb lacks the column units.si DOUBLE"),
        ("metrics", "ALTER TABLE units ALTER si TYPE VARCHAR", "metrics.duckdb lacks the column units.si DOUBLE"),
        ("capture", "DROP TABLE images", "capture.duckdb lacks the column images"),
        ("capture", "DELETE FROM activations WHERE unit = 1", "activations of 5 units on 40 images"),
        ("capture", "UPDATE layers SET units = 4000000000", "activations of 8,000,000,000 units"),
        ("capture", "UPDATE images SET label = 3 - label", "its images are not those of its run"),
        ("capture", "UPDATE images SET label = NULL", "its images are not those of its run"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(store, run, refuse, tmp_path, stage, statement, told):
    alter(store, run, stage, statement)
    refuse(store.pack(run, tmp_path / "run.zip"), told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"classes": ["a", "b", "c", "d"]}, "its images are not those of its run"),
        ({"classes": None}, "the names of the classes"),
        ({"classes": [1, 2, 3, 4]}, "the names of the classes"),
        ({"test_accuracy": "high"}, "lacks numbers"),
        ({"images": 41}, "its images do not fit its summary"),
        ({"units": 6}, "200 activations of 5 units"),
        ({"fingerprint": "f2"}, "its images are not those of its run"),
        ({"test_accuracy": 10**400}, "lacks numbers"),
        ({"model": 3}, "its model cannot be '3'"),
        ({"max_images": None}, "its max_images cannot be 'None'"),
        ({"image_size": "32"}, "its image_size cannot be '32'"),
        ({"mean": 5}, "its mean cannot be '5'"),
        ({"seed": 1e300}, "its seed cannot be"),
        ({"alpha": True}, "its alpha cannot be 'True'"),
        ({"origin": "home"}, "where its images are from"),
    ],
)
def test_a_summary_that_does_not_fit_is_refused(packed, refuse, change, told):
    summary = {**json.loads(members(packed)["run/summary.json"]), **change}
    refuse(forge(packed, {"run/summary.json": json.dumps(sealed(summary)).encode()}), told)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"dataset": 1, "model": "cnn"}'])
def test_settings_that_are_none_are_refused(packed, refuse, text):
    refuse(forge(packed, {"run/config.json": text}), "its settings or its summary are not those of a run")


def test_weights_that_are_none_are_refused(packed, refuse):
    refuse(forge(packed, {"run/weights.safetensors": b"pickle?"}), "its weights are damaged")


# ------------------------------------------------------------------------------------------------- in the command line


def test_export_and_import_carry_a_run_from_store_to_store(home, run, other, tmp_path, capsys):
    file = tmp_path / "run.zip"
    assert main(["export", run, "--to", str(file), f"--data={home.path}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": run, "file": str(file), "bytes": file.stat().st_size}
    assert main(["import", "--zip", str(file), "--name", "again", f"--data={other.path}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["test_accuracy"], told["mean_si"]) == ("again", 0.6, 0.3)
    assert other.names() == ["again"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["export", "RUN"], "--to FILE.zip"),
        (["export", "RUN", "units", "--to", "x.zip"], "--to FILE.zip"),
        (["export", "RUN", "--to", "x.zip", "--format", "csv"], "--to FILE.zip writes the whole run"),
        (["import"], "--zip"),
        (["import", "--zip", "none.zip"], "none.zip"),
    ],
)
def test_a_mistake_is_one_sentence(home, run, argv, told, capsys):
    assert main([*(run if word == "RUN" else word for word in argv), f"--data={home.path}"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and told in err
