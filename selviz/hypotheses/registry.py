"""Register, then test: `key = register(store, "necessary", {...})["hypothesis"]`, then `run_test(store, key)`.

A registration is written before anything is computed and fixes all that decides the verdict. It and what follows are
records in one chain of files that never change (`selviz.store.ledger`); hypotheses are called by the first digits of
their registration's hash. Tests that were begun, or given up, stay in the ledger and count.
"""

import json
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from selviz import __version__
from selviz.errors import SelvizError, unknown
from selviz.hypotheses import claim_families, option_parsing, run_identity, stored_values
from selviz.hypotheses.decision import RULE, RULES, Part, confidence, decide
from selviz.hypotheses.power import power
from selviz.hypotheses.samples import SEALED
from selviz.hypotheses.template import Resolved, Work
from selviz.hypotheses.templates import TEMPLATES
from selviz.store import Store, append, read_chain, read_json
from selviz.store.ledger import FOLDER, KEY, hypotheses
from selviz.system.locks import Claim
from selviz.system.progress import Report, silent

ALPHA = 0.05
MAX_PLANNED = 1000
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "captum", "duckdb")  # captum is an extra

Record = dict[str, Any]


def register(
    store: Store, template: str, asked: Mapping[str, Any], study: str = "", planned: int = 0, seed: int = 0
) -> Record:
    """Write the hypothesis before anything is computed; return its record, whose "hypothesis" is its key.

    `study` names the family and `planned` how many hypotheses it will have: the level is 0.05 / planned. Without a
    study the hypothesis is tested at 0.05, and reported beside all others like it. SelvizError as `resolve`, and where
    the study is full.
    """
    content = preview(store, template, asked, study, planned, seed)

    def make(records: list[Record]) -> Record:
        return {**content, **_standing(records, content), "family": _study(records, study, planned)}

    return _keyed(append(store.path, make))


def preview(
    store: Store, template: str, asked: Mapping[str, Any], study: str = "", planned: int = 0, seed: int = 0
) -> Record:
    """Return what `register` would write: statement, sample, level, power, confirmatory or exploratory and why."""
    records = read_chain(store.path).records
    family = _study(records, study, planned)
    level = ALPHA / family["planned"]
    resolved = resolve(store, template, asked, level, seed)
    stages = run_identity.stages_of(template, resolved.settings)
    runs = run_identity.with_likeness([run_identity.identity(store, run, stages) for run in resolved.runs], records)
    if problems := run_identity.tampered(store, resolved.runs, stages):
        raise SelvizError(f"{'; '.join(problems)}.")
    _check_networks(template, runs)
    content = {
        "kind": "registered",
        "rules": RULES,
        "template": template,
        **TEMPLATES[template].words(resolved.settings),
        "settings": resolved.settings,
        "asked": {name: value for name, value in asked.items() if value not in (None, "", [], ())},
        "family": family,
        "level": level,
        "confidence": confidence(level),
        "rule": RULE,
        "stored": resolved.stored,
        "chosen": resolved.chosen,
        "power": power(template, resolved.settings, resolved.facts),
        "runs": runs,
        "shown": run_identity.shown_elsewhere(store, resolved.runs),
        "selviz": __version__,
        "versions": _versions(),
    }
    return {**content, **_standing(records, content)}


def resolve(store: Store, template: str, asked: Mapping[str, Any], level: float, seed: int = 0) -> Resolved:
    """Return the settings of a claim at a corrected level 0..1; all that its test will need is fixed here.

    Raises SelvizError for what does not exist, for a smallest effect of 0, and for a test whose smallest possible p is
    above the level.
    """
    if template not in TEMPLATES:
        raise unknown("template", template, list(TEMPLATES))
    kind = TEMPLATES[template]
    known = {*kind.about.names, "smallest", "expected"} | ({"yaml"} if template == "own" else set())
    asked = {name: value for name, value in asked.items() if value not in (None, "", [], ())}
    if wrong := sorted(set(asked) - known):
        raise unknown(f"option of {template}", wrong[0], sorted(known))
    common: dict[str, Any] = {"level": level, "seed": seed, "permutations": option_parsing.permutations(level)}
    if "expected" in asked:
        common["expected"] = option_parsing.number(asked["expected"], "expected")
    if template == "own":
        return kind.resolve(store, asked, common)
    if missing := [name for name, needed, _ in kind.about.options if needed and name not in asked]:
        needs = ", ".join(f"{name} ({text})" for name, _, text in kind.about.options if name in missing)
        raise SelvizError(f"{kind.about.title}: it needs {needs}.")
    common["smallest"] = option_parsing.smallest(asked.get("smallest", kind.about.smallest))
    resolved = kind.resolve(store, asked, common)
    if resolved.settings.get("fold") == SEALED:
        configs = [read_json(store.run_path(run) / "config.json") or {} for run in resolved.runs]
        common |= {"further_sealed": True} if all(config.get("further_sealed") for config in configs) else {}
    return resolved._replace(settings={**common, **resolved.settings})


