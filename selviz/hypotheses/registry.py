"""Register, then test: `key = register(store, "necessary", {...})["hypothesis"]`, then `run_test(store, key)`.

A registration is written before anything is computed and fixes all that decides the verdict. It and what follows are
records in one chain of files that never change (`selviz.store.ledger`); hypotheses are called by the first digits of
their registration's hash. Tests that were begun, or given up, stay in the ledger and count.
"""

import platform
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from selviz import __version__, statistics
from selviz.errors import SelvizError, unknown
from selviz.hypotheses.decision import Part, confidence, decide
from selviz.hypotheses.power import ENOUGH, power
from selviz.hypotheses.template import Work
from selviz.hypotheses.templates import TEMPLATES
from selviz.store import Store, append, read_chain, read_json
from selviz.store.files import WEIGHTS, checksum
from selviz.store.ledger import FOLDER, KEY, hypotheses
from selviz.system.locks import Claim
from selviz.system.progress import Report, silent

ALPHA = 0.05
MOST_PLANNED = 1000
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "captum", "duckdb")
RULE = (
    "supported: every part has p at most the corrected level and none is refuted; refuted: the interval of some part "
    "lies wholly below the smallest effect that matters (of a claim that a difference is small: wholly beyond the "
    "margin); inconclusive: everything else"
)


def register(store: Store, template: str, asked: Mapping, study: str = "", planned: int = 0, seed: int = 0) -> dict:
    """Writes the hypothesis before anything is computed; returns its record, whose "hypothesis" is its key.

    `study` names the family and `planned` how many hypotheses it will have: the level is 0.05 / planned. Without a
    study the hypothesis is a family of its own. SelvizError as `settings.resolve`, and where the study is full.
    """
    content = preview(store, template, asked, study, planned, seed)

    def make(records: list[dict]) -> dict:
        content["family"] = _family(records, study, planned)
        repeated = _repeated(records, content)
        return {**content, "confirmatory": content["confirmatory"] and not repeated, "repeats": repeated}

    return _keyed(append(store.path, make))


def preview(store: Store, template: str, asked: Mapping, study: str = "", planned: int = 0, seed: int = 0) -> dict:
    """What `register` would write: statement, sample, level, power, confirmatory or exploratory and why."""
    from selviz.hypotheses.settings import resolve

    records = read_chain(store.path).records
    family = _family(records, study, planned)
    level = ALPHA / family["planned"]
    found = resolve(store, template, asked, level, seed)
    confirmatory = bool(found.chosen) or not found.stored
    return {
        "kind": "registered",
        "template": template,
        **TEMPLATES[template].words(found.settings),
        "settings": found.settings,
        "asked": {name: value for name, value in asked.items() if value not in (None, "", [], ())},
        "family": family,
        "level": level,
        "confidence": confidence(level),
        "rule": RULE,
        "confirmatory": confirmatory,
        "why": _why(found.stored, found.chosen),
        "power": power(template, found.settings, found.facts),
        "runs": [_fingerprint(store, run) for run in found.runs],
        "selviz": __version__,
        "versions": _versions(),
    }


def run_test(store: Store, key: str, report: Report = silent) -> dict:
    """Computes and writes the verdict of a registered hypothesis; one that has a verdict is returned as it is.

    What was cut off goes on with the same call. SelvizError where a run is missing, changed or not finished, where the
    hypothesis was given up, and where another process is at it.
    """
    registered, result = find(store, key)
    if result is not None and result["kind"] == "result":
        return _keyed(result)
    if result is not None and result["kind"] == "abandoned":
        raise SelvizError(f"Hypothesis {registered['hypothesis']} was given up ({result['reason']}); register it anew.")
    key = registered["hypothesis"]
    folder = store.path / FOLDER / "partial" / key
    check_runs(store, registered)
    with Claim(folder.with_suffix(".claim"), f"hypothesis {key}"):
        _, result = find(store, key)  # another process may have finished it meanwhile
        if result is None:
            begun = [r for r in read_chain(store.path).records if r["kind"] == "begun" and r[KEY] == key]
            if not begun:
                append(store.path, lambda records: {"kind": "begun", KEY: key})
            outcome = _outcome(store, registered, folder, report)
            result = append(store.path, lambda records: {"kind": "result", KEY: key, **outcome})
        shutil.rmtree(folder, ignore_errors=True)
    return _keyed(result)


def repeat(store: Store, key: str, report: Report = silent) -> dict:
    """Computes a tested hypothesis anew, from nothing, and compares: {"same", "differences"}; nothing is written."""
    registered, result = find(store, key)
    if result is None or result["kind"] != "result":
        raise SelvizError(f"Hypothesis {key} has no verdict yet: selviz hypothesis test {key}")
    check_runs(store, registered)
    with tempfile.TemporaryDirectory() as folder:
        outcome = _outcome(store, registered, Path(folder), report)
    differences = [name for name in ("verdict", "p", "parts", "details") if outcome[name] != result[name]]
    return {"hypothesis": registered["hypothesis"], "same": not differences, "differences": differences}


