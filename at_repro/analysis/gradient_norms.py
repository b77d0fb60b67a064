"""Gradient norms of transfer terms at a student's initial weights: all terms on one scale."""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from at_repro import data
from at_repro.analysis.study import Study
from at_repro.data import ImageSet, augment
from at_repro.records import Store
from at_repro.runs import Run
from at_repro.runs.cohorts import teacher_layers
from at_repro.training import engine, load_network
from at_repro.training.batch import Teacher, TeacherBatch
from at_repro.training.student import Student
from at_repro.training.term_values import term_value

COLUMNS = ["beta", "term", "gradient norm", "of the task"]
BATCH = 128  # of the test set, the first ones: a batch


def gradient_norms_at_init(study: Study) -> pd.DataFrame:
    """Every method of a study at its student's initial weights, on the first `BATCH` of the test set as one batch, in
    float32.

    Index: the method. Columns: `beta`, the weight of its term; `term`, the term times its weight; `gradient norm`, the
    l2 norm of that product's gradient by all parameters that are trained; `of the task`, the same of the cross-entropy.
    A row per term that needs a teacher, of the first seed; no rows without images or without the teacher's weights.
    """
    images = study.sample(BATCH)
    rows: list[tuple] = []
    for teacher in dict.fromkeys(run.teacher for run in study.columns.values()):
        if images is not None and teacher is not None and study.store.has_network(teacher):
            own = {column: run for column, run in study.columns.items() if run.teacher == teacher}
            rows += _of_teacher(teacher, own, study.store, images)
    return pd.DataFrame(rows, columns=["method", *COLUMNS]).set_index("method")


def _of_teacher(teacher: Run, columns: dict[str, Run], store: Store, images: ImageSet) -> list[tuple]:
    """The rows of the methods that learn from one teacher, which sees the batch once."""
    batch = augment.normalize(images.images, *data.normalization(images.name))
    layers = [layer for run in columns.values() for layer in teacher_layers(run)]
    network = load_network(store, teacher, images, images.device)
    view = TeacherBatch(Teacher(network, teacher.network, "fp32", False, layers), batch, images.labels)
    rows: list[tuple] = []
    tasks: dict[Run, float] = {}  # by the plain student, whose initial weights all methods share
    for column, run in columns.items():
        student = Student(run, len(images.classes), images.device, "fp32")
        weights = student.begin_epoch().weights
        own = student.see(batch, images.labels, engine.forward("fp32", False))
        plain = replace(run, terms=(), teacher=None)
        if plain not in tasks:
            tasks[plain] = _gradient_norm(own.losses.mean(), student)
        for term, weight in zip(run.terms, weights, strict=True):
            if term.needs_teacher:
                value = weight * term_value(term, own, view)
                rows.append((column, weight, value.item(), _gradient_norm(value, student), tasks[plain]))
    return rows


def _gradient_norm(loss: Tensor, student: Student) -> float:
    gradients = torch.autograd.grad(loss, student.parameters(), retain_graph=True, allow_unused=True)
    return torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm().item()
