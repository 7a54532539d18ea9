"""A run as a static site, to give away: `publish(store, run, "site")`.

Plain files that open from a disk and from any web host: the board, a page for each unit with its images, tuning and the
pixels that its top images owe their activation to, and what silencing each single unit does, exactly (the run's atlas).
All texts are escaped, nothing is fetched from elsewhere.
"""

import html
import io
import json
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from selviz import __version__, palette
from selviz.config import short_name
from selviz.errors import SelvizError
from selviz.publishing import board as boards
from selviz.publishing.citation import citation
from selviz.store import Store
from selviz.store.files import writing_outside
from selviz.system.durable_files import move_into_place, rename
from selviz.system.listing import walk
from selviz.text import numbers

TEMPLATES = Path(__file__).with_name("templates")
MARK = "selviz-site.json"  # what a published site has at its top
TOP, LEAST = 12, 6  # images on a unit's page
LOSSLESS_SIDE = 48  # pixels up to which images are published as they are stored
QUALITY = 90  # of the others, as WebP
POLICY = (
    "default-src 'none'; img-src 'self' data: file:; style-src 'self' 'unsafe-inline' file:; script-src 'unsafe-inline'"
)

Attribute = Callable[[str, int, list[int]], "list[bytes]"]


class Published(NamedTuple):
    """What was written."""

    folder: Path
    files: int
    bytes: int
    units: int


@dataclass(frozen=True)
class Effects:
    """What silencing each single unit does, in numbers of images, so that accuracies follow from them exactly."""

    images: np.ndarray  # of each class [C]
    right: np.ndarray  # of these, right with all units [C]
    change: np.ndarray  # images more that are right without a unit [U, C]

    def before(self) -> tuple[float, list[float | None]]:
        """Return the accuracy with all units, 0..1, and that of each class, None for one without images."""
        return self._shares(self.right)

    def after(self, position: int) -> tuple[float, list[float | None]]:
        """Return the same without the unit at this position."""
        return self._shares(self.right + self.change[position])

    def _shares(self, right: np.ndarray) -> tuple[float, list[float | None]]:
        by_class = [int(n) / int(of) if of else None for n, of in zip(right, self.images)]
        return int(right.sum()) / int(self.images.sum()), by_class

    def model(self) -> dict[str, str]:
        """Return them as the first page takes them: of `change`, what is not 0, unit by unit."""
        units, classes = np.nonzero(self.change)
        starts = np.searchsorted(units, np.arange(len(self.change) + 1))
        return {
            "images": boards.encoded(self.images, np.int32),
            "right": boards.encoded(self.right, np.int32),
            "starts": boards.encoded(starts, np.int32),
            "classes": boards.encoded(classes, np.uint16),
            "changes": boards.encoded(self.change[units, classes], np.int32),
        }


@dataclass(frozen=True)
class _Site:
    """All that the pages of a site share."""

    store: Store
    run: str
    about: Mapping[str, Any]
    board: boards.Board
    units: pd.DataFrame
    effects: Effects | None  # in the order of units
    images: pd.DataFrame
    citation: str
    suffix: str  # of the images' files: small ones stay as they are stored, photographs take a quarter of a PNG

    @property
    def hues(self) -> list[str]:
        """Return the color of each class."""
        hues = palette.CLASSES[False]
        return [
            hues[c] if len(self.board.classes) <= len(hues) else palette.MANY[False]
            for c in range(len(self.board.classes))
        ]


def publish(
    store: Store,
    run: str,
    folder: str | Path,
    attribute: Attribute | None = None,
    on_progress: Callable[[dict[str, Any]], object] = lambda message: None,
) -> Published:
    """Write the site of a run to `folder`, which must be new, empty, or an older site; return what was written.

    `attribute(layer, unit, images)` makes a WebP picture for each image, where attributions are wanted. A site appears
    as a whole: it is written next to its place under another name and then moved.
    """
    final = Path(folder)
    if final.exists() and (not final.is_dir() or (any(final.iterdir()) and not (final / MARK).exists())):
        raise SelvizError(f"{final} is there already and is no site of selviz; name a new folder with --to FOLDER.")
    site = _read(store, run)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    older = temporary.with_name(f"{temporary.name}.older")
    try:
        with writing_outside(final):
            temporary.mkdir(parents=True)
            _write(site, temporary, attribute, on_progress)
            files = [Path(base) / name for base, _, names in walk(temporary) for name in names]
            size = sum(path.stat().st_size for path in files)
            if final.exists():
                rename(final, older)
            move_into_place(temporary, final)
    finally:
        if older.exists() and not final.exists():
            rename(older, final)
        for leftover in (temporary, older):
            shutil.rmtree(leftover, ignore_errors=True)
    return Published(final, len(files), size, len(site.units))


