"""Commands whose output is closed, on a full disk, or a pipe that nobody reads any more."""

import os
import random
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from unittest.mock import patch

import disturbed
import processes
from disturbed import Row

from at_repro import cli, experiments
from at_repro.experiments import Experiment, Preset, columns_of
from at_repro.records import Store

NAME = "wrn-16-2-to-16-1"
WHOLE, CLOSED, FULL, UNREAD = "whole", "closed", "full", "unread"
# How a command ends that did what it was asked for, by what its standard output is; see `cli.main`.
CODES = {WHOLE: 0, CLOSED: 0, FULL: 2, UNREAD: 141}
LISTS = (["--help"], ["run", "--help"], ["experiments"], ["status", NAME])
REFUSED = (["status", "table-9"], ["run", NAME, "--seeds", "-1"], ["verify", "--device", "tpu"])


def commands(count: int, folder: Path) -> list[Row]:
    """What only lists, and what is refused, with a random state of both outputs."""
    wrong = 0
    for number in range(count):
        refused = number % 3 == 0
        out, err = random.choice(list(CODES)), random.choice(list(CODES))
        arguments = random.choice(REFUSED if refused else LISTS)
        if arguments[0] == "status":
            arguments = [*arguments, "--results", str(folder)]
        code, said = processes.run(partial(_main, arguments, out, err, unread_after=0))
        wrong += not _is_right(code, said, 2 if refused else CODES[out], arguments, out, err)
    fault = "another exit code than that of what was done, or a traceback"
    return [("a command whose output is closed, full or not read", count, fault, wrong)]


def trainings(count: int, folder: Path) -> list[Row]:
    """A training that nobody reads the progress of, or somebody only so far, and nobody its last line."""
    whole, wrong = disturbed.undisturbed(folder / "whole"), 0
    student = disturbed.STUDENTS[0]
    smoke = Preset("smoke", "", disturbed.TINY | {"epochs": 1}, disturbed.TINY | {"epochs": 2}, (0,))
    tiny = Experiment(NAME, "", columns_of("wrn-10-1", "wrn-10-1", {}))
    for number in range(count):
        store = Store(folder / f"unread-{number}", writable=True)
        out, err = random.choice(list(CODES)), random.choice((CLOSED, FULL, UNREAD))
        arguments = ["run", NAME, "--columns", "student", "--device", "cpu", "--results", str(store.folder)]
        work = partial(_main, arguments, out, err, unread_after=random.randrange(500))
        with patch.dict(experiments.PRESETS, smoke=smoke), patch.dict(experiments.EXPERIMENTS, {NAME: tiny}):
            code, said = processes.run(work)
        recorded = store.has(student) and disturbed.same(store, whole, [student])
        wrong += not (_is_right(code, said, CODES[out], arguments, out, err) and recorded)
    fault = "no record, or exit code 0 where the last line is lost"
    return [("a training whose output is closed, full or not read to its end", count, fault, wrong)]


def _is_right(code: int, said: str, expected: int, *given: object) -> bool:
    if code == expected and "Traceback" not in said:
        return True
    print(f"ended with {code} in place of {expected}: {given}: {said}", file=sys.stderr)
    return False


def _main(arguments: list[str], out: str, err: str, unread_after: int) -> None:
    """The command line as this process, to its very end: what is left in buffers is written, as Python does it."""
    told = os.fdopen(os.dup(2), "w")  # what the parent reads, whatever becomes of standard error
    sys.stdout, sys.stderr = _stream(1, out, 0), _stream(2, err, unread_after)
    try:
        code = cli.main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        traceback.print_exc(file=told)
        code = 1
    try:
        sys.stdout.flush()
    except OSError:
        code = 120  # as Python ends then, but not where it is standard error
    told.close()
    os._exit(code)


def _stream(descriptor: int, state: str, unread_after: int):
    """What Python makes of a standard stream that is so: whole as it is, unread after so many bytes of it."""
    if state == CLOSED:
        os.close(descriptor)
        return None
    if state == UNREAD:
        reading, writing = os.pipe()
        os.dup2(writing, descriptor)
        os.close(writing)
        reader = threading.Thread(target=_leave, args=(reading, unread_after), daemon=True)
        reader.start()
        if not unread_after:
            reader.join()
    if state == FULL or (state == WHOLE and descriptor == 1):
        os.dup2(os.open("/dev/full" if state == FULL else os.devnull, os.O_WRONLY), descriptor)
    return open(descriptor, "w", buffering=1 if descriptor == 2 else -1, closefd=False)


def _leave(reading: int, count: int) -> None:
    while count > 0 and (content := os.read(reading, count)):
        count -= len(content)
    os.close(reading)
