"""A published site is plain files that show what is stored, fetch nothing, and run nothing that a name holds."""

import base64
import json
import re
import shutil

import numpy as np
import pytest

from selviz.cli import main
from selviz.errors import SelvizError, TransientError
from selviz.publishing.site import MARK, fill, publish, script_json
from selviz.store import Store
from selviz.studies.ablation import run_ablation, run_atlas
from selviz.text import numbers


@pytest.fixture(scope="module")
def published(tiny_store, tiny_run, tmp_path_factory):
    """The tiny run with its atlas, and its site."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(tiny_store.path, folder / "store")
    store = Store(folder / "store")
    run_atlas(store, tiny_run)
    publish(store, tiny_run, folder / "site")
    return store, folder / "site"


def constant(page: str, name: str):
    """What a page's script says of a constant, as JSON."""
    text = page[page.index(f"{name} = ") + len(name) + 3 :]
    return json.JSONDecoder().raw_decode(text)[0]


def test_every_unit_has_a_page_and_every_link_and_picture_is_there(published, tiny_run):
    store, site = published
    assert len(list((site / "units").glob("*.html"))) == len(store.units(tiny_run))
    for page in [site / "index.html", *(site / "units").glob("*.html")]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r'(?:href|src)="([^"#]*)"', text):
            assert (page.parent / target).exists(), (page.name, target)
        assert not re.search(r'(?:href|src)="(?:https?:)?//', text)
        assert "Content-Security-Policy" in text and "default-src 'none'" in text


def test_silencing_any_unit_on_the_site_answers_with_the_numbers_of_selviz_ablate(published, tiny_run):
    store, site = published
    page = (site / "index.html").read_text(encoding="utf-8")
    atlas, units = constant(page, "atlas"), store.units(tiny_run)
    kinds = {"images": "<i4", "right": "<i4", "starts": "<i4", "classes": "<u2", "changes": "<i4"}
    counts = {name: np.frombuffer(base64.b64decode(atlas[name]), kind) for name, kind in kinds.items()}
    for layer, unit in (("relu1", 3), ("relu4", 17), ("relu4", 63)):
        place = units[(units["layer"] == layer) & (units["unit"] == unit)].index[0]
        result = run_ablation(store, tiny_run, {layer: [unit]}, draws=0)
        right = counts["right"].copy()
        part = slice(counts["starts"][place], counts["starts"][place + 1])
        right[counts["classes"][part]] += counts["changes"][part]
        assert counts["right"].sum() / counts["images"].sum() == result["accuracy_before"]
        assert right.sum() / counts["images"].sum() == result["accuracy_after"]
        assert (right / counts["images"]).tolist() == [row["after"] for row in result["per_class"]]
        own = (site / "units" / f"{layer}-{unit}.html").read_text(encoding="utf-8")
        assert f"<b>{numbers.percent(result['accuracy_after'])}</b>" in own


def test_a_units_page_shows_its_top_images_in_their_order(published, tiny_run):
    store, site = published
    page = (site / "units" / "relu3-5.html").read_text(encoding="utf-8")
    order = store.activations(tiny_run, "relu3", 5).sort_values(["value", "image"], ascending=[False, True])
    shown = [int(image) for image in re.findall(r"images/(\d+)\.png", page)]
    assert shown[:12] == order["image"].head(12).tolist()


def test_names_of_layers_and_classes_cannot_write_html_or_leave_a_script():
    hostile = "</script><img src=x onerror=alert(1)>&'\""
    text = script_json({"name": hostile})
    assert "<" not in text and json.loads(text) == {"name": hostile}
    page = fill("unit.html", **dict.fromkeys(re.findall(r"\{\{(\w+)\}\}", fill_source()), "{{title}}"))
    assert page.count("{{title}}") == len(re.findall(r"\{\{(\w+)\}\}", fill_source())), "values are not looked into"


def fill_source() -> str:
    from selviz.publishing.site import TEMPLATES

    return (TEMPLATES / "unit.html").read_text(encoding="utf-8")


def test_a_folder_that_is_no_site_stays_as_it_is_and_an_older_site_is_replaced(published, tiny_run, tmp_path):
    store, _ = published
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(SelvizError, match="is no site of selviz"):
        publish(store, tiny_run, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    publish(store, tiny_run, tmp_path / "site")
    (tmp_path / "site" / "old.html").write_text("old")
    publish(store, tiny_run, tmp_path / "site")
    assert not (tmp_path / "site" / "old.html").exists() and (tmp_path / "site" / MARK).exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_command_computes_the_atlas_draws_attributions_and_says_what_it_did(own_store, tiny_run, tmp_path, capsys):
    command = ["publish", tiny_run, "--to", str(tmp_path / "site"), "--data", str(own_store.path), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["units"] == 144 and told["folder"] == str(tmp_path / "site")
    assert (own_store.run_path(tiny_run) / "atlas.duckdb").exists()
    assert list((tmp_path / "site" / "units").glob("relu3-5-*.webp"))
    assert told["bytes"] == sum(path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.is_file())


def test_a_run_without_weights_is_published_without_what_needs_them(own_store, tiny_run, tmp_path, capsys):
    (own_store.run_path(tiny_run) / "weights.safetensors").unlink()
    assert main(["publish", tiny_run, "--to", str(tmp_path / "site"), "--data", str(own_store.path), "--json"]) == 0
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert constant(page, "atlas") is None and "nothing can be silenced here" in page


def test_a_site_that_cannot_be_moved_into_place_leaves_the_older_one(published, tiny_run, tmp_path, monkeypatch):
    store, site = published
    older = shutil.copytree(site, tmp_path / "site")
    known = sorted(path.relative_to(older) for path in older.rglob("*"))

    def full(temporary, final):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("selviz.publishing.site.move_into_place", full)
    with pytest.raises(TransientError, match="the disk is full"):
        publish(store, tiny_run, older)
    assert sorted(path.relative_to(older) for path in older.rglob("*")) == known
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
