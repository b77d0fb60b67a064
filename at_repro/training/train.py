"""Trains what has no record yet: teachers first, then cohort by cohort, each run owned by one process."""

import io
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cache, partial

import pandas as pd
import torch
from torch import Tensor, nn

from at_repro import data, networks
from at_repro.data import Images
from at_repro.errors import UserError
from at_repro.records import Record, Store
from at_repro.records.schema import content
from at_repro.runs import Run, with_teachers
from at_repro.runs.cohorts import teacher_layers
from at_repro.training import engine, provenance
from at_repro.training.batch import Teacher
from at_repro.training.checkpointer import Checkpointer
from at_repro.training.cuda_graphs import Replay, choose_capture
from at_repro.training.evaluation import evaluate, evaluate_all, stored_weights
from at_repro.training.locks import choose, tidy
from at_repro.training.loop import train_epoch
from at_repro.training.processes import Ranks, join
from at_repro.training.progress import Progress
from at_repro.training.student import Student

WAIT = 5.0  # seconds between two looks at a run that another process is training


def train(
    runs: Iterable[Run],
    store: Store,
    *,
    device: str = "auto",
    data_root: str | None = None,
    compile: str = "auto",
    progress: Progress | None = None,
) -> None:
    """Trains every run, and every teacher it needs, that has no record in the store. Safe to call again at any time.

    Everything is checked before anything is trained. A run that another process is training is waited for, not
    repeated. A run that was stopped goes on at the step where it was, one that was killed from its last checkpoint.

    Args:
        device: "auto" (the GPU where there is one), "cpu" or "cuda".
        data_root: see `data.data_root`.
        compile: "auto" (where it pays), "on" or "off".
        progress: where to report; None: standard error.

    Raises:
        ParameterError: for a value that is not allowed.
        DataError: where a data set is missing or damaged.
        UserError: where the disk refuses a file, the store is then as it was; or where a folder of images is no longer
            what a record was trained on.
        KeyboardInterrupt: after Ctrl-C, SIGTERM or a hangup, when the step in progress is done and saved.
    """
    ranks, target = join(engine.device(device))
    wanted = [run.validate() for run in with_teachers(runs)]
    needed = ranks.decide(lambda: [run for run in wanted if not store.has(run)])
    progress = progress or Progress(None if ranks.first else io.StringIO())
    check_networks(needed, store)
    sets: dict[tuple, Images] = {}
    for run in needed:
        for split, subset in (("train", run.subset), ("test", None)):
            if (run.dataset, split, subset) not in sets:
                sets[run.dataset, split, subset] = data.load(run.dataset, split, data_root, subset).to(target)
        ranks.check(run, len(sets[run.dataset, "train", run.subset]))
    _check_folders([run for run in wanted if run not in needed], store, data_root)
    if ranks.first:
        tidy(store)
    waited: set[Run] = set()
    while needed := ranks.decide(lambda: [run for run in needed if not store.has(run)]):
        with ExitStack() as locks:
            own, precision = ranks.decide(lambda: choose(needed, store, target, locks))
            if precision is not None:  # and so there are runs
                images = sets[own[0].dataset, "train", own[0].subset], sets[own[0].dataset, "test", None]
                _train_cohort(own, store, *images, target, precision, compile, progress, ranks)
                continue
        if needed[0] not in waited:
            progress.say(f"waiting for another process that trains {needed[0].run_id}")
            waited.add(needed[0])
        time.sleep(WAIT)
    if ranks.first:
        tidy(store)


def check_networks(needed: Sequence[Run], store: Store) -> None:
    """Raises UserError where a teacher has a record without usable weights, DataError where ImageNet's are not here,
    ParameterError where "module:function" makes no network: here, and not after days of its teacher's training."""
    for network in {run.network for run in needed}:
        networks.group_layers(network)
    for teacher in {run.teacher for run in needed if run.teacher is not None}:
        if record := store.find(teacher):
            _usable(record)
    for network in {run.network for run in needed if run.start == "imagenet"}:
        networks.pretrained(network)


def _check_folders(recorded: Sequence[Run], store: Store, data_root: str | None) -> None:
    """Raises UserError for a record of a user's own folder of images whose content has changed since.

    A folder that is not here has not changed: its records stand without it.
    """
    root = data.data_root(data_root)
    own = [run for run in recorded if run.dataset not in data.DATA_SETS and (root / data.folder(run.dataset)).is_dir()]

    @cache
    def now(dataset: str, split: str, subset: int | None) -> tuple[str, str]:
        images = data.load(dataset, split, root, subset)
        return images.fingerprint, images.source

    for run in own:
        for split, subset in (("train", run.subset), ("test", None)):
            fingerprint, source = now(run.dataset, split, subset)
            if store.load(run).values["data"][split] != fingerprint:
                raise UserError(
                    f"record {run.run_id} is of other images than those in {source} now; "
                    "delete the record, or give the folder another name"
                )


