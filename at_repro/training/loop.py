"""The cohort loop: students that share data, schedule and seed are trained together, until each has its record.

Each batch is augmented once and passes through the frozen teacher once, then through every student. A student
sees nothing of the other members: its weights are the same, bit for bit on the CPU, whoever is trained beside it.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from at_repro import data, networks
from at_repro.data import Images, augment
from at_repro.networks.initialise import seeded
from at_repro.records import Record, Store
from at_repro.records.schema import content
from at_repro.runs import Run
from at_repro.runs.cohorts import teacher_layers
from at_repro.training import engine, provenance
from at_repro.training.batch import Teacher, TeacherBatch
from at_repro.training.checkpointer import Checkpointer
from at_repro.training.cuda_graphs import AS_WRITTEN, Replay, choose_capture, side_by_side
from at_repro.training.engine import Forward
from at_repro.training.evaluation import evaluate
from at_repro.training.processes import ALONE, Ranks
from at_repro.training.progress import Progress
from at_repro.training.student import Settings, Student
from at_repro.training.term_values import term_value
from at_repro.training.weights import load_network, stored_weights

# Of students: the steps they have done of all, and the seconds that the epoch took so far.
AfterStep = Callable[[Sequence[Student], int, int, float], None]


def train_cohort(
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
    """Trains runs of one cohort until each has its record; each goes on where its checkpoint is.

    Args:
        images, test_images: of the runs, on the device.
        precision, compile: see `engine.forward` and `engine.compiles`.

    Raises UserError and KeyboardInterrupt as `missing_runs.train`.
    """
    run = runs[0]
    engine.keep_freed_memory()
    engine.repeat_exactly(device)
    compiled = ranks.count == 1 and engine.compiles(compile, len(images) * run.epochs, device)
    forward = engine.forward(precision, compiled)
    # Now, not when they are recorded: the code on disk may be another by then.
    environment = provenance.environment(device) | {"precision": precision, "processes": ranks.count}
    fingerprints = {"train": images.fingerprint, "test": test_images.fingerprint}
    teacher = None
    if taught_by := next((member.teacher for member in runs if member.teacher is not None), None):
        network = load_network(store, taught_by, images, device)
        teacher = Teacher(network, taught_by.network, precision, compiled, teacher_layers(run))
    students = [Student(run, len(images.classes), device, precision, ranks) for run in runs]
    for student in students:
        student.restore(store.checkpoint_path(student.run), fingerprints)
        if not ranks.first:
            student.totals.zero_()  # what was saved is the sum of all processes
        members = [other.run_id for other in runs if other != student.run]
        source = networks.source(student.run.network)
        about = environment | {"company": members, "compiled": compiled and not student.differentiates_twice}
        about |= {"network": source} if source else {}
        student.begin_session(fingerprints, about)
    progress.begin(students, len(images))
    replay = Replay(choose_capture(images, ranks.count))
    with Checkpointer(store, ranks) as checkpointer:

        def after_step(active: Sequence[Student], step: int, steps: int, seconds: float) -> None:
            progress.step(step, steps, seconds)
            checkpointer.after_step(active)

        while active := [student for student in students if not student.finished]:
            # After a stop between two checkpoints, or with a new member, students stand at different epochs:
            # those behind catch up first. Batches depend on the epoch alone, so the result is the same.
            epoch = min(student.epoch for student in active)
            active = [student for student in active if student.epoch == epoch]
            rows = train_epoch(active, teacher, images, forward, after_step, ranks, replay)
            start = time.perf_counter()
            tests = ranks.decide(partial(_test, forward, active, test_images))
            seconds = time.perf_counter() - start
            for student, row, test in zip(active, rows, tests, strict=True):
                student.spend(seconds)
                student.end_epoch(row | test)
            checkpointer.save(active)
            progress.epoch(active, len(images))
    for student in students if ranks.first else ():
        progress.end(_record(student, store, test_images))


def _test(forward: Forward, students: Sequence[Student], images: Images) -> list[dict]:
    results = evaluate(forward, [student.network for student in students], images)
    return [{"test_loss": result.loss, "test_error": result.error} for result in results]


def _record(student: Student, store: Store, test_images: Images) -> Record:
    weights = stored_weights(student.network)
    student.network.load_state_dict(weights)  # what is published is what is measured
    result = evaluate(engine.forward("fp32", False), [student.network], test_images)[0]
    top5 = {} if result.top5_error is None else {"top5_error": result.top5_error}
    final = {"test_error": result.error, "test_loss": result.loss} | top5
    curve = pd.DataFrame(student.curve)
    last = curve.index[-1]
    if math.isfinite(curve.loc[last, "test_loss"]) != math.isfinite(result.loss):
        # Of the stored weights, which say whether the run has diverged.
        curve.loc[last, ["test_loss", "test_error"]] = result.loss, result.error
    parameters = networks.parameter_count(student.network)
    predictions = pd.DataFrame({"label": test_images.labels.cpu(), "prediction": result.predictions})
    values = content(curve, student.sessions, final, parameters, student.diverged)
    record = store.write(student.run, values, curve, predictions, weights)
    store.checkpoint_path(student.run).unlink(missing_ok=True)
    return record


def train_epoch(
    students: Sequence[Student],
    teacher: Teacher | None,
    images: Images,
    forward: Forward,
    after_step: AfterStep,
    ranks: Ranks = ALONE,
    replay: Replay = AS_WRITTEN,
) -> list[dict]:
    """Trains students of one cohort, all in the same epoch, to its end; returns `train_loss` (the task loss) and
    `train_error` (percent, on the augmented images) of each. A loss that is not finite is NaN.

    Students that were stopped within the epoch go on at their step, those behind first. Whenever `after_step` is
    called, every student can be saved. With `ranks`, this process sees its part of every batch; the losses are those of
    all. `replay` keeps its graphs from epoch to epoch.
    """
    run = students[0].run
    settings = {student: student.begin_epoch() for student in students}
    steps = math.ceil(len(images) / run.batch_size)
    start = time.perf_counter()
    first = min(student.step for student in students)
    for step, (batch, labels) in enumerate(batches(images, run, students[0].epoch, ranks, first), first + 1):
        learners = [student for student in students if student.step < step]
        weight = ranks.weight(len(labels), min(run.batch_size, len(images) - (step - 1) * run.batch_size))
        numbers = [settings[student] for student in learners]
        learn = partial(_learn_together, learners, numbers, teacher, forward, weight)
        replay(learn, learners, (numbers, weight), batch, labels)
        seconds = time.perf_counter() - start
        for student in learners:
            student.step = step
            student.spend(seconds)
        after_step(students, step, steps, learners[0].seconds)
        start = time.perf_counter()
    ranks.collect([student.totals for student in students])
    sums = ranks.decide(lambda: (torch.stack([student.totals for student in students]) / len(images)).tolist())
    for student in students:  # a GPU may have many steps before it until then
        student.spend(time.perf_counter() - start)
    return [{"train_loss": loss, "train_error": 100 * error} for loss, error in sums]


def _learn_together(
    students: Sequence[Student],
    settings: Sequence[Settings],
    teacher: Teacher | None,
    forward: Forward,
    part: float,
    images: Tensor,
    labels: Tensor,
) -> None:
    """One step of all students; `part` of the whole batch."""
    view = None  # what the teacher says of the batch
    if teacher is not None and any(student.run.teacher is not None for student in students):
        view = TeacherBatch(teacher, images, labels)
    side_by_side(
        [
            partial(_learn, student, numbers, images, labels, view, forward, part)
            for student, numbers in zip(students, settings, strict=True)
        ]
    )


def _learn(
    student: Student,
    settings: Settings,
    images: Tensor,
    labels: Tensor,
    teacher: TeacherBatch | None,
    forward: Forward,
    part: float,
) -> None:
    """One step of one student: its share of the task loss and the terms with their weights."""
    student.optimizer.zero_grad()  # before, not after: a capture that failed may have left gradients
    with _own_draws(student, images.device):
        own = student.see(images, labels, forward)
        task = own.losses.mean()
        loss = settings.share * task
        for term, weight in zip(student.run.terms, settings.weights, strict=True):
            loss = loss + weight * term_value(term, own, teacher)
        (loss if part == 1.0 else part * loss).backward()
    student.optimizer.step()
    with torch.no_grad():
        student.totals[0] += task * len(labels) + 0.0 * loss
        student.totals[1] += (own.output.logits[: len(labels)].argmax(1) != labels).sum()


@contextmanager
def _own_draws(student: Student, device: torch.device) -> Iterator[None]:
    """What a network of one's own draws in this step, dropout for example, neither company nor a stop changes.

    On a GPU its default generator is seeded and left so, and a step that draws is not replayed: captured, it would draw
    otherwise, or on the CPU always the same, see `Replay`.
    """
    seed = engine.generator(student.run.seed, f"draws/{student.epoch}/{student.step}/{student.rank}").initial_seed()
    if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        torch.cuda.manual_seed(seed)
    with seeded(seed):
        before = torch.get_rng_state()
        yield
        student.draws |= not torch.equal(before, torch.get_rng_state())


def batches(
    images: Images, run: Run, epoch: int, ranks: Ranks = ALONE, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's part of the batches of an epoch, normalised float32 images and labels, the last and smaller one
    kept; without those that are done.

    They depend on the run's seed, the epoch and the kind of device alone, so that a run goes on after a stop without
    stored random state.
    """
    # Order and augmentation come from two generators: another augmentation leaves the order as it was.
    order = torch.randperm(len(images), generator=engine.generator(run.seed, f"order/{epoch}"))
    draws = engine.generator(run.seed, f"augmentation/{epoch}", images.draw_device)
    mean, std = data.normalization(images.name)
    for batch, labels in images.batches(order, run.batch_size, run.augmentation, draws, ranks.share, first):
        yield augment.normalize(batch, mean, std), labels
