"""Files that somebody or something has changed: records, checkpoints, tables, pickles."""

import hashlib
import io
import json
import os
import pickle
import random
import re
import shutil
import traceback
from contextlib import redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

import disturbed
import pandas as pd
import torch
from disturbed import Row
from sealed import seal

from at_repro import data, networks
from at_repro.analysis import attention_table
from at_repro.data import cifar10
from at_repro.errors import DataError, UserError
from at_repro.records import DamagedRecord, Record, Store, checkpoint_file, load_record
from at_repro.report import trust
from at_repro.report.terminal_output import verify
from at_repro.training import Student


def cut(content: bytes) -> bytes:
    """All up to a random byte."""
    return content[: random.randrange(len(content))]


def flip(content: bytes) -> bytes:
    """All with one random bit turned."""
    changed = bytearray(content)
    changed[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(changed)


def records(count: int, folder: Path) -> list[Row]:
    """Every file of a record in turn: cut and flipped at `count` places, and deleted."""
    whole = load_record(disturbed.undisturbed(folder / "whole").record_path(disturbed.TEACHER))
    tried = dict.fromkeys(("cut", "with a flipped bit", "deleted"), 0)
    unseen = dict(tried)
    for path in sorted(whole.folder.iterdir()):
        content = path.read_bytes()
        for kind, change in (("cut", cut), ("with a flipped bit", flip)):
            for _ in range(count):
                path.write_bytes(change(content))
                tried[kind] += 1
                unseen[kind] += not _is_detected(whole)
        path.unlink()
        tried["deleted"] += 1
        unseen["deleted"] += not _is_detected(whole)
        path.write_bytes(content)
    return [(f"a file of a record {kind}", tried[kind], "damage that is not detected", unseen[kind]) for kind in tried]


def _is_detected(whole) -> bool:
    """Whether a record is refused by name; or says the same still (a space became a tab), or gives no weights."""
    try:
        found = load_record(whole.folder)
        if not found.has_weights:
            found.weights()
    except DamagedRecord as error:
        return whole.run.run_id in str(error)
    except UserError as error:
        return "no weights" in str(error)
    return found == whole


def forgeries(count: int, folder: Path) -> list[Row]:
    """Numbers, labels and structure that somebody has written anew, with checksums that are right."""
    store = disturbed.undisturbed(folder / "whole")
    whole = store.load(disturbed.TEACHER)
    final, best = whole.final, whole.values["best"]
    changes: list[dict] = [
        *({"final": final | {name: value}} for name in final for value in (final[name] + 1, float("nan"), None, "0")),
        *({"final": {other: final[other] for other in final if other != name}} for name in final),
        {"final": final | {"top5_error": 1.0}},
        *({"best": best | {name: value}} for name in best for value in (best[name] + 1, float("inf"), None)),
        *({"diverged": value} for value in (1, True, "yes", 0)),
        {"diverged": 1, "final": dict.fromkeys(final)},
        {"seconds_per_epoch": 1e-9},
        *({"environment": whole.values["environment"] | {"precision": value}} for value in ("auto", "bf16", "fp64")),
        *({name: None} for name in ("final", "best", "data", "files", "environment")),
    ]
    unseen = 0
    for change in changes:
        seal(whole.folder, **change)
        with suppress(DamagedRecord):
            unseen += not load_record(whole.folder).contradiction()
        seal(whole.folder, **whole.values)
    believed = [_is_believed(store, record, weights) for record in store.all() for weights in (True, False)]
    tried, unseen = len(changes) + len(believed), unseen + sum(believed)
    return [("a record with a forged number and checksums that are right", tried, "it is believed", unseen)]


def _is_believed(store: Store, record: Record, weights: bool) -> bool:
    """Whether a record whose labels are its predictions is verified where the images are not here."""
    before = {path: path.read_bytes() for path in record.folder.iterdir()}
    predictions = record.predictions()
    predictions.assign(label=predictions["prediction"]).to_csv(record.folder / "predictions.csv", index=False)
    seal(record.folder, final=record.final | {"test_error": 0.0})
    if not weights:
        (record.folder / "weights.safetensors").unlink()
    absent, believed = DataError("its images are not here"), True
    with patch.object(data, "load", side_effect=absent), redirect_stdout(io.StringIO()), suppress(DataError):
        believed = verify(store, [record.run.run_id], "cpu") == 0
    for path, content in before.items():
        path.write_bytes(content)
    return believed


JUNK = (None, True, -1, 0.5, 2**70, 10**400, float("nan"), "", "yes", "\x1b[2J", [], [1], {}, {"a": None})


def junk(count: int, folder: Path) -> list[Row]:
    """Something else at a random place of a random file of a record, with checksums that are right."""
    store = disturbed.undisturbed(folder / "whole")
    place, strayed = store.record_path(disturbed.STUDENTS[1]), 0
    for _ in range(count):
        path = place / random.choice(("spec.json", "record.json", "epochs.csv", "predictions.csv"))
        content = path.read_bytes()
        if path.suffix == ".json":
            values = json.loads(content)
            _spoil(values)
            path.write_text(json.dumps(values))
        else:
            cells = re.split(r"([,\n])", content.decode())
            cells[random.randrange(len(cells))] = random.choice(("", "nan", "-1", "1e400", "yes", "9" * 30, '"'))
            path.write_text("".join(cells))
        # Of record.json that has no files any more.
        with suppress(ValueError, AttributeError, KeyError, OSError):
            seal(place)
        strayed += not _is_alone(store, place.name)
        path.write_bytes(content)
        seal(place)
    return [("junk in a record whose checksums are right", count, "more than a line about that record", strayed)]


def _spoil(values: dict | list) -> None:
    """Puts junk at a random place of what was read from JSON, or takes it away."""
    key = random.choice(list(values) if isinstance(values, dict) else range(len(values)))
    if isinstance(values[key], dict | list) and values[key] and random.random() < 0.7:
        _spoil(values[key])
    elif random.random() < 0.2:
        del values[key]
    else:
        values[key] = random.choice(JUNK)


def _is_alone(store: Store, name: str) -> bool:
    """Whether the others are read, and of this record one line is said, if any."""
    again = Store(store.folder)
    try:
        damages = again.set_aside()
        again.frame()
        trust.origins(load_record(again.folders().get(name, store.record_path(disturbed.TEACHER))))
    except Exception:
        traceback.print_exc()
        return False
    told = [str(damage) for damage in damages]
    return len(told) + len(again.folders()) == len(disturbed.RUNS) and all(name in x and "\n" not in x for x in told)


def checkpoints(count: int, folder: Path) -> list[Row]:
    """A checkpoint, cut and flipped at `count` places each."""
    path = folder / "checkpoint.safetensors"
    student = Student(disturbed.TEACHER, 10, torch.device("cpu"), "fp32")
    student.save(path)
    content, unseen = path.read_bytes(), 0
    for change in (cut, flip):
        for _ in range(count):
            path.write_bytes(change(content))
            try:
                checkpoint_file.read(path)
                unseen += path.read_bytes() != content
            except UserError:
                pass
    return [("a checkpoint cut or with a flipped bit", 2 * count, "damage that is not detected", unseen)]


def attention(count: int, folder: Path) -> list[Row]:
    """The table of attention's statistics, cut, flipped, and with what it cannot have under a right checksum."""
    store = disturbed.undisturbed(folder / "whole")
    names = [name for name in attention_table.STATISTICS if "," not in name]
    rows = [(run.run_id, "", "top", name, 0.5, "") for run in disturbed.RUNS for name in names]
    attention_table.write(store, pd.DataFrame(rows, columns=attention_table.COLUMNS))
    path, good, believed = store.folder / attention_table.FILE, attention_table.load(store), 0
    content = path.read_bytes()
    for change in (cut, flip, _impossible):
        for _ in range(count):
            path.write_bytes(change(content))
            try:
                believed += not attention_table.load(store).equals(good)
            except UserError as error:
                believed += str(path) not in str(error) or "\n" in str(error)
    what = "a table of attention cut, with a flipped bit, or with what it cannot have and a right checksum"
    return [(what, 3 * count, "it is believed, or no line", believed)]


def _impossible(content: bytes) -> bytes:
    """A random row with a value, name or version that no row has, or a row twice, and the checksum that goes with it.

    Columns: run_id, teacher, level, statistic, value, weights, version.
    """
    lines = content.decode().splitlines()[:-1]
    row = random.randrange(1, len(lines))
    cells = lines[row].split(",")
    column = random.choice((2, 3, 4, 6, None))
    if column is None:
        lines.append(lines[row])
    elif column == 4:
        cells[column] = random.choice(("196", "-5", "nan", "inf", "1e400", "much", ""))
    else:
        cells[column] = random.choice(("bottom", "entropi", "one", "\x1b[2J", ""))
    lines[row] = ",".join(cells)
    text = "".join(f"{line}\n" for line in lines)
    return f"{text}# sha256 {hashlib.sha256(text.encode()).hexdigest()}\n".encode()


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def pickles(count: int, folder: Path) -> list[Row]:
    """A pickle that runs code, in every place where a file is read that somebody else may have made."""
    ran = folder / "ran"
    bad = Malicious(ran)
    readers = [_as_authors, _as_authors_legacy, _as_checkpoint, _as_weights, _as_batch]
    trusted = 0
    for number, reader in enumerate(readers):
        place = folder / str(number)
        place.mkdir()
        try:
            reader(place, bad)
            trusted += 1
        except UserError as error:
            trusted += "\n" in str(error)
        trusted += ran.exists()
    return [("a pickle that holds code", len(readers), "code that ran, or a file that was read", trusted)]


def _as_authors(folder: Path, bad: Malicious) -> None:
    torch.save({"params": {"conv0": bad}}, folder / "model.pt7")
    networks.load_authors(folder / "model.pt7")


def _as_authors_legacy(folder: Path, bad: Malicious) -> None:
    torch.save({"params": bad}, folder / "model.pt7", _use_new_zipfile_serialization=False)
    networks.load_authors(folder / "model.pt7")


def _as_checkpoint(folder: Path, bad: Malicious) -> None:
    store = Store(folder, writable=True)
    torch.save({"weights": bad}, store.checkpoint_path(disturbed.TEACHER))
    disturbed.learn(store, [disturbed.TEACHER])


def _as_weights(folder: Path, bad: Malicious) -> None:
    """In a record whose checksums were rewritten to match."""
    shutil.copytree(disturbed.undisturbed(folder / "whole").folder, folder / "store")
    store = Store(folder / "store")
    path = store.record_path(disturbed.TEACHER) / "weights.safetensors"
    path.write_bytes(pickle.dumps(bad))
    seal(path.parent)
    store.load(disturbed.TEACHER).weights()


def _as_batch(folder: Path, bad: Malicious) -> None:
    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (batches / name).write_bytes(pickle.dumps(bad))
    cifar10.cifar10("test", folder, download=False)
