"""What is renamed into place is on the disk before it has its name: a power cut leaves it whole, or not there."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selviz import datasets
from selviz.config import RunConfig
from selviz.datasets.in_memory import from_memory
from selviz.maintenance.migration import migrate
from selviz.publishing.site import publish
from selviz.runs import stored_images
from selviz.runs.train import train_run
from selviz.store import Store, append, write_group
from selviz.store.images import image_folder


@pytest.fixture
def renamed(monkeypatch):
    """{final path: whether all that it holds was synced before it got its name}, of all renames from now on."""
    synced: set[int] = set()
    renames: dict[str, bool] = {}
    sync = os.fsync

    def fsync(handle):
        sync(handle)
        synced.add(os.fstat(handle if isinstance(handle, int) else handle.fileno()).st_ino)

    def watched(rename):
        def rename_watched(source, target, **options):
            files = [Path(source)] if os.path.isfile(source) else [p for p in Path(source).rglob("*") if p.is_file()]
            renames[str(target)] = all(file.stat().st_ino in synced for file in files)
            rename(source, target, **options)

        return rename_watched

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    return renames


def test_all_that_is_renamed_into_place_is_synced_before(renamed, tmp_path, monkeypatch):
    monkeypatch.setenv("SELVIZ_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "data")
    run = train_run(store, RunConfig("digits", "cnn", epochs=1, max_images=60, snapshots=1), lambda progress: None)[
        "run"
    ]
    write_group(store.path, {"relu1": [1]}, "some")
    append(store.path, lambda records: {"kind": "note"})
    store.pack(run, tmp_path / "run.zip")
    Store(tmp_path / "other").unpack(tmp_path / "run.zip")
    migrate(store.path, tmp_path / "new")
    for _ in range(2):  # new, and in the place of an older one
        publish(store, run, tmp_path / "site")
    for number in range(4):
        path = tmp_path / "pictures" / ("train", "test")[number % 2] / "ab"[number // 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9), 60 * number, np.uint8)).save(path)
    datasets.load(f"folder:{tmp_path / 'pictures'}", image_size=8)
    pixels = torch.arange(6 * 64, dtype=torch.int32).remainder(251).to(torch.uint8).reshape(6, 1, 8, 8)
    dataset = from_memory((pixels, torch.tensor([0, 1] * 3)), "mine")
    image_folder(store.path, dataset.fingerprint).mkdir()
    stored_images.write(store, dataset)
    kinds = "config.json summary.json weights.safetensors capture.duckdb run.zip pixels.safetensors site"
    for kind in kinds.split():
        assert any(name.endswith(kind) for name in renamed), kind
    assert any("cache" in name for name in renamed) and any(name.startswith(str(tmp_path / "new")) for name in renamed)
    claims = {name for name in renamed if name.endswith("claim.json")}  # of a process, which a power cut ends
    assert [name for name, whole in renamed.items() if not whole and name not in claims] == []