def run_test(store: Store, key: str, report: Report = silent) -> Record:
    """Compute and write the verdict of a registered hypothesis; one that has a verdict is returned as it is.

    What was cut off goes on with the same call. SelvizError where a run is missing, changed or not finished, where the
    hypothesis was given up, and where another process is at it.
    """
    registered, result = find(store, key)
    if result is not None and result["kind"] == "result":
        return _keyed(result)
    if result is not None and result["kind"] == "abandoned":
        raise SelvizError(
            f"Hypothesis {registered['hypothesis']} was given up ({result['reason']}); register it again."
        )
    key = registered["hypothesis"]
    _check_rules(registered)
    folder = store.path / FOLDER / "partial" / key
    check_runs(store, registered)
    with Claim(folder.with_suffix(".claim"), f"hypothesis {key}"):
        _, result = find(store, key)  # another process may have finished it meanwhile
        if result is None:
            compared = check_stored_values(store, registered)
            _begin(store, registered)
            outcome = _outcome(store, registered, folder, report)
            content = {"kind": "result", KEY: key, "rules": RULES, **outcome, "compared": compared}
            result = append(store.path, lambda records: content)
        shutil.rmtree(folder, ignore_errors=True)
    return _keyed(result)


def _begin(store: Store, registered: Record) -> None:
    """Write that a test begins, on which networks as they are now; one that goes on must find the same ones."""
    key, settings = registered["hypothesis"], registered["settings"]
    begun = [r for r in read_chain(store.path).records if r.get("kind") == "begun" and r[KEY] == key]
    if not begun:
        stages = run_identity.stages_of(registered["template"], settings)
        runs = [run_identity.identity(store, entry["run"], stages) for entry in registered["runs"]]
        append(
            store.path, lambda records: {"kind": "begun", KEY: key, "opens_fold": settings.get("fold"), "runs": runs}
        )
    elif problems := run_identity.changes(store, begun[0], "its test was begun"):
        raise SelvizError(f"Hypothesis {key} cannot be tested: {'; '.join(problems)}.")


def repeat(store: Store, key: str, report: Report = silent) -> Record:
    """Compute a tested hypothesis again, from nothing, and compare: {"same", "differences"}; nothing is written."""
    registered, result = find(store, key)
    if result is None or result["kind"] != "result":
        raise SelvizError(f"Hypothesis {key} has no verdict yet: selviz hypothesis test {key}")
    _check_rules(registered)
    check_runs(store, registered)
    check_stored_values(store, registered)
    with tempfile.TemporaryDirectory() as folder:
        outcome = _outcome(store, registered, Path(folder), report)
    differences = [name for name in ("verdict", "p", "parts", "details") if outcome[name] != result[name]]
    return {"hypothesis": registered["hypothesis"], "same": not differences, "differences": differences}


def abandon(store: Store, key: str, reason: str) -> Record:
    """Give a hypothesis up before its verdict, for a reason; it stays in the ledger and counts in its family."""
    reason = " ".join(reason.split())[:300]
    if not reason:
        raise SelvizError("Say why the hypothesis is given up: --abandon REASON.")
    key = find(store, key)[0]["hypothesis"]

    def make(records: list[Record]) -> Record:
        if any(r["kind"] in ("result", "abandoned") and r.get(KEY) == key for r in records):
            raise SelvizError(f"Hypothesis {key} is decided already; what is in the ledger stays.")
        return {"kind": "abandoned", KEY: key, "reason": reason}

    return _keyed(append(store.path, make))


def find(store: Store, key: str) -> tuple[Record, Record | None]:
    """Return (the registration, the result or the record that gave it up, or None) of a key or its beginning."""
    records = read_chain(store.path).records
    registered = [_keyed(record) for record in records if record.get("kind") == "registered"]
    fits = [record for record in registered if str(key) and record["hypothesis"].startswith(str(key))]
    if len(fits) != 1:
        known = [record["hypothesis"] for record in registered]
        raise unknown("hypothesis", key, known, "See: selviz hypothesis list")
    end = claim_families.ends(records).get(fits[0]["hypothesis"])
    return fits[0], dict(end) if end else None


