"""The cohort loop: students that share data, schedule and seed are trained together.

Each batch is augmented once and passes through each frozen teacher once, then through every student. A student
sees nothing of its company: its weights are the same, bit for bit on the CPU, whoever is trained beside it.
"""

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from at_repro import data
from at_repro.data import ImageSet, augment
from at_repro.training import engine
from at_repro.training.batch import Teacher
from at_repro.training.engine import Forward
from at_repro.training.spec import Run
from at_repro.training.student import Student

Report = Callable[[int, int, float], None]  # steps done, steps in all, seconds since the epoch began


def train_epoch(
    students: list[Student],
    teachers: dict[Run, Teacher],
    images: ImageSet,
    forward: Forward,
    report: Report,
) -> list[dict]:
    """Trains students of one cohort, all at the same epoch, for one epoch; returns `train_loss` (the task loss) and
    `train_error` (percent, on the augmented images) of each. A student whose loss is not finite has NaN there.
    """
    run = students[0].run
    settings = [student.begin_epoch() for student in students]
    needed = {student.run.teacher for student in students if any(term.needs_teacher for term in student.run.terms)}
    totals = torch.zeros(len(students), 2, dtype=torch.float64, device=images.images.device)
    steps = math.ceil(len(images) / run.batch_size)
    start = time.perf_counter()
    for step, (batch, labels) in enumerate(batches(images, run, students[0].epoch), 1):
        shown = {teacher: teachers[teacher].see(batch, labels) for teacher in needed}
        for student, (share, weights), total in zip(students, settings, totals, strict=True):
            seen = student.see(batch, labels, forward)
            task = seen.losses.mean()
            loss = share * task
            for term, weight in zip(student.run.terms, weights, strict=True):
                loss = loss + weight * term.value(seen, shown.get(student.run.teacher))
            loss.backward()
            student.optimizer.step()
            student.optimizer.zero_grad()
            with torch.no_grad():
                total[0] += task * len(labels) + 0.0 * loss
                total[1] += (seen.output.logits[: len(labels)].argmax(1) != labels).sum()
        report(step, steps, time.perf_counter() - start)
    sums = (totals / len(images)).tolist()
    return [{"train_loss": loss, "train_error": 100 * error} for loss, error in sums]


def batches(images: ImageSet, run: Run, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch, normalised float32 images and labels, the last and smaller one kept.

    They depend on the run's seed and the epoch alone, so that a run goes on after a stop without stored random state.
    """
    device = images.images.device
    # Order and augmentation come from two generators: another augmentation leaves the order as it was.
    order = torch.randperm(len(images), generator=engine.generator(run.seed, f"order/{epoch}")).to(device)
    draws = engine.generator(run.seed, f"augmentation/{epoch}", device)
    mean, std = data.normalization(images.name)
    for chosen in order.split(run.batch_size):
        batch = images.images[chosen]
        if run.augmentation == "crop-flip":
            batch = augment.crop_flip(batch, draws)
        elif run.augmentation == "flip":
            batch = augment.flip(batch, draws)
        yield augment.normalize(batch, mean, std), images.labels[chosen]
