"""Why the numbers can be trusted: what `make faults` has tried, and where a record comes from."""

from pathlib import Path

import pandas as pd

from at_repro import experiments, files
from at_repro.errors import ParameterError, duration
from at_repro.records import Record, Store, load_record
from at_repro.runs import with_teachers

COMMITTED = files.CHECKOUT / "book" / "faults.json"


def load(path: str | Path = "") -> dict:
    """What `make faults` has written; empty: the committed one, `book/faults.json`.

    Raises ParameterError where the file is not here or holds something else.
    """
    return files.read_json("proofs", path or COMMITTED, ("environment", "seconds", "seed", "rows"), "make faults")


def answer(results: dict, store: Store) -> str:
    """What the report rests on, what was tried to break it and how to make it again, as Markdown."""
    table = proofs(results)
    faults = table["faults"].sum()
    return (
        f"**{cost(store)}.** `make book` makes the report from the records, without data or GPU. `at-repro "
        "verify` recomputes errors from the stored weights, or from predictions where no weights are kept, of the "
        "records whose images are here: it downloads CIFAR-10, and no photographs. `make "
        f"faults` disturbed {table['tried'].sum()} runs, records and commands in {len(table)} ways, such as "
        f"a kill or a full disk, and found {faults or 'no'} fault{'' if faults == 1 else 's'}."
    )


def cost(store: Store) -> str:
    """How many records a store has and how long they were trained, and the flagship's of seed 0 if it has all."""
    records = {record.run: record for record in store.all()}
    hours = sum(record.training_seconds for record in records.values()) / 3600
    devices = sorted({device.split(",")[0] for record in records.values() for device in record.devices})
    flagship = with_teachers(experiments.get("wrn-16-2-to-16-1").runs("paper", [0])[0].values())
    text = f"{len(records)} record{'s are' if len(records) != 1 else ' is'} behind this report, "
    text += f"{hours:.0f} hours of training"
    text += f" on {', '.join(devices)}" * bool(devices)
    if not set(flagship) <= records.keys():
        return text
    own = sum(records[run].training_seconds for run in flagship) / 3600
    row = "the row WRN-16-1 from WRN-16-2, six networks of seed 0 at the paper's 200 epochs"
    return f"{text}; {row}, took {own:.0f} of these"


def proofs(results: dict) -> pd.DataFrame:
    """Columns: what happened, how often it was tried, what would be a fault, and how many there were."""
    return pd.DataFrame(results["rows"], columns=["what happened", "tried", "what would be a fault", "faults"])


def example(store: Store, run_id: str = "") -> Record | None:
    """A record to walk through: the one named, else the store's first by name; None where there is none yet.

    Raises ParameterError for a run id that is not in the store.
    """
    folders = store.folders()
    if run_id and run_id not in tuple(folders):  # a name from outside may have no hash
        raise ParameterError("run", run_id, folders or "none: there is no record yet")
    return load_record(folders[run_id or min(folders)]) if folders else None


def origins(record: Record | None) -> pd.DataFrame:
    """What a record says of itself, for a reader to follow: columns `question`, `answer` and `where` it stands."""
    rows = [("which run?", "no run has a record here yet", "")] if record is None else _answers(record)
    return pd.DataFrame(rows, columns=["question", "answer", "where"])


def _answers(record: Record) -> list[tuple[str, str, str]]:
    values = record.values
    environment, sessions = values["environment"], values["sessions"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    stops = "; ".join(f"epoch {session['epoch']}, step {session['step']}" for session in sessions[1:])
    images = ", ".join(f"{split} {fingerprint[:12]}…" for split, fingerprint in values["data"].items())
    mistakes = record.mistakes()
    result = f"{mistakes.sum()} of {len(mistakes)} predictions differ from their labels"
    return [
        ("which run?", record.folder.name, "the folder's name"),
        ("what was trained?", record.run.canonical_json(), "spec.json; its hash ends the name"),
        ("by which code?", " ".join(record.commits), "record.json: environment, sessions"),
        ("how was it called?", environment["command"], "record.json: environment.command"),
        ("with which packages?", packages, "record.json: environment.packages"),
        ("on what?", f"{'; '.join(record.devices)}, {environment['precision']}", "record.json: environment, sessions"),
        (
            "by how many processes?",
            f"{len(sessions)}{f', going on after {stops}' if stops else ''}",
            "record.json: sessions",
        ),
        ("in what time?", duration(values["seconds"]), "record.json: seconds"),
        ("on which images?", images, "record.json: data"),
        ("with what result?", record.outcome, "record.json: final"),
        ("is that what was predicted?", result, "predictions.csv"),
        ("are the files as written?", f"{len(values['files'])} checksums agree", "record.json: files, checksum"),
    ]