def _read(store: Store, run: str) -> _Site:
    board, units = boards.read_board(store, run), store.units(run)
    effects = _read_effects(store, run, units, len(board.classes))
    images = store.images(run)
    first = int(images["image"].iloc[0])
    side = max(Image.open(io.BytesIO(store.thumbnails(run, [first])[first])).size)
    suffix = ".png" if side <= LOSSLESS_SIDE else ".webp"
    return _Site(store, run, store.run(run), board, units, effects, images, citation(), suffix)


def _smaller(png: bytes) -> bytes:
    """Return a stored picture as WebP."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()


def _read_effects(store: Store, run: str, units: pd.DataFrame, classes: int) -> Effects | None:
    """Return the run's atlas, None where it has none."""
    images, right = np.zeros(classes, dtype=np.int64), np.zeros(classes, dtype=np.int64)
    change = np.zeros((len(units), classes), dtype=np.int32)
    start = 0
    for layer, part in units.groupby("layer", sort=False):
        try:
            table = store.atlas_classes(run, str(layer))
        except SelvizError:
            return None
        at = table["class_index"].to_numpy()
        images[at] = table["images"]
        right[at] = (table["before"] * table["images"]).round().astype(int)
        change[start + table["unit"].to_numpy(), at] = table["gained"] - table["lost"]
        start += len(part)
    return Effects(images, right, change)