def ledger(store: Store) -> pd.DataFrame:
    """Return one row per hypothesis, in order: state, verdict, p, its level, effect with interval, and how many like it
    there are, with `holm` and `bh`: p adjusted over those of its family whose test was begun (without a p: 1), and the
    verdicts that are left then.

    `missing` names runs that were registered and are gone or changed. `.attrs`: head and problems of the chain.
    """
    chain = read_chain(store.path)
    table = hypotheses(store.path)
    registered = {_keyed(r)["hypothesis"]: r for r in chain.records if r.get("kind") == "registered"}
    families = [claim_families.family_of(chain.records, registered[key]) for key in table["hypothesis"]]
    for name in ("holm", "bh"):
        begun = table["begun"] & table["p"].isna()
        table[name] = [getattr(family, name) for family in families]
        table[name] = table[name].astype(float).where(~begun.astype(bool), 1.0)
    table["verdict_holm"] = [family.verdict_holm for family in families]
    table["like_it"] = [family.registered for family in families]
    table["repeats"] = [family.repeats for family in families]
    table["missing"] = ["; ".join(changed_runs(store, registered[key])) for key in table["hypothesis"]]
    table.attrs.update(head=chain.head, problems=chain.problems)
    return table


def check_head(store: Store, head: str) -> Record:
    """Return how many records lie up to the one with this hash, which somebody noted elsewhere: {"record", "records",
    "head"}. SelvizError if there is none: records were cut off or rewritten since."""
    chain = read_chain(store.path)
    if chain.problems:
        raise SelvizError(f"The records of this store do not hold together: {chain.problems[0]}.")
    wanted = head.strip().lower()
    if len(wanted) < 10:
        raise SelvizError("A head has 64 digits; give at least the first 10: selviz hypothesis head")
    fits = [record["number"] for record in chain.records if str(record["hash"]).startswith(wanted)]
    if not fits:
        raise SelvizError(
            f"No record of this store has the hash {wanted[:10]}...: since it was noted, records were cut off or "
            f"rewritten, or it is of another store. The chain has {len(chain.records)} records now, head {chain.head}."
        )
    return {"record": fits[0], "records": len(chain.records), "head": chain.head}


def check_runs(store: Store, registered: Mapping[str, Any]) -> None:
    """Raise SelvizError that names a run which is gone, changed, not finished, or one of two that are one network."""
    runs = [entry["run"] for entry in registered["runs"]]
    stages = run_identity.stages_of(registered["template"], registered["settings"])
    problems = changed_runs(store, registered) or run_identity.tampered(store, runs, stages)
    if problems:
        raise SelvizError(f"Hypothesis {registered['hypothesis']} cannot be tested: {'; '.join(problems)}.")
    for run in runs:
        store.run(run)  # says how to make one that is not there yet
    _check_networks(registered["template"], [run_identity.identity(store, run) for run in runs])


def check_stored_values(store: Store, registered: Mapping[str, Any]) -> list[str]:
    """Return what of the stored values was computed again and is the same; SelvizError names what is not."""
    reads = TEMPLATES[registered["template"]].about.reads
    problems, compared = [], []
    for entry in registered["runs"]:
        if "capture" in reads:
            check = stored_values.check_capture(store, entry["run"], registered["hash"])
            problems += check.problems
            compared += [check.told] if check.told else []
        if "metrics" in reads:
            problems += stored_values.metrics_problems(store, entry["run"])
    if problems:
        raise SelvizError(f"Hypothesis {registered['hypothesis']} cannot be tested: {'; '.join(problems)}.")
    return compared


