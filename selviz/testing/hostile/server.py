"""A dashboard that is watched, and strangers who ask it: `with serving(room) as (address, seen): await links(...)`."""

import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import duckdb
import websockets

from selviz.hypotheses.registry import register
from selviz.store import Store, write_group, write_images, write_json
from selviz.store.stage_files import make_record, record_path
from selviz.testing.dashboard import ROOT, answering, free_port
from selviz.testing.hostile.surfaces import Room
from selviz.testing.hostile.texts import CLAIM, address, word
from selviz.testing.hostile.watch import Watch
from selviz.testing.visitor import Visitor

MARKUP = ("<img src=x onerror=alert('canary')>", "![canary](http://canary.invalid/x.png)", "[canary](javascript:alert(1))",
          "<script>alert('canary')</script>")  # fmt: skip
PLAIN = "code plotly_chart arrow_data_frame bidi_component component_instance imgs text_area text_input selectbox multiselect".split()  # fmt: skip
MARKDOWN = re.compile(r"!\[canary\]\(http|\[canary\]\(javascript")
HTML = re.compile(r"<img src=x|<script>alert|<svg onload", re.I)
SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)|\\.", re.S)
PATIENCE = 60.0


@contextmanager
def serving(room: Room) -> Iterator[tuple[str, subprocess.Popen, Path]]:
    """Yield (address, process, the file of what was seen) of the dashboard over the room's store."""
    port, seen_file = free_port(), room.root / "seen.jsonl"
    command = [
        sys.executable,
        "-m",
        "selviz.testing.hostile.server",
        str(room.root),
        room.run,
        str(port),
        str(seen_file),
    ]
    settings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SELVIZ_DATA": str(room.store),
        "SELVIZ_NO_DEMO": "1",
        **room.environment(),
    }
    process = subprocess.Popen(
        command, cwd=room.root / "cwd", env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    where = f"http://127.0.0.1:{port}"
    with answering(process, f"{where}/_stcore/health"):
        yield where, process, seen_file


def make_hostile_store(room: Room) -> dict[str, list[str]]:
    """Add a run whose names of classes, layers, network and data set are markup, and a group and a claim with such
    names; gives what a real link may say."""
    store = Store(room.store)
    run, folder = "hostile-names", store.run_path("hostile-names")
    shutil.copytree(store.run_path(room.run), folder)
    about = json.loads((folder / "summary.json").read_text())
    classes = [f"{markup} {number}" for number, markup in enumerate((MARKUP * 4)[: len(about["classes"])])]
    labels = store.images(room.run)["label"]
    thumbnails = [next(iter(store.thumbnails(room.run, [0]).values()))] * len(labels)
    write_images(store.path, "hostile", thumbnails, [about["classes"].index(label) for label in labels], classes)
    about |= {"classes": classes, "fingerprint": "hostile", "model": MARKUP[0], "dataset": f"folder:/{MARKUP[2]}"}
    write_json(folder / "summary.json", about)
    write_json(folder / "config.json", {"dataset": about["dataset"], "model": about["model"], "seed": 0})
    file = folder / "capture.duckdb"
    with duckdb.connect(str(file)) as connection:
        names = connection.execute("select layer from layers order by layer").fetchall()
        for (layer,), markup in zip(names, MARKUP):
            connection.execute("update layers set name = ? where layer = ?", [markup, layer])
    write_json(record_path(file), make_record(file, "capture", {}, {}))
    write_group(store.path, {"relu4": [1, 2]}, MARKUP[2], room.run)
    text = CLAIM.replace("RUN", room.run).replace("In the last layer", f"'{MARKUP[2]} {MARKUP[1]}'".strip("'"))
    register(store, "own", {"yaml": text.replace("claim: ", "claim: '").replace("active.", "active.'")})
    hypotheses = store.hypotheses()["hypothesis"].tolist()
    return {"run": [room.run, run], "layer": ["relu1", "relu4", *MARKUP], "unit": ["0", "3"], "silence": ["relu4:1,5"],
            "hypothesis": hypotheses, "do": ["register", "one", "ledger"], "side": ["tables"]}  # fmt: skip


async def links(where: str, room: Room, seed: str, numbers: range, known: dict, seen_file) -> None:
    """Open hostile addresses, one after another in one visit; `told(number, sentences, seconds)` hears of each."""
    visitor = None
    for number in numbers:
        page, query = address(random.Random(f"{seed} links {number}"), room.canaries, known)
        started, seen = time.perf_counter(), []
        try:
            if visitor is None:
                visitor = await Visitor(where).__aenter__()
            await visitor.open(page, urlencode(query, errors="replace"), PATIENCE)
            seen += [f"shows {e.type}: {e.message[:200]}" for e in visitor.elements("exception")]
            seen += injected(visitor)
        except Exception as error:  # whatever ends the visit is the finding
            seen.append(f"ends the visit: {type(error).__name__} {error}"[:200])
            visitor = None
        seen_file(
            number,
            [f"{sentence} at {page}?{urlencode(query, errors='replace')[:300]}" for sentence in seen],
            time.perf_counter() - started,
        )
    if visitor is not None:
        await visitor.__aexit__()


def injected(visitor: Visitor) -> list[str]:
    """Return markup of a stranger that a page would draw as markup."""
    markup = []
    for kind in {drawn.element.WhichOneof("type") for drawn in visitor._drawn.values()} - {None, *PLAIN}:
        for element in visitor.elements(kind):
            for text in _strings(element):
                if kind == "html" or getattr(element, "allow_html", False):
                    if match := HTML.search(text):
                        markup.append(
                            f"draws {match[0]!r} in {kind}: {text[max(0, match.start() - 60) : match.end() + 60]!r}"
                        )
                elif match := MARKDOWN.search(SPAN.sub("", text)):
                    markup.append(f"draws {match[0]!r} in {kind}: {text[:160]!r}")
    return markup


def _strings(message) -> Iterator[str]:
    for descriptor, value in message.ListFields():
        values = value if descriptor.is_repeated else [value]
        if descriptor.type == descriptor.TYPE_STRING:
            yield from values
        elif descriptor.type == descriptor.TYPE_MESSAGE and not descriptor.message_type.GetOptions().map_entry:
            for one in values:
                yield from _strings(one)


PLACES = ("", "media", "component/plotly", "component/selviz.pictures", "static", "app/static", "_stcore/upload_file/a", "_stcore",
          "_stcore/bidi-components", "vendor", "oauth2callback", "auth/login", "health")  # fmt: skip


def ask(where: str, room: Room, secret: str, seed: str, number: int) -> list[str]:
    """Return one request with a hostile path, body and headers: a sentence for each thing that must not be."""
    dice = random.Random(f"{seed} paths {number}")
    text = word(dice, room.canaries)
    path = f"/{dice.choice(PLACES)}/{dice.choice([quote(text, errors='replace'), quote(quote(text, errors='replace')), text.encode('ascii', 'ignore').decode()])}"
    path = re.sub(r"[\x00-\x20\x7f]", "", path)[:4000]
    connection = http.client.HTTPConnection(urlsplit(where).netloc, timeout=PATIENCE)
    seen = []
    try:
        method = dice.choice(["GET", "GET", "GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "TRACE"])
        body = dice.randbytes(dice.choice([0, 10, 100_000])) if method in ("PUT", "POST") else None
        host = dice.choice([urlsplit(where).netloc, "canary.invalid"])
        connection.request(
            method, path, body, {"Origin": "http://canary.invalid", "Host": host, "X-Forwarded-For": "::1"}
        )
        answer = connection.getresponse()
        content = answer.read()
        if secret.encode() in content or b"root:x:0" in content:
            seen.append(f"tells the secret at {method} {path}")
        if answer.status >= 500:
            seen.append(f"answers {answer.status} to {method} {path[:200]}")
    except ConnectionResetError:
        pass  # refused before it was read
    except (OSError, http.client.HTTPException) as error:
        seen.append(f"does not answer {path[:200]} ({type(error).__name__})")
    finally:
        connection.close()
    return seen


async def babble(where: str, seed: str, numbers: range, seen_file) -> None:
    """Send messages over the WebSocket that are none, or of another origin."""
    for number in numbers:
        dice, seen, started = random.Random(f"{seed} messages {number}"), [], time.perf_counter()
        origin = dice.choice([None, "http://canary.invalid", "null"])
        try:
            async with websockets.connect(
                f"ws://{urlsplit(where).netloc}/_stcore/stream",
                subprotocols=["streamlit"],
                origin=origin,
                max_size=None,
            ) as socket:
                if origin is not None:
                    seen.append(f"takes a visitor from a page of {origin}")
                for _ in range(dice.randrange(1, 6)):
                    await socket.send(
                        dice.choice(
                            [dice.randbytes(dice.randrange(300)), "text", b"", b"\x0a" * 5000, b"\xff" * 100_000]
                        )
                    )
        except websockets.WebSocketException:
            pass
        except OSError as error:
            seen.append(f"is not there any more ({error})")
        seen_file(number, seen, time.perf_counter() - started)


def main(root: str, run: str, port: str, seen_file: str) -> None:
    """Run the watched dashboard itself; each thing that must not be is a line in the file `seen_file`."""
    room = Room(Path(root), run)
    handle = os.open(seen_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    watch = Watch(room.canaries, sockets=True)
    watch.allow([room.root / "cwd", room.root / "home"], [room.store, room.root / "cache", room.root / "tmp"])
    from streamlit.web import cli

    watch.arm(lambda sentence: os.write(handle, (json.dumps(sentence) + "\n").encode()))
    sys.argv = ["streamlit", "run", str(ROOT / "app" / "serve.py"), "--server.port", port, "--server.address", "127.0.0.1",
                "--server.headless", "true", "--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false",
                "--logger.hideWelcomeMessage", "true"]  # fmt: skip
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