def _write(
    site: _Site, folder: Path, attribute: Attribute | None, on_progress: Callable[[dict[str, Any]], object]
) -> None:
    (folder / "units").mkdir()
    (folder / "images").mkdir()
    style = (TEMPLATES / "site.css").read_text(encoding="utf-8")
    (folder / "site.css").write_text(style, encoding="utf-8")
    (folder / "index.html").write_text(_index(site, style), encoding="utf-8")
    pictured: set[int] = set()
    for layer, part in site.units.groupby("layer", sort=False):
        matrix = site.store.matrix(site.run, str(layer))
        means = site.store.tuning(site.run, str(layer))
        for position, row in part.iterrows():
            values = matrix[:, int(row["unit"])]
            page, shown = _unit_page(site, int(str(position)), row, values, means[int(row["unit"])], attribute, folder)
            (folder / "units" / _file(str(layer), int(row["unit"]))).write_text(page, encoding="utf-8")
            pictured |= shown
        on_progress({"run": site.run, "stage": "publish", "done": int(part.index[-1]) + 1, "of": len(site.units)})
    for image, data in site.store.thumbnails(site.run, sorted(pictured)).items():
        (folder / "images" / f"{image}{site.suffix}").write_bytes(data if site.suffix == ".png" else _smaller(data))
    mark = {"selviz": __version__, "run": site.run, "units": len(site.units), "about": _facts(site)}
    (folder / MARK).write_text(json.dumps(mark, indent=1, default=str), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------- the first page


def _index(site: _Site, style: str) -> str:
    about, model = site.about, site.board.model()
    before = boards.class_accuracy(site.images, len(site.board.classes))
    right = float((site.images["label_index"] == site.images["prediction_index"]).mean())
    names = list(zip(site.units["layer"], site.units["unit"].astype(int)))
    atlas = site.effects.model() if site.effects is not None else None
    touch = "Click one to silence it." if atlas else "This run has no atlas, so nothing can be silenced here."
    title = f"{about['model']} on {short_name(str(about['dataset']))}"
    alpha = about.get("alpha")
    trained = "trained elsewhere" if numbers.missing(alpha) else f"trained with alpha {numbers.alpha(alpha)}"
    return fill(
        "index.html",
        policy=POLICY,
        title=escape(title),
        intro=escape(
            f"What single units of this network respond to, and what breaks without them. {title}, {trained}: "
            f"{len(names):,} units, accuracy {numbers.percent(right)} on {len(site.images):,} images."
        ),
        first=escape(touch),
        how=escape(touch),
        count=f"{len(names):,}",
        table=_unit_table(site),
        provenance=_facts_html(_facts(site)),
        citation=escape(site.citation),
        site_css=style,
        board_css=boards.STYLE.read_text(encoding="utf-8"),
        board_js=boards.script(),
        model=script_json(model),
        atlas=script_json(atlas),
        before=script_json([None if np.isnan(value) else float(value) for value in before]),
        accuracy=script_json(right),
        images=f"{len(site.images):,}",
        pages=script_json({f"{layer}:{unit}": "units/" + quote(_file(layer, unit)) for layer, unit in names}),
    )


def _unit_table(site: _Site) -> str:
    rows = []
    for row in site.units.to_dict("records"):
        name = f"{row['layer']}:{int(row['unit'])}"
        link = "units/" + quote(_file(row["layer"], int(row["unit"])))
        prefers = "dead" if row["dead"] else str(row["preferred_class"])
        rows.append(
            f'<tr><td><a href="{escape(link)}">{escape(name)}</a></td><td>{escape(prefers)}</td>'
            f"<td>{numbers.si(row['si'])}</td><td>{numbers.si(row['null_p95'])}</td></tr>"
        )
    head = "<tr><th>unit</th><th>prefers</th><th>SI</th><th>null 95 %</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _facts(site: _Site) -> dict[str, str]:
    """Return where the numbers come from."""
    about = site.about
    facts = {
        name: str(about[name])
        for name in ("run", "dataset", "model", "alpha", "seed", "epochs", "created")
        if name in about
    }
    facts["selviz"] = __version__
    for name, checksum in dict(about.get("files", {})).items():
        facts[f"SHA-256 of {name}"] = str(checksum.get("sha256", "") if isinstance(checksum, dict) else checksum)
    return {name: value for name, value in facts.items() if value not in ("None", "nan", "")}


def _facts_html(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f'<dl class="facts">{rows}</dl>'


# -------------------------------------------------------------------------------------------------------- a unit's page


def _unit_page(
    site: _Site,
    position: int,
    row: pd.Series,
    values: np.ndarray,
    means: np.ndarray,
    attribute: Attribute | None,
    folder: Path,
) -> tuple[str, set[int]]:
    """Return the page of a unit, and the images that it shows."""
    layer, unit, dead = str(row["layer"]), int(row["unit"]), bool(row["dead"])
    order = np.argsort(-values, kind="stable")
    top, least = order[:TOP].tolist(), order[::-1][:LEAST].tolist()
    every = list(zip(site.units["layer"], site.units["unit"].astype(int)))
    steps = "".join(
        f'<a href="{escape(quote(_file(*every[there])))}">{word}</a>'
        for word, there in (("Previous unit", position - 1), ("Next unit", position + 1))
        if 0 <= there < len(every)
    )
    facts = {
        "SI": f"{numbers.si(row['si'])}, with shuffled labels {numbers.si(row['null_mean'])} on average, "
        f"{numbers.si(row['null_p95'])} once in twenty",
        "preferred class": "none: it is dead" if dead else str(row["preferred_class"]),
        "mean activation": numbers.number(float(row["mean_activation"])),
        "largest activation": numbers.number(float(row["max_activation"])),
        "zero on": numbers.percent(float(row["zero_share"])) + " of the images",
    }
    page = fill(
        "unit.html",
        policy=POLICY,
        title=escape(f"Unit {unit} of {layer}"),
        steps=steps,
        facts=_facts_html(facts),
        tuning=_bars(site, None, means, lambda value: numbers.number(float(value))),
        top="".join(_figure(site, image, values) for image in top),
        top_words="Under each image: its class, what the network takes it for where that is wrong, and the activation.",
        attribution="" if dead else _attribution(site, layer, unit, top[:3], attribute, folder),
        least="".join(_figure(site, image, values) for image in least),
        effect=_effect(site, position),
        citation=escape(site.citation),
    )
    return page, {*top, *least}


def _figure(site: _Site, image: int, values: np.ndarray) -> str:
    row = site.images.iloc[image]
    wrong = row["label_index"] != row["prediction_index"]
    words = str(row["label"]) + (f", taken for {row['prediction']}" if wrong else "")
    hue = site.hues[int(row["label_index"])]
    return (
        f'<figure class="{"wrong" if wrong else ""}" style="--hue:{hue}">'
        f'<img loading="lazy" alt="{escape(f"image {image}, class {words}")}" '
        f'src="../images/{int(row["image"])}{site.suffix}">'
        f"<figcaption>{escape(words)}<br>{numbers.number(float(values[image]))}</figcaption></figure>"
    )


def _bars(site: _Site, before: np.ndarray | None, after: np.ndarray, told: Callable[[float], str]) -> str:
    """Return a bar per class, its former height outlined where there is one."""
    both = np.abs(np.concatenate([after, before if before is not None else after]))
    largest = max(float(np.nanmax(both)) if np.isfinite(both).any() else 0.0, 1e-12)
    lines = []
    for number, name in enumerate(site.board.classes):
        value, hue = float(after[number]), site.hues[number]
        outline = ""
        if before is not None and np.isfinite(before[number]):
            outline = f'<i style="width:{100 * abs(before[number]) / largest:.1f}%;border:1.5px solid {hue}"></i>'
        fill_width = 100 * abs(value) / largest if np.isfinite(value) else 0.0
        lines.append(
            f'<div class="bar"><span>{escape(name)}</span><span class="track">{outline}'
            f'<i style="width:{fill_width:.1f}%;background:{hue}"></i></span>'
            f"<span>{told(value) if np.isfinite(value) else '–'}</span></div>"
        )
    return "".join(lines)


def _effect(site: _Site, position: int) -> str:
    """Return what silencing the unit alone does, exactly."""
    if site.effects is None:
        return ""
    (was, before), (now, after) = site.effects.before(), site.effects.after(position)
    return (
        "<h2>What breaks without it</h2>"
        f"<p>Accuracy {numbers.percent(was)} → <b>{numbers.percent(now)}</b> "
        f"({numbers.points(now - was)}), measured exactly on {int(site.effects.images.sum()):,} images.</p>"
        + _bars(site, np.array(before, dtype=float), np.array(after, dtype=float), numbers.percent)
        + '<p class="small">Accuracy of each class; outlined: with the unit, filled: without it.</p>'
    )


def _attribution(
    site: _Site, layer: str, unit: int, images: list[int], attribute: Attribute | None, folder: Path
) -> str:
    """Write the attributions of a unit's top images, and return the part of its page that shows them."""
    if attribute is None:
        return ""
    figures = []
    for image, data in zip(images, attribute(layer, unit, images)):
        name = f"{Path(_file(layer, unit)).stem}-{image}.webp"
        (folder / "units" / name).write_bytes(data)
        words = escape(f"pixels of image {image} that raise this unit")
        figures.append(f'<figure><img loading="lazy" alt="{words}" src="{escape(quote(name))}"></figure>')
    return (
        f'<h2>Which pixels it comes from</h2><div class="images">{"".join(figures)}</div>'
        '<p class="small">Gradient times input of this unit on its top images: what raises it, over the image '
        "in gray. It may not show what was learned: see Adebayo et al. 2018.</p>"
    )


# ------------------------------------------------------------------------------------------------------------ templates


def fill(template: str, **values: str) -> str:
    """Return a template with each {{name}} replaced by its value, once; values are not looked into."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], text)


def escape(text: str) -> str:
    """Return text as HTML shows it, in an attribute too."""
    return html.escape(str(text), quote=True)


def script_json(value: object) -> str:
    """Return a value as JSON that may stand in a <script>: no `<`, and no line ends that JavaScript alone knows."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(layer: str, unit: int) -> str:
    """Return the file name of a unit's page: letters, digits and dots alone, however a layer is called."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", lambda match: f"-{ord(match[0]):x}-", layer)
    return f"{safe}-{unit}.html"