def changed_runs(store: Store, registered: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each run that was in the store at registration, and is gone or is another one now."""
    return run_identity.changes(store, registered)


def _check_networks(template: str, identities: Sequence[Mapping[str, Any]]) -> None:
    if pairs := run_identity.same_networks(identities):
        raise SelvizError(
            f"{pairs[0][0]} and {pairs[0][1]} have equal weights (but for rounding or the order of units): they are "
            "one network under two names, and a claim over several networks counts each once. Leave one of them out."
        )


def _check_rules(registered: Mapping[str, Any]) -> None:
    if registered.get("rules", 1) != RULES:
        raise SelvizError(
            f"Hypothesis {registered['hypothesis']} was registered by selviz {registered.get('selviz')} under other "
            "rules, which this version does not compute; its record stays as it is. Register it again: selviz "
            f"hypothesis register {registered['template']}"
        )


def _standing(records: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> Record:
    """Return whether a claim is confirmatory, why, and which earlier one it repeats.

    Confirmatory: it is tested on images, or networks, whose outcomes were sealed when it was registered.
    """
    about, fold = TEMPLATES[content["template"]].about, content["settings"].get("fold")
    repeats = claim_families.repeated(records, content)
    ours, others = (claim_families.openings(records, content, same) for same in (True, False))
    seen, stored = run_identity.seen_before(records, content["runs"]), content["stored"]
    if about.samples == "images":
        reasons = [] if fold == SEALED else ["this run has no sealed fold, so these images could be looked at"]
        if fold == SEALED and ours:
            reasons.append(f"its sealed fold was opened {_times(ours)} by claims about the same quantity")
    else:
        reasons = [] if not stored else [
            f"the measured quantity was in the store at registration: {stored[0]}"
            + (f" and {len(stored) - 1} more" if len(stored) > 1 else "")
        ]  # fmt: skip
        if not stored and fold != SEALED and any(entry["state"] == "finished" for entry in content["runs"]):
            reasons.append("its networks were in the store, and the images that it measures are not sealed")
        if not stored and ours:
            reasons.append(f"claims about the same quantity of these networks were tested {_times(ours)}")
    reasons += [*seen, *content["shown"]]
    if repeats:
        reasons.append(f"the same was tested in {repeats}")
    why = "; ".join(reasons)
    if not reasons:
        sealed = "fold 2 of its images was sealed" if about.samples == "images" else "its outcome was not in the store"
        why = f"{sealed} when it was registered"
        if others:
            why += f" for this quantity (other claims opened it {_times(others)})"
        if content["chosen"]:
            why += f"; chosen on fold 0: {content['chosen']}"
    return {"confirmatory": not reasons, "why": why, "repeats": repeats}


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _outcome(store: Store, registered: Mapping[str, Any], folder: Path, report: Report) -> Record:
    kind, settings = TEMPLATES[registered["template"]], registered["settings"]
    sample = kind.measure(store, settings, Work(folder, report, registered["hash"]))
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


def _checklist(registered: Mapping[str, Any], parts: Sequence[Part]) -> list[Record]:
    """Return what METHODS asks of a falsifiable claim, and whether it was done here; None where it does not apply."""
    kind = TEMPLATES[registered["template"]].about
    replicated = kind.replicates or bool(registered["settings"].get("others"))
    entries: list[tuple[str, bool | None, str]] = [
        ("claim, quantity and direction stated before looking", registered["confirmatory"], registered["why"]),
        ("the observation that would refute it is named", True, registered["refuted"]),
        ("quantified", True, registered["quantity"]),
        ("the whole distribution is shown", True, f"{sum(len(part.null) for part in parts):,} values of the null"),
        ("baselines", True, kind.baselines),
        ("an intervention, and which claim it can carry", bool(kind.intervenes), kind.intervenes or "none"),
        ("the distributed alternative is tested", kind.distributed, "by this very claim" if kind.distributed else ""),
        ("replicated over seeds, networks or data sets", replicated, "" if replicated else "one network"),
        (
            "corrected for a family that was fixed beforehand",
            bool(registered["family"]["name"]),
            f"{registered['family']['planned']} planned"
            if registered["family"]["name"]
            else "no study was named; see the claims like it",
        ),
        ("attribution maps are checked against random weights", True if kind.saliency else None, ""),
    ]
    return [{"item": item, "done": done, "how": how} for item, done, how in entries]


def _study(records: Sequence[Mapping[str, Any]], study: str, planned: int) -> Record:
    """Return {"name", "planned", "number"} of the next hypothesis of a study; SelvizError where there is no room."""
    study = " ".join(str(study or "").split())
    if len(study) > 80:
        raise SelvizError("The name of a study has at most 80 characters.")
    if not study:
        if planned not in (0, 1):
            raise SelvizError(f"{planned} hypotheses are planned for a study without a name; name it with --study.")
        return {"name": "", "planned": 1, "number": 1}
    members = [r for r in records if r.get("kind") == "registered" and r["family"]["name"] == study]
    fixed = members[0]["family"]["planned"] if members else planned
    if not members and not 1 <= planned <= MAX_PLANNED:
        raise SelvizError(
            f"A new study needs the number of hypotheses that it will have, 1 to {MAX_PLANNED}: --study '{study}' "
            f"--planned 5; the level of each is {ALPHA} divided by it."
        )
    if planned not in (0, fixed):
        raise SelvizError(f"The study {study!r} was begun with {fixed} planned hypotheses, and that cannot change.")
    if len(members) >= fixed:
        raise SelvizError(f"The study {study!r} has all of its {fixed} hypotheses; name a new one.")
    return {"name": study, "planned": fixed, "number": len(members) + 1}


def _keyed(record: Mapping[str, Any]) -> Record:
    return {**record, KEY: claim_families.key_of(record)}


def _versions() -> dict[str, str | int]:
    import torch

    return {
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        **{name: version(name) for name in PACKAGES if name != "captum" or find_spec("captum") is not None},
    }


def _plain(value: Any) -> Any:
    """Return the value as it comes back from JSON, so that a stored and a new outcome can be compared."""
    from selviz.text.tables import plain

    return json.loads(json.dumps(plain(value)))


def level_sentence(registered: Mapping[str, Any]) -> str:
    """Return at which level a claim is tested, and why."""
    family = registered["family"]
    named = f"{family['name']!r}, " if family["name"] else ""
    return f"{named}claim {family['number']} of {family['planned']} planned: level {registered['level']:.3g}"
