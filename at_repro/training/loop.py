"""The cohort loop: students that share data, schedule and seed are trained together.

Each batch is augmented once and passes through each frozen teacher once, then through every student. A student
sees nothing of the other members: its weights are the same, bit for bit on the CPU, whoever is trained beside it.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from at_repro import data
from at_repro.data import Images, augment
from at_repro.runs import Run
from at_repro.training import engine
from at_repro.training.batch import Teacher, TeacherBatch
from at_repro.training.cuda_graphs import AS_WRITTEN, Replay, side_by_side
from at_repro.training.engine import Forward
from at_repro.training.processes import ALONE, Ranks
from at_repro.training.student import Settings, Student
from at_repro.training.term_values import term_value

# Of students: the steps they have done of all, and the seconds that the epoch took so far.
Report = Callable[[Sequence[Student], int, int, float], None]


def train_epoch(
    students: Sequence[Student],
    teachers: dict[Run, Teacher],
    images: Images,
    forward: Forward,
    report: Report,
    ranks: Ranks = ALONE,
    replay: Replay = AS_WRITTEN,
) -> list[dict]:
    """Trains students of one cohort, all in the same epoch, to its end; returns `train_loss` (the task loss) and
    `train_error` (percent, on the augmented images) of each. A student whose loss is not finite has NaN there.

    Students that were stopped within the epoch go on at their step, those behind first. Whenever `report` is called,
    every student can be saved. With `ranks`, this process sees its part of every batch; the losses are those of all.
    `replay` keeps its recordings from epoch to epoch.
    """
    run = students[0].run
    settings = {student: student.begin_epoch() for student in students}
    steps = math.ceil(len(images) / run.batch_size)
    start = time.perf_counter()
    done = min(student.step for student in students)
    for step, (batch, labels) in enumerate(batches(images, run, students[0].epoch, ranks, done), done + 1):
        behind = [student for student in students if student.step < step]
        weight = ranks.weight(len(labels), min(run.batch_size, len(images) - (step - 1) * run.batch_size))
        numbers = [settings[student] for student in behind]
        learn = partial(_learn_together, behind, numbers, teachers, forward, weight)
        replay(learn, behind, (numbers, weight), batch, labels)
        seconds = time.perf_counter() - start
        for student in behind:
            student.step = step
            student.spend(seconds)
        report(students, step, steps, behind[0].seconds)
        start = time.perf_counter()
    ranks.collect([student.totals for student in students])
    sums = ranks.decide(lambda: (torch.stack([student.totals for student in students]) / len(images)).tolist())
    return [{"train_loss": loss, "train_error": 100 * error} for loss, error in sums]


def _learn_together(
    students: Sequence[Student],
    settings: Sequence[Settings],
    teachers: dict[Run, Teacher],
    forward: Forward,
    part: float,
    images: Tensor,
    labels: Tensor,
) -> None:
    """One step of all students; `part` of the whole batch."""
    views: dict[Run | None, TeacherBatch] = {}  # what each teacher that is needed says of the batch
    for run in (student.run for student in students):
        if run.teacher is not None and run.teacher not in views and any(term.needs_teacher for term in run.terms):
            views[run.teacher] = teachers[run.teacher].see(images, labels)
    side_by_side(
        [
            partial(_learn, student, numbers, images, labels, views.get(student.run.teacher), forward, part)
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
    student.optimizer.zero_grad()  # before, not after: a recording that failed may have left gradients
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


def batches(
    images: Images, run: Run, epoch: int, ranks: Ranks = ALONE, done: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's part of the batches of an epoch, normalised float32 images and labels, the last and smaller one
    kept; without those that are done.

    They depend on the run's seed, the epoch and the kind of device alone, so that a run goes on after a stop without
    stored random state.
    """
    # Order and augmentation come from two generators: another augmentation leaves the order as it was.
    order = torch.randperm(len(images), generator=engine.generator(run.seed, f"order/{epoch}"))
    draws = engine.generator(run.seed, f"augmentation/{epoch}", images.drawn_on)
    mean, std = data.normalization(images.name)
    for batch, labels in images.batches(order, run.batch_size, run.augmentation, draws, ranks.share, done):
        yield augment.normalize(batch, mean, std), labels
