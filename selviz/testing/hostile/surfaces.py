"""The surfaces that strangers reach, each with its inputs and its use: `surface = SURFACES[name](room)`.

A surface is made in the process that is watched. `make(dice)` gives an input, `use(it)` does with it what selviz does;
`refusals` are the errors that users are meant to see.
"""

import contextlib
import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selviz.errors import SelvizError
from selviz.store import Store, delete_group, read_group, rename_group, sql_process, write_group
from selviz.testing.hostile import checkpoints, networks, pictures, texts, zips


@dataclass(frozen=True)
class Room:
    """Folders: a store with one run, canaries that nobody may touch, images, and room for inputs that are files."""

    root: Path
    run: str

    def environment(self) -> dict[str, str]:
        """Return where libraries put what they keep."""
        places = {"HOME": "home", "TMPDIR": "tmp", "SELVIZ_CACHE": "cache", "MPLCONFIGDIR": "tmp/matplotlib",
                  "TORCHINDUCTOR_CACHE_DIR": "tmp/torch"}  # fmt: skip
        return {"OMP_NUM_THREADS": "1", **{name: str(self.root / place) for name, place in places.items()}}

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def canaries(self) -> Path:
        return self.root / "outside"

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"


class Surface:
    """What strangers send, and what selviz does with it."""

    refusals: tuple[type[Exception], ...] = (SelvizError,)

    def __init__(self, room: Room):
        self.room = room
        self.store = Store(room.store)

    def good(self):
        """Return an input that selviz takes."""
        raise NotImplementedError

    def make(self, dice: random.Random):
        raise NotImplementedError

    def lay_out(self, thing) -> None:
        """Do what is done before anybody watches, such as writing the file that is then read."""

    def use(self, thing):
        raise NotImplementedError


class Uploads(Surface):
    """Pictures that visitors try."""

    def __init__(self, room):
        super().__init__(room)
        from app.state import reads
        from app.views.unit import own_image

        os.environ["SELVIZ_DATA"] = str(room.store)
        self._own_image = own_image
        reads.network(room.run)
        self._whole = [pictures.encoded(form, 0, size) for form in pictures.FORMATS for size in (1, 12, 300)]

    def good(self):
        return self._whole[0]

    def make(self, dice):
        numbers = np.random.default_rng(dice.randrange(2**32))
        kind = dice.randrange(8)
        if kind == 0:
            return texts.word(dice, self.room.canaries).encode("utf-8", "replace")
        if kind == 1:
            return dice.randbytes(dice.randrange(2000))
        whole = dice.choice(self._whole)
        if kind == 2:
            return whole
        if kind == 3:  # a picture that says it is huge
            sides = (dice.choice([0, 1, 65535, 2**31 - 1, 2**32 - 1]).to_bytes(4, "big") for _ in range(2))
            return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"".join(sides) + whole[24:]
        if kind == 4:
            return dice.choice(self._whole) + dice.choice(self._whole)
        if kind == 5:  # other formats' code under a picture's name
            eps = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({self.room.canaries}/made-canary) (w) file\n"
            svg = (
                f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{self.room.canaries}/secret.png"/></svg>'
            )
            return dice.choice([eps, svg]).encode()
        for _ in range(dice.randrange(1, 4)):
            whole = pictures.mutated(whole, numbers) or b"x"
        return whole

    def use(self, thing):
        return self._own_image.response(self.room.run, "relu4", self._own_image.decode(thing))


class Queries(Surface):
    """SQL on the Data page."""

    def good(self):
        return "select * from units limit 3"

    def make(self, dice):
        return texts.query(dice, self.room.canaries)

    def use(self, thing):
        try:
            sql_process.run_sql_in_subprocess(self.store.path, thing, None, 100, 1)
        except SelvizError as refusal:  # what needs a process of its own is not asked in this one
            if "took longer" in str(refusal) or "of memory" in str(refusal):
                raise
        return self.store.sql(thing, limit=100, seconds=1).to_csv()  # where it is watched


class Zips(Surface):
    """Runs of other stores, and what a page does with one that came in."""

    def __init__(self, room):
        super().__init__(room)
        self._original = self.store.pack(room.run, room.inputs / "original.zip")

    def good(self):
        return self._original.read_bytes()

    def make(self, dice):
        return zips.bent(dice, self._original, self.room.canaries)

    def lay_out(self, thing):
        (self.room.inputs / "run.zip").write_bytes(thing)

    def use(self, thing):
        from selviz.runs.load import images_changed, load_network

        target = Store(self.room.inputs / "target")
        try:
            run = target.unpack(self.room.inputs / "run.zip")
            target.runs(), target.run(run), target.units(run), target.epochs(run)
            layer = target.layers(run)["layer"].iloc[0]
            target.class_means(run, layer, 0), target.thumbnails(run, [0]), target.sql("select * from units", limit=3)
            images_changed(target, run)
            load_network(target, run)
        finally:
            shutil.rmtree(target.path, ignore_errors=True)


class Checkpoints(Surface):
    """Weights of networks trained elsewhere."""

    def __init__(self, room):
        super().__init__(room)
        self._weights = {name: value.clone() for name, value in checkpoints.Tiny().state_dict().items()}

    def good(self):
        return checkpoints.bytes_of(self._weights)

    def make(self, dice):
        return checkpoints.mutated(dice, self._weights, self.room.canaries / "made-canary")

    def use(self, thing):
        from selviz.networks.checkpoints import load_weights

        file = self.room.inputs / "weights.pt"
        file.write_bytes(thing)
        load_weights(checkpoints.Tiny(), file)


