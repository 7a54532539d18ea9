"""Bring a network that was trained elsewhere: `show()` draws the form, its layers before anything is captured, a job.

A checkpoint and a folder of images are taken from the folder that the server's owner allowed (`selviz serve
--allow-import FOLDER`) alone; a checkpoint can be uploaded too. Code of users comes from the command line only.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from selviz.errors import SelvizError
from selviz.store.files import write_bytes
from selviz.system.processes import environment
from selviz.system.write_access import ALLOW_IMPORT, read_only
from selviz.text import safe_text

from ...compute import jobs
from ...page import job_panels, tables
from ...state import reads
from . import panels

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt")
MAX_LISTED = 500  # files and folders of the allowed folder that are offered
TRIAL_S = 300.0  # for a network to be read
NETWORK = re.compile(r"[A-Za-z0-9_.:/-]{1,120}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,80}")


def allowed_folder() -> Path | None:
    """Return the folder that networks and images may be taken from; None where the owner allowed none."""
    folder = os.environ.get(ALLOW_IMPORT)
    return Path(folder).resolve() if folder and Path(folder).is_dir() else None


def show() -> None:
    """Draw the form, the layers of the network that is asked for, and the button that imports it."""
    folder = allowed_folder()
    st.markdown(
        "Choose a network by its name, its weights and the images to look at. Its layers are shown before anything is "
        "stored; then every unit's activation on every image is captured, and the run is there on all pages."
    )
    if folder is None or read_only():
        st.info(
            job_panels.READ_ONLY
            if read_only()
            else "The owner of this dashboard has not allowed imports from the browser: `selviz serve --allow-import "
            "FOLDER` allows the networks and images in a folder. In a shell:",
            icon=":material/lock:",
        )
        st.code(
            "selviz import --name NAME --model resnet20 --checkpoint FILE --dataset folder:FOLDER",
            language="bash",
            wrap_lines=True,
        )
        return
    arguments = _form(folder)
    if arguments is None:
        return
    options, name = arguments
    command = ["import", "--name", name, *options]
    if st.session_state.get("layers asked") == options:
        _layers(options)
    study = jobs.Study(reads.data(), "", "import", tuple(command[1:]))
    with st.container(horizontal=True):
        st.button("Show its layers", icon=":material/list:", key="import-layers", on_click=_ask, args=(options,))
        job_panels.begin_button("Import it", study, "import-start", primary=True)
    st.caption("The same in a shell:")
    st.code(study.shell(), language="bash", wrap_lines=True)


def _ask(options: list[str]) -> None:
    st.session_state["layers asked"] = options


def _form(folder: Path) -> tuple[list[str], str] | None:
    """Draw the fields; return the options of the command and the run's name, None where they make no import yet."""
    datasets, networks = panels.known()
    files, folders = _listed(folder)
    one, two = st.columns(2)
    name = one.text_input("Name of the run", key="import-name", max_chars=80, placeholder="my-network").strip()
    model = two.text_input(
        "Network", networks[0], key="import-model", max_chars=120,
        help=f"{', '.join(networks)}, or one of torchvision (torchvision:resnet18) or timm (timm:resnet18).",
    ).strip()  # fmt: skip
    uploaded = one.file_uploader("Checkpoint: upload it", [suffix[1:] for suffix in CHECKPOINTS], key="import-file")
    chosen = two.selectbox("or one of the server's", [None, *files], key="import-checkpoint",
                           format_func=lambda path: "none" if path is None else path)  # fmt: skip
    dataset = one.selectbox("Images", [*datasets, *(f"folder:{path}" for path in folders)], key="import-dataset")
    numbers = two.text_input("Mean and standard deviation", key="import-mean", placeholder="0.13 / 0.31",
                             help="Of its training, before and after a slash; empty: those of the images")  # fmt: skip
    try:
        return _checked(folder, name, model, uploaded, chosen, dataset, numbers)
    except SelvizError as error:
        st.caption(f":material/info: {safe_text.plain(str(error))}")
        return None