def abandon(store: Store, key: str, reason: str) -> dict:
    """Gives a hypothesis up before its verdict, for a reason; it stays in the ledger and counts in its family."""
    reason = " ".join(reason.split())[:300]
    if not reason:
        raise SelvizError("Say why the hypothesis is given up: --abandon REASON.")
    key = find(store, key)[0]["hypothesis"]

    def make(records: list[dict]) -> dict:
        if any(r["kind"] in ("result", "abandoned") and r.get(KEY) == key for r in records):
            raise SelvizError(f"Hypothesis {key} is decided already; what is in the ledger stays.")
        return {"kind": "abandoned", KEY: key, "reason": reason}

    return _keyed(append(store.path, make))


def find(store: Store, key: str) -> tuple[dict, dict | None]:
    """(the registration, the result or the record that gave it up, or None) of a key or its beginning."""
    records = read_chain(store.path).records
    registered = [_keyed(record) for record in records if record.get("kind") == "registered"]
    fits = [record for record in registered if str(key) and record["hypothesis"].startswith(str(key))]
    if len(fits) != 1:
        known = [record["hypothesis"] for record in registered]
        raise unknown("hypothesis", key, known, "See: selviz hypothesis list")
    ends = [r for r in records if r.get("kind") in ("result", "abandoned") and r.get(KEY) == fits[0]["hypothesis"]]
    return fits[0], (ends[0] if ends else None)


def ledger(store: Store) -> pd.DataFrame:
    """One row a hypothesis, in order: state, verdict, p, its level, effect with interval, and as a view of today `holm`
    and `bh`: p adjusted over every hypothesis of the store whose test was begun (without a p: 1), never the verdict.

    `missing` names runs that were registered and are gone or changed. `.attrs`: head and problems of the chain.
    """
    chain = read_chain(store.path)
    table = hypotheses(store.path)
    p = table["p"].astype(float).where(table["state"] != "begun", 1.0)
    p = p.where((table["state"] != "abandoned") | ~table["begun"], 1.0)
    table["holm"], table["bh"] = statistics.holm(p), statistics.benjamini_hochberg(p)
    registered = {_keyed(r)["hypothesis"]: r for r in chain.records if r.get("kind") == "registered"}
    table["missing"] = ["; ".join(changed_runs(store, registered[key])) for key in table["hypothesis"]]
    table.attrs.update(head=chain.head, problems=chain.problems)
    return table


def check_runs(store: Store, registered: Mapping) -> None:
    """SelvizError that names a run which is gone, changed or not finished since the registration."""
    if problems := changed_runs(store, registered):
        raise SelvizError(f"Hypothesis {registered['hypothesis']} cannot be tested: {'; '.join(problems)}.")
    for entry in registered["runs"]:
        store.run(entry["run"])  # says how to make one that is not there yet


def changed_runs(store: Store, registered: Mapping) -> list[str]:
    """A sentence for each run that was in the store at registration, and is gone or is another one now."""
    problems = []
    for entry in registered["runs"]:
        if entry["state"] != "finished":
            continue
        now = _fingerprint(store, entry["run"])
        if now["state"] != "finished":
            problems.append(f"run {entry['run']} was deleted after registration")
        elif (now["weights"], now["fingerprint"]) != (entry["weights"], entry["fingerprint"]):
            problems.append(f"run {entry['run']} was changed after registration")
    return problems


def _outcome(store: Store, registered: Mapping, folder: Path, report) -> dict:
    kind, settings = TEMPLATES[registered["template"]], registered["settings"]
    sample = kind.measure(store, settings, Work(folder, report))
    try:
        parts = kind.judge(sample, settings)
    except ValueError as error:
        raise SelvizError(f"The claim cannot be judged on these data: {error}.") from error
    verdict, p = decide(parts, settings["level"])
    return {
        "verdict": verdict,
        "p": p,
        "parts": [_plain({**part._asdict(), "null": [float(f"{value:.6g}") for value in part.null]}) for part in parts],
        "details": _plain(kind.details(settings, sample, parts)),
        "checklist": _checklist(registered, parts),
        "selviz": __version__,
        "versions": _versions(),
    }


