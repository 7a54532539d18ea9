"""Which claims belong together, named by a study or not: `family_of(records, registered)`, `repeated(records,
content)`.

Claims about one quantity of the same networks are one family, whether or not somebody named a study: whoever registers
many and shows the one that came out is told of the others.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selviz import statistics
from selviz.hypotheses.decision import OPEN, SUPPORTED, corrected_verdict
from selviz.hypotheses.templates import TEMPLATES
from selviz.statistics import LEVEL
from selviz.store.ledger import KEY

Record = Mapping[str, Any]


class Family(NamedTuple):
    """Claims like one claim, itself among them, and what is left of its verdict when all of them count."""

    registered: int
    tested: int
    abandoned: int
    begun: int  # and neither tested nor abandoned
    repeats: int  # of the very claim, with other numbers of controls, draws or seeds
    holm: float | None  # adjusted p; None without a verdict
    bh: float | None
    verdict_holm: str | None
    verdict_bh: str | None


def key_of(record: Record) -> str:
    """Return what a registered claim is called."""
    return str(record.get(KEY) or record["hash"][:10])


def networks(record: Record) -> set[str]:
    """Return what a claim's networks are known by: their weights where they have any, else their names."""
    names: set[str] = set()
    for entry in record["runs"]:
        names |= {entry["run"], *(entry[name] for name in ("weights", "network", "like") if entry.get(name))}
    return names


def alike(one: Record, other: Record) -> bool:
    """Return whether two registrations are about one quantity of the same networks, or of the same kinds of them."""
    quantities = [TEMPLATES[record["template"]].about.quantity for record in (one, other)]
    if quantities[0] != quantities[1]:
        return False
    kinds = TEMPLATES[one["template"]].about.kinds
    same_kinds = all(one["settings"].get(name) == other["settings"].get(name) for name in kinds)
    if kinds and one["template"] == other["template"] and same_kinds:  # other seeds are another try of the same
        return True
    return bool(networks(one) & networks(other))


def registrations(records: Sequence[Record]) -> list[Record]:
    """Return the registrations, each with the networks that its test was begun on besides those it was registered on.

    Networks that were still to be trained have weights only then.
    """
    begun = {record[KEY]: record.get("runs", []) for record in records if record.get("kind") == "begun"}
    known = [record for record in records if record.get("kind") == "registered" and record["template"] in TEMPLATES]
    return [{**record, "runs": [*record["runs"], *begun.get(key_of(record), [])]} for record in known]


def members(records: Sequence[Record], content: Record) -> list[Record]:
    """Return the registrations of a claim's family."""
    return [record for record in registrations(records) if alike(record, content)]


def same_subject(one: Record, other: Record) -> bool:
    """Return whether two registrations claim the same, apart from numbers of controls, draws and seeds."""
    if one["template"] != other["template"]:
        return False
    about = TEMPLATES[one["template"]].about
    return all(one["settings"].get(name) == other["settings"].get(name) for name in about.subject)


def ends(records: Sequence[Record]) -> dict[str, Record]:
    """Return what became of each claim: its result, or the record that gave it up, by the claim's key."""
    last_records: dict[str, Record] = {}
    for record in records:
        if record.get("kind") in ("result", "abandoned"):
            last_records.setdefault(record[KEY], record)
    return last_records


def opened(records: Sequence[Record]) -> set[str]:
    """Return the keys of the claims whose tests were begun: their images were looked at."""
    return {record[KEY] for record in records if record.get("kind") == "begun"}


def repeated(records: Sequence[Record], content: Record) -> str:
    """Return the key of an earlier claim of the same whose test was begun; "" if there is none."""
    begun = opened(records)
    for record in members(records, content):
        if key_of(record) in begun and same_subject(record, content):
            return key_of(record)
    return ""


def openings(records: Sequence[Record], content: Record, same_quantity: bool) -> int:
    """Return how often a sealed fold of these networks was opened: by tests of the family, or by those of others."""
    begun, ours = opened(records), networks(content)
    family = {key_of(record) for record in members(records, content)}
    return sum(
        key_of(record) in begun
        and record["settings"].get("fold") == 2
        and bool(networks(record) & ours)
        and (key_of(record) in family) == same_quantity
        for record in registrations(records)
    )


def family_of(records: Sequence[Record], registered: Record) -> Family:
    """Return a claim's family as it is now, with p adjusted over all of its tests that were begun (1 without a p)."""
    group, finished, begun = members(records, registered), ends(records), opened(records)
    keys = [key_of(record) for record in group]
    own_key = key_of(registered) if registered.get("hash") else None
    tested = [key for key in keys if finished.get(key, {}).get("kind") == "result"]
    abandoned = [key for key in keys if finished.get(key, {}).get("kind") == "abandoned"]
    looked_at = [key for key in keys if key in begun]
    holm = bh = verdict_holm = verdict_bh = None
    if own_key in tested:
        result = finished[own_key]
        p = [float(finished[key]["p"]) if key in tested else 1.0 for key in looked_at]
        near = [_p_smallest(finished[key]) if key in tested else 1.0 for key in looked_at]
        place = looked_at.index(own_key)
        alike = {}
        for name, adjust in (("holm", statistics.holm), ("bh", statistics.benjamini_hochberg)):
            adjusted, smallest = float(adjust(p)[place]), float(adjust(near)[place])
            # At 0.05, not at the level of a study: what is adjusted for the family is not divided a second time.
            if all(part["boundary"] == part["margin"] for part in result["parts"]):
                verdict = OPEN if result["verdict"] == SUPPORTED and adjusted > LEVEL else result["verdict"]
            else:
                verdict = corrected_verdict(result["verdict"], adjusted, smallest, LEVEL)
            alike[name] = (adjusted, verdict)
        (holm, verdict_holm), (bh, verdict_bh) = alike["holm"], alike["bh"]
    return Family(
        registered=len(group),
        tested=len(tested),
        abandoned=len(abandoned),
        begun=len([key for key in looked_at if key not in finished]),
        repeats=sum(same_subject(record, registered) for record in group) - (1 if own_key in keys else 0),
        holm=holm,
        bh=bh,
        verdict_holm=verdict_holm,
        verdict_bh=verdict_bh,
    )


def _p_smallest(result: Record) -> float:
    """Return a result's p against the smallest effect that matters; of the first rules, against no effect."""
    return float(np.max([part.get("p_smallest", part["p"]) for part in result["parts"]]))


def told_family(family: Family) -> str:
    """Return in words how many claims like this one there are, and what is left of its verdict among them."""
    if family.registered <= 1:
        return "No other claim of this store is about the same quantity of these networks."
    text = (
        f"{family.registered} claims of this store are about the same quantity of these networks: {family.tested} "
        f"tested, {family.abandoned} given up, {family.begun} begun and not finished."
    )
    if family.repeats:
        text += f" {family.repeats} of them repeat this very claim with other numbers of controls, draws or seeds."
    if family.holm is not None:
        text += (
            f" Corrected for all of them: {family.verdict_holm} (Holm, p = {family.holm:.3g}), {family.verdict_bh} "
            f"(Benjamini and Hochberg, p = {family.bh:.3g})."
        )
    return text