def _checked(
    folder: Path, name: str, model: str, uploaded: Any, chosen: str | None, dataset: str, numbers: str
) -> tuple[list[str], str]:
    """Return the options of `selviz import`, once each of them is one that a browser may ask for."""
    if not NAME.fullmatch(name):
        raise SelvizError("Give the run a name of letters, digits, dots and dashes.")
    if not NETWORK.fullmatch(model) or ".py" in model or Path(model).exists():
        raise SelvizError("Name a network that selviz, torchvision or timm has; code of yours is for the command line.")
    if uploaded is None and chosen is None:
        raise SelvizError("Choose a checkpoint.")
    checkpoint = _inside(folder, chosen) if chosen is not None else _kept(uploaded)
    options = ["--model", model, "--checkpoint", str(checkpoint)]
    kind, _, path = dataset.partition(":")
    options += ["--dataset", f"folder:{_inside(folder, path)}" if kind == "folder" and path else dataset]
    mean, _, std = (part.strip() for part in numbers.partition("/"))
    for option, text in (("--mean", mean), ("--std", std)):
        if text:
            if not re.fullmatch(r"[\d.,\s]{1,60}", text):
                raise SelvizError("Mean and standard deviation are numbers with commas between them.")
            options += [option, text.replace(" ", "")]
    return options, name


def _inside(folder: Path, path: str) -> Path:
    """Return a path below the allowed folder; links that lead out of it are refused."""
    found = (folder / path).resolve()
    if folder not in found.parents or not found.exists():
        raise SelvizError("That is not in the folder that the owner allowed.")
    return found


def _kept(uploaded: Any) -> Path:
    """Return the file of an uploaded checkpoint, kept under its content's hash so that the job finds it."""
    content = uploaded.getvalue()
    suffix = Path(uploaded.name).suffix.lower()
    if suffix not in CHECKPOINTS:
        raise SelvizError("A checkpoint is a file that ends in " + ", ".join(CHECKPOINTS) + ".")
    path = Path(reads.data()) / "uploads" / f"{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    if not path.exists():
        write_bytes(path, content)
    return path


@st.cache_data(ttl=30, max_entries=4, show_spinner=False)
def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Return the checkpoints and the folders of the allowed folder, two levels deep, relative to it."""
    files, folders = [], []
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if len(files) + len(folders) >= MAX_LISTED:
            break
        if path.is_dir():
            folders.append(str(path.relative_to(folder)))
        elif path.suffix.lower() in CHECKPOINTS:
            files.append(str(path.relative_to(folder)))
    return files, folders


@st.cache_data(max_entries=8, show_spinner="Reading the network ...")
def _read(data: str, options: tuple[str, ...]) -> tuple[dict[str, Any] | None, str]:
    """Return what `selviz import --dry-run` says of a network, or why it cannot be read; in a process of its own."""
    command = [sys.executable, "-m", "selviz", "import", "--dry-run", *options, "--data", data, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_S, env=environment())
    except subprocess.TimeoutExpired:
        return None, f"It could not be read within {TRIAL_S:.0f} s."
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        return None, lines[-1].removeprefix("selviz: ") if lines else "It could not be read."
    return json.loads(done.stdout), ""


def _layers(options: list[str]) -> None:
    """Draw the unit layers of the network, and what was left out."""
    found, reason = _read(reads.data(), tuple(options))
    if found is None:
        st.error("This network cannot be imported; nothing was stored.", icon=":material/error:")
        st.code(reason, language=None, wrap_lines=True)
        return
    layers = pd.DataFrame(found["layers"])
    st.markdown(
        f"**{len(layers)} unit layers, {int(layers['units'].sum()):,} units**; left out: {len(found['left_out'])}"
    )
    tables.table(layers)
    if found["left_out"]:
        st.dataframe(pd.DataFrame(found["left_out"]), hide_index=True)