class Networks(Surface):
    """Networks of other stores as lists of steps."""

    def __init__(self, room):
        super().__init__(room)
        from selviz.networks import graph_format, tracing
        from selviz.testing.toy import ToyNetwork, toy_dataset

        self._example = toy_dataset().example
        traced = tracing.trace(ToyNetwork().eval(), self._example)
        self._document, self._tensors = (
            json.loads(json.dumps(graph_format.graph_document(traced))),
            graph_format.tensors_of(traced),
        )

    def good(self):
        return self._document

    def make(self, dice):
        if dice.random() < 0.5:
            return networks.extreme(dice, self._document)
        return networks.bent(dice, self._document, self.room.canaries)

    def use(self, thing):
        from selviz.networks import first_run, graph_format

        traced = graph_format.rebuilt(thing, self._tensors, self._example)
        first_run.run(traced, self._example)


class Claims(Surface):
    """Claims of one's own in YAML."""

    def good(self):
        return texts.CLAIM.replace("RUN", self.room.run)

    def make(self, dice):
        return texts.claim(dice, self.room.canaries, self.room.run)

    def use(self, thing):
        from selviz.hypotheses import registry

        registry.preview(self.store, "own", {"yaml": thing})


class Folders(Surface):
    """Folders of images: names of classes and files, links, content."""

    def good(self):
        return None

    def make(self, dice):
        return dice.randrange(2**32)

    def lay_out(self, thing):
        with contextlib.suppress(OSError):  # two names that are one, or a link where a file was to be
            self._lay_out(thing)

    def _lay_out(self, thing):
        root, dice = self.room.root / "images", random.Random(thing)
        shutil.rmtree(root, ignore_errors=True)
        for name in ("ant", "bee") if thing is None else ():
            (root / name).mkdir(parents=True)
            for number in range(6):
                (root / name / f"{number}.png").write_bytes(pictures.encoded("PNG", number))
        if thing is not None:
            self._scatter(root, dice, thing)

    def use(self, thing):
        from selviz import datasets

        dataset = datasets.load(f"folder:{self.room.root / 'images'}", max_images=5 * ((thing or 0) % 2))
        json.dumps([dataset.class_names, dataset.origin])

    def _scatter(self, root, dice, thing):
        root.mkdir()
        pictures.scatter(root, np.random.default_rng(thing), self.room.canaries / "made-canary")
        for folder in [root, *filter(Path.is_dir, sorted(root.rglob("*")))][:6]:
            for _ in range(dice.randrange(3)):
                name = texts.word(dice, self.room.canaries).replace("/", "\u2215").replace("\0", "")[:60]
                entry = folder / (name.encode("utf-8", "replace").decode() or "x")
                if entry.exists() or entry.is_symlink():
                    continue
                match dice.randrange(4):
                    case 0:
                        entry.mkdir()
                        for number in range(6):
                            (entry / f"{number}.png").write_bytes(pictures.encoded("PNG", number))
                    case 1:
                        entry.with_name(f"{entry.name[:50]}.png").write_bytes(pictures.encoded("PNG"))
                    case 2:
                        entry.with_name(f"{entry.name[:50]}.png").symlink_to(self.room.canaries / "secret.png")
                    case 3:
                        entry.symlink_to(self.room.canaries)


class Calls(Surface):
    """Calls of the public Python API, as a notebook makes them."""

    METHODS = (
        "run layers units class_means images epochs unit activations ranks matrix thumbnails export pack run_path "
        "atlas atlas_classes robustness_units unit_metrics unit_map"
    ).split()

    def good(self):
        return "ablate", self.room.run, [{"relu4": [1]}]

    def make(self, dice):
        def value():
            return dice.choice(
                [
                    self.room.run,
                    "relu4",
                    3,
                    texts.word(dice, self.room.canaries),
                    texts.word(dice, self.room.canaries),
                    None,
                    -1,
                    10**30,
                    1.5,
                    float("nan"),
                    [],
                    [texts.word(dice, self.room.canaries)],
                    {"relu4": [dice.choice([0, -1, 10**30, "x"])]},
                    b"x",
                    True,
                ]
            )

        name = dice.choice(
            [
                *self.METHODS,
                *self.METHODS,
                "write_group",
                "read_group",
                "rename_group",
                "delete_group",
                "ablate",
                "hypothesis",
            ]
        )
        first = self.room.run if dice.random() < 0.5 else value()
        return name, first, [value() for _ in range(dice.randrange(4))]

    def use(self, thing):
        name, first, others = thing
        store = self.store
        if name == "write_group":
            write_group(
                store.path, first if isinstance(first, dict) else {"relu4": [1]}, str(first), *map(str, others[:1])
            )
        elif name in ("read_group", "rename_group", "delete_group"):
            {"read_group": read_group, "rename_group": rename_group, "delete_group": delete_group}[name](
                store.path, first, *([str(others)] if name == "rename_group" else [])
            )
        elif name == "ablate":
            from selviz.studies.ablation import run_ablation

            run_ablation(store, first, others[0] if others else {}, draws=0)
        elif name == "hypothesis":
            from selviz.hypotheses import registry

            registry.find(store, first)
        elif name in ("export", "pack"):  # these write where the caller says: here to the caller's own folder
            path = self.room.inputs / "exported"
            if name == "pack":
                store.pack(first, path)
            else:
                store.export(first, *(others[:1] or ["units"]), path)
        else:
            getattr(store, name)(first, *others)

    # A wrong type is a programming error, which Python's own exceptions tell.
    refusals = (SelvizError, TypeError, AttributeError)


SURFACES: dict[str, type[Surface]] = {
    "uploads": Uploads,
    "queries": Queries,
    "zips": Zips,
    "checkpoints": Checkpoints,
    "networks": Networks,
    "claims": Claims,
    "folders": Folders,
    "calls": Calls,
}