def _checklist(registered: Mapping, parts: list[Part]) -> list[dict]:
    """What METHODS asks of a falsifiable claim, and whether it was done here; None where it does not apply."""
    kind = TEMPLATES[registered["template"]].about
    entries = [
        ("claim, quantity and direction stated before looking", registered["confirmatory"], registered["why"]),
        ("the observation that would refute it is named", True, registered["refuted"]),
        ("quantified", True, registered["quantity"]),
        ("the whole distribution is shown", True, f"{sum(len(part.null) for part in parts):,} values of the null"),
        ("baselines", True, kind.baselines),
        ("an intervention, and which claim it can carry", bool(kind.intervenes), kind.intervenes or "none"),
        ("the distributed alternative is tested", kind.distributed, "by this very claim" if kind.distributed else ""),
        ("replicated over seeds, networks or data sets", kind.replicates, "" if kind.replicates else "one network"),
        ("corrected for a family that was fixed beforehand", True, f"{registered['family']['planned']} planned"),
        ("attribution maps are checked against random weights", True if kind.saliency else None, ""),
    ]
    return [{"item": item, "done": done, "how": how} for item, done, how in entries]


def _family(records: list[dict], study: str, planned: int) -> dict:
    """{"name", "planned", "number"} of the next hypothesis of a study; SelvizError where there is no room for it."""
    study = " ".join(str(study or "").split())
    if len(study) > 80:
        raise SelvizError("The name of a study has at most 80 characters.")
    if not study:
        if planned not in (0, 1):
            raise SelvizError(f"{planned} hypotheses are planned for a study without a name; name it with --study.")
        return {"name": "", "planned": 1, "number": 1}
    members = [r for r in records if r.get("kind") == "registered" and r["family"]["name"] == study]
    fixed = members[0]["family"]["planned"] if members else planned
    if not members and not 1 <= planned <= MOST_PLANNED:
        raise SelvizError(
            f"A new study needs the number of hypotheses that it will have, 1 to {MOST_PLANNED}: --study '{study}' "
            f"--planned 5; the level of each is {ALPHA} divided by it."
        )
    if planned not in (0, fixed):
        raise SelvizError(f"The study {study!r} was begun with {fixed} planned hypotheses, and that cannot change.")
    if len(members) >= fixed:
        raise SelvizError(f"The study {study!r} has all of its {fixed} hypotheses; name a new one.")
    return {"name": study, "planned": fixed, "number": len(members) + 1}


def _repeated(records: list[dict], content: Mapping) -> str:
    """The key of an earlier hypothesis on the same quantity that has a verdict; "" if there is none."""

    def quantity(record: Mapping) -> dict:
        left_out = ("level", "smallest", "seed", "permutations", "draws")
        return {name: value for name, value in record["settings"].items() if name not in left_out}

    done = {r[KEY] for r in records if r.get("kind") == "result"}
    for record in records:
        if record.get("kind") == "registered" and record["template"] == content["template"]:
            key = _keyed(record)["hypothesis"]
            if key in done and quantity(record) == quantity(content):
                return key
    return ""


def _why(stored: list[str], chosen: str) -> str:
    if chosen:
        return f"chosen on fold 0: {chosen}; the test uses fold 1, which chose nothing"
    if stored:
        return f"the measured quantity was in the store at registration: {stored[0]}" + (
            f" and {len(stored) - 1} more" if len(stored) > 1 else ""
        )
    return "the measured quantity was not in the store at registration"


def _fingerprint(store: Store, run: str) -> dict:
    """What tells that a run is the same one later: its images and its weights."""
    folder = store.run_path(run)
    try:
        summary = read_json(folder / "summary.json")
    except SelvizError:
        summary = None
    if not isinstance(summary, dict):
        return {"run": run, "state": "planned", "fingerprint": None, "weights": None}
    try:
        weights = checksum(folder / WEIGHTS)
    except OSError:
        weights = None
    return {"run": run, "state": "finished", "fingerprint": summary.get("fingerprint"), "weights": weights}


def _keyed(record: Mapping) -> dict:
    return {**record, KEY: record.get(KEY) or record["hash"][:10]}


def _versions() -> dict:
    import torch

    return {
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        **{n: version(n) for n in PACKAGES},
    }


def _plain(value):
    """As it comes back from JSON, so that a stored and a new outcome can be compared."""
    import json

    from selviz.text.tables import plain

    return json.loads(json.dumps(plain(value)))


def new_study(name: str) -> str:
    """A name for a study that no other has: the given one with a random ending."""
    return f"{name} {secrets.token_hex(3)}"


def told_power(found: Mapping) -> str:
    """The power in words, and a warning where the test would most likely not tell."""
    share = f"{100 * found['power']:.0f} % of {found['draws']} simulated tests"
    if found["effect"]:
        text = f"If the claim is true with an effect of {found['effect']:g}, it is supported in {share}."
    else:
        text = f"If there is no difference at all, the claim is supported in {share}."
    source = "assumed values" if found["assumed"] else "values of the store"
    text += f" Simulated from {source}: {found['told']}."
    if found["power"] < ENOUGH:
        text += (
            f" That is below {100 * ENOUGH:.0f} %: this test may well not detect an effect of this size, and an "
            "inconclusive verdict would say little."
        )
    return text
