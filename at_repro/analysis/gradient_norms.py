"""Gradient norms of transfer terms at a student's initial weights: all terms on one scale."""

import pandas as pd
import torch
from torch import Tensor

from at_repro import data
from at_repro.analysis.study import Study
from at_repro.data import augment
from at_repro.runs.cohorts import teacher_layers
from at_repro.training import engine, load_network
from at_repro.training.batch import Teacher, TeacherBatch
from at_repro.training.student import Student
from at_repro.training.term_values import term_value

COLUMNS = ["beta", "term", "gradient norm", "of the task"]
BATCH = 128  # of the test set, the first ones: a batch


def gradient_norms_at_init(study: Study) -> pd.DataFrame:
    """Every method that learns from a study's `teacher`, at its student's initial weights, on the first `BATCH` of the
    test set as one batch, in float32.

    Index: the method. Columns: `beta`, the weight of its term; `term`, the term times its weight; `gradient norm`, the
    l2 norm of that product's gradient by all parameters that are trained; `of the task`, the same of the cross-entropy.
    A row per term that needs a teacher, of the first seed; no rows without images or without the teacher's weights.
    """
    images, teacher = study.sample(BATCH), study.columns.get("teacher")
    if images is None or teacher is None or not study.store.has_network(teacher):
        return _table([])
    batch = augment.normalize(images.images, *data.normalization(images.name))
    taught = {column: run for column, run in study.columns.items() if run.teacher == teacher}
    layers = [layer for run in taught.values() for layer in teacher_layers(run)]
    network = load_network(study.store, teacher, images, images.device)
    view = TeacherBatch(Teacher(network, teacher.network, "fp32", False, layers), batch, images.labels)
    rows: list[tuple] = []
    task = 0.0
    for column, run in taught.items():
        student = Student(run, len(images.classes), images.device, "fp32")
        weights = student.begin_epoch().weights
        own = student.see(batch, images.labels, engine.forward("fp32", False))
        task = task or _gradient_norm(own.losses.mean(), student)  # all begin at the same weights
        for term, weight in zip(run.terms, weights, strict=True):
            if term.needs_teacher:
                value = weight * term_value(term, own, view)
                rows.append((column, weight, value.item(), _gradient_norm(value, student), task))
    return _table(rows)


def _table(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["method", *COLUMNS]).set_index("method")


def _gradient_norm(loss: Tensor, student: Student) -> float:
    gradients = torch.autograd.grad(loss, student.parameters(), retain_graph=True, allow_unused=True)
    return torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm().item()