def _train_cohort(
    runs: Sequence[Run],
    store: Store,
    images: Images,
    test_images: Images,
    device: torch.device,
    precision: str,
    compile: str,
    progress: Progress,
    ranks: Ranks,
) -> None:
    run = runs[0]
    engine.keep_freed_memory()
    engine.repeat_exactly(device)
    # torch averages gradients of a network that is called as it is.
    compiled = engine.compiles(compile, len(images) * run.epochs) and ranks.count == 1
    forward = engine.forward(precision, compiled)
    # Now, not when they are recorded: the code on disk may be another by then.
    environment = provenance.environment(device) | {"precision": precision, "compiled": compiled}
    if ranks.count > 1:
        environment["processes"] = ranks.count
    fingerprints = {"train": images.fingerprint, "test": test_images.fingerprint}
    teachers = {
        teacher: Teacher(
            load_network(store, teacher, images, device), teacher.network, precision, compiled, teacher_layers(run)
        )
        for teacher in {member.teacher for member in runs if member.teacher is not None}
    }
    students = [Student(run, len(images.classes), device, precision, ranks) for run in runs]
    for student in students:
        student.restore(store.checkpoint_path(student.run), fingerprints)
        if not ranks.first:
            student.totals.zero_()  # what was saved is the sum of all processes
        members = [other.run_id for other in runs if other != student.run]
        source = networks.source(student.run.network)
        about = environment | {"company": members} | ({"network": source} if source else {})
        student.begin_session(fingerprints, about)
    progress.begin(students, len(images))
    replay = Replay(choose_capture(images, ranks.count))
    with Checkpointer(store, ranks) as checkpointer:

        def report(active: Sequence[Student], done: int, steps: int, seconds: float) -> None:
            progress.step(done, steps, seconds)
            checkpointer.after_step(active)

        while active := [student for student in students if not student.finished]:
            # After a stop between two checkpoints, or with a new member, students stand at different epochs:
            # those behind catch up first. Batches depend on the epoch alone, so the result is the same.
            epoch = min(student.epoch for student in active)
            active = [student for student in active if student.epoch == epoch]
            rows = train_epoch(active, teachers, images, forward, report, ranks, replay)
            start = time.perf_counter()
            tests = ranks.decide(partial(_test, forward, active, test_images))
            seconds = time.perf_counter() - start
            for student, row, test in zip(active, rows, tests, strict=True):
                student.spend(seconds)
                student.end_epoch(row | test)
            checkpointer.save(active)
            progress.epoch(active, len(images))
    for student in students if ranks.first else ():
        _record(student, store, test_images)
        progress.finished(store.load(student.run))


def _test(forward: engine.Forward, students: Sequence[Student], images: Images) -> list[dict]:
    results = evaluate_all(forward, [student.network for student in students], images)
    return [{"test_loss": result.loss, "test_error": result.error} for result in results]


def load_network(store: Store, run: Run, images: Images, device: torch.device) -> nn.Module:
    """The network of a recorded run with its stored weights, frozen, in evaluation mode.

    Raises UserError where the record has no weights here, or those of other classes, or the run diverged.
    """
    weights = _usable(store.load(run))
    network = networks.build(run.network, len(images.classes))
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise UserError(
            f"the weights of {run.run_id} are not those of a {run.network} for {len(images.classes)} classes"
        ) from None
    return engine.place(network, device).eval().requires_grad_(False)


def _usable(record: Record) -> dict[str, Tensor]:
    if record.diverged:
        raise UserError(f"run {record.run.run_id} diverged in epoch {record.diverged}: its weights cannot be used")
    return record.weights()


def _record(student: Student, store: Store, test_images: Images) -> None:
    weights = stored_weights(student.network)
    student.network.load_state_dict(weights)  # what is published is what is measured
    result = evaluate(engine.forward("fp32", False), student.network, test_images)
    top5 = {} if result.top5_error is None else {"top5_error": result.top5_error}
    final = {"test_error": result.error, "test_loss": result.loss} | top5
    curve = pd.DataFrame(student.curve)
    parameters = sum(parameter.numel() for parameter in student.network.parameters())
    predictions = pd.DataFrame({"label": test_images.labels.cpu(), "prediction": result.predictions})
    values = content(curve, student.sessions, final, parameters, student.diverged)
    store.write(student.run, values, curve, predictions, weights)
    store.checkpoint_path(student.run).unlink(missing_ok=True)
