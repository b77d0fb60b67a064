"""Processes that are told to stop: in training, while a file is read, while one takes the place of another."""

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import disturbed
import nbformat
import processes
import torch
from disturbed import Row
from in_process import InProcess
from nbformat import v4
from papermill.engines import papermill_engines

from at_repro import claims, cli, files
from at_repro.analysis import attention_measurement
from at_repro.errors import UserError
from at_repro.records import Store, checkpoint_file
from at_repro.report import book, notebooks, stale_pages, sweep
from at_repro.training import Student


def trainings(count: int, folder: Path) -> list[Row]:
    """Ctrl-C, SIGTERM or SIGHUP after a random step; in some the working folder is gone, or SIGHUP is ignored."""
    whole, wrong = disturbed.undisturbed(folder / "whole"), 0
    for number in range(count):
        store = Store(folder / f"stopped-{number}", writable=True)
        sent, nohup = random.choice(files.SIGNALS), random.random() < 0.3
        work = partial(_stop, store, sent, nohup, random.random() < 0.5, random.randint(1, disturbed.STEPS))
        code, said = processes.run(work)
        expected = (0, "") if nohup and sent == signal.SIGHUP else (processes.REFUSED, "stopped\n")
        if (code, said) != expected:
            print(f"ended with {code}: {said}", file=sys.stderr)
        wrong += not ((code, said) == expected and disturbed.continued(store, whole))
    what = "Ctrl-C, SIGTERM or SIGHUP, also in a folder that is gone, then continued"
    return [(what, count, "no clear end, or a run that is not bit-equal", wrong)]


def _stop(store: Store, sent: int, nohup: bool, gone: bool, left: int) -> None:
    if nohup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    files.handle_signals(signal.default_int_handler)  # as the command line begins
    steps = []

    def step() -> None:
        steps.append(1)
        if len(steps) == left:
            signal.raise_signal(sent)

    with open(os.devnull, "w") as nowhere, tempfile.TemporaryDirectory() as working:
        if gone:
            os.chdir(working)
            shutil.rmtree(working)
            os.mkdir(working)  # another one, which ends with this block
        try:
            disturbed.learn(store, progress=disturbed.Told(nowhere, step))
        except KeyboardInterrupt:
            raise UserError("stopped") from None


def readings(count: int, folder: Path) -> list[Row]:
    """A signal at a random moment, while a checkpoint or the weights of a record are read again and again."""
    path = folder / "checkpoint.safetensors"
    Student(disturbed.TEACHER, 10, torch.device("cpu"), "fp32").save(path)
    record = disturbed.undisturbed(folder / "whole").load(disturbed.TEACHER)
    readers = (partial(checkpoint_file.read, path), partial(checkpoint_file.read_header, path), record.weights)
    wrong = 0
    with files.handled_signals(signal.default_int_handler):
        for _ in range(count):
            read = random.choice(readers)
            began = time.perf_counter()
            read()
            seconds = random.uniform(0, 2 * (time.perf_counter() - began))
            sender = threading.Timer(seconds, os.kill, (os.getpid(), random.choice(files.SIGNALS)))
            try:
                sender.start()
                while sender.is_alive():
                    read()
                time.sleep(0.01)  # here it comes at the latest
                print("a signal was swallowed", file=sys.stderr)
                wrong += 1
            except KeyboardInterrupt:
                pass
            except UserError as error:
                print(error, file=sys.stderr)
                wrong += 1
            sender.join()
    fault = "an error about a file that is whole, or a signal that is swallowed"
    return [("a signal while a file of weights is read", count, fault, wrong)]


