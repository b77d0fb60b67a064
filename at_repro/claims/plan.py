"""When the rule of each claim was stated, and what was known by then: `book/plan.json`, appended to by `state`.

A rule is all comparisons of a claim with their margins. One that is changed after its runs is no longer the rule that
was stated, and the ledger says so.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from at_repro import bench, files
from at_repro.analysis.significance import ALPHA
from at_repro.claims.paper_claims import BY_NAME
from at_repro.records import Store

FILE = files.CHECKOUT / "book" / "plan.json"


def fingerprint(name: str) -> str:
    """Ten hexadecimal digits that stand for a rule: kinds of comparison, columns, margins, the level of the test.

    Names of comparisons' classes are not in it, so that what was stated is never written again; that of `Margin` and
    those of fields are.
    """
    claim = BY_NAME[name]
    rule = repr(([*claim.comparisons], ALPHA, claim.is_arithmetic))
    return hashlib.sha256(rule.encode()).hexdigest()[:10]


def state(store: Store) -> list[str]:
    """Writes down the rules that are new or changed, with the ids of all runs that are recorded by now.

    To be committed before the runs that they are about. Returns the rules' names.
    """
    statements = _read(FILE)
    new = {name: fingerprint(name) for name in BY_NAME if not is_stated(name)}
    if new:
        measured = [file.name for file in (bench.COMMITTED, bench.OTHER) if file.exists()]
        entry = {
            "stated": f"{datetime.now(UTC):%Y-%m-%d}",
            "rules": new,
            "known": sorted([*store.folders(), *measured]),
        }
        files.write(FILE, json.dumps([*statements, entry], indent=1) + "\n")
        _read.cache_clear()
    return list(new)


def history(name: str, runs: Iterable[str]) -> str:
    """For readers: "stated …", when the rule of a claim was, and how many of its runs were known by then.

    With its `fingerprint`, as in `book/plan.json`; "another rule than on …" where it was stated anew. "changed since it
    was stated on …" where it is another one now, and "not stated". Without a checkout, where the plan is to be read.
    """
    if not FILE.parent.exists():
        return f"stated or not in book/{FILE.name} of a checkout"
    runs = list(dict.fromkeys(runs))
    statements = _statements(name)
    if not statements:
        return "not stated"
    first, last = statements[0], statements[-1]
    if not is_stated(name):
        return f"changed since it was stated on {last['stated']}"
    date = f"stated {last['stated']}"
    if first is not last:
        date += f", another rule than on {first['stated']}"
    date += f" (sha256 {fingerprint(name)})"
    return f"{date}, knowing {len(runs) - len(unknown(name, runs))} of its {len(runs)} runs" if runs else date


def unknown(name: str, runs: Iterable[str]) -> set[str]:
    """Those of a claim's runs that were not yet recorded when its rule was stated as it is: none where it was not.

    Networks that others trained, `imagenet-NAME`, have no record and were always there.
    """
    if not is_stated(name):
        return set()
    known = set(_statements(name)[-1]["known"])
    return {run for run in runs if run not in known and not run.startswith("imagenet-")}


def is_stated(name: str) -> bool:
    """Whether the rule of a claim is the one that was stated last."""
    statements = _statements(name)
    return bool(statements) and statements[-1]["rules"][name] == fingerprint(name)


def _statements(name: str) -> list[dict]:
    return [statement for statement in _read(FILE) if name in statement["rules"]]


@cache
def _read(path: Path) -> list[dict]:
    return json.loads(path.read_text()) if path.exists() else []