def writings(count: int, folder: Path) -> list[Row]:
    """Kills of what rewrites files, at a random access to their folder or at a random byte written after that."""
    papermill_engines.register(None, InProcess)
    killed, torn = 0, 0
    with contextlib.ExitStack() as stack:
        jobs = _jobs(folder, stack)
        trees = {root: _trees(folder, root, work) for root, work in jobs.items()}
        while killed < count:
            root = list(jobs)[killed % len(jobs)]
            accesses, old, new = trees[root]
            shutil.rmtree(root)
            shutil.copytree(folder / "old" / root.name, root)
            access = random.randint(random.choice((1, max(1, accesses - 6))), accesses)
            code, said = processes.run(partial(_kill, jobs[root], root, access))
            if code not in (-signal.SIGKILL, -signal.SIGXFSZ):
                if code:
                    raise RuntimeError(said)
                continue
            killed += 1
            left = {name: content for name, content in _contents(root).items() if not name.startswith(".")}
            whole = all(content in (old.get(name), new.get(name)) for name, content in left.items())
            ended, said = processes.run(jobs[root])
            if not whole or ended or _contents(root) != new:
                print(f"{root.name}: killed at access {access} of {accesses}: {said}", file=sys.stderr)
                torn += 1
    what = "SIGKILL of claims -o, notebook -o, refresh and sweep, then again"
    return [(what, count, "a file neither of before nor of after, or one too many", torn)]


def _jobs(folder: Path, stack: contextlib.ExitStack) -> dict[Path, Callable[[], object]]:
    """By the folder that each rewrites, four commands in a checkout of one small notebook, without what takes long."""
    for name in ("claims", "own", "notebooks", "build", "book", "old", "temporary"):
        (folder / name).mkdir()
    (folder / "book" / "_toc.yml").write_text("root: index\n")
    cells = [v4.new_code_cell("value = 1", metadata={"tags": ["parameters"]}), v4.new_code_cell("print(value)")]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
    small = v4.new_notebook(cells=[v4.new_markdown_cell("# Small"), *cells], metadata=kernel)
    nbformat.write(small, folder / "notebooks" / "small.ipynb")
    (folder / "claims" / "claims.csv").write_text("of an earlier run\n")
    (folder / "own" / "small.ipynb").write_text("of an earlier run\n")
    store = disturbed.undisturbed(folder / "whole")
    ledger = claims.conclude(claims.compare(store))
    for place, name, value in (
        (tempfile, "tempdir", str(folder / "temporary")),
        (claims, "compare", lambda store: ledger),
        (claims, "conclude", lambda ledger: ledger),
        (notebooks, "CHECKOUT", folder),
        (stale_pages, "fingerprint", lambda *_: {}),
        (attention_measurement, "update_experiment", lambda *_: 0),
        (attention_measurement, "update_imagenet", lambda *_: None),
        (book, "say", lambda text: None),
        (book, "render", lambda stage: None),
    ):
        stack.enter_context(patch.object(place, name, value))
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    table = ["claims", "--results", str(store.folder), "-o", str(folder / "claims" / "claims.csv")]
    return {
        folder / "claims": partial(cli.main, table),
        folder / "own": partial(notebooks.execute, "small", {}, folder / "own" / "small.ipynb"),
        folder / "notebooks": book.refresh,
        folder / "build": partial(sweep.sweep, "small", {"value": ["1", "2"]}),
    }


def _trees(folder: Path, root: Path, work: Callable[[], object]) -> tuple[int, dict, dict]:
    """How often a command accesses a folder, and what this holds before and after it; keeps a copy of before."""
    old = _contents(root)
    shutil.copytree(root, folder / "old" / root.name)
    code, said = processes.run(partial(disturbed.count_accesses, root, work))
    if code:
        raise RuntimeError(said)
    return int(said), old, _contents(root)


def _contents(root: Path) -> dict[str, object]:
    """By path, what every file says: of notebooks the sources and outputs, as times and versions are others."""
    said: dict[str, object] = {}
    for path in root.rglob("*"):
        if path.is_file():
            said[str(path.relative_to(root))] = content = path.read_bytes()
            with contextlib.suppress(ValueError, LookupError, TypeError):
                cells = json.loads(content)["cells"]
                said[str(path.relative_to(root))] = [(cell["source"], cell.get("outputs")) for cell in cells]
    return said


def _kill(work: Callable[[], object], root: Path, access: int) -> None:
    """Does some work, until an access to this folder, or until a random byte of what is written from then on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    counted, at_byte = [], random.choice((None, random.randrange(3000)))

    def count() -> None:
        counted.append(1)
        if len(counted) == access:
            if at_byte is None:
                os.kill(os.getpid(), signal.SIGKILL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (at_byte, resource.RLIM_INFINITY))

    disturbed.watch(root, count)
    work()
