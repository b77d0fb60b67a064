"""What is allowed in the spec of a run, by itself and together with its networks and images."""

from typing import TypeGuard

from at_repro import data, networks
from at_repro.errors import ParameterError, check_choice, check_count, check_kind, check_range, check_weight
from at_repro.networks import imagenet
from at_repro.runs.spec import Run
from at_repro.runs.terms import Term

STARTS = ("random", "imagenet")
BATCH_NORMS = ("trained", "fixed")
PRECISIONS = ("auto", "bf16", "fp32")


def validate(run: Run) -> Run:
    """Raises ParameterError for the first value of a run, or of its teacher, that is not allowed; returns the run."""
    data.check_name(run.dataset)
    networks.check_name(run.network)
    check_count("epochs", run.epochs)
    check_count("batch_size", run.batch_size)
    if run.subset is not None:
        check_count("subset", run.subset)
    for name in ("seed", "frozen_groups"):
        check_count(name, getattr(run, name), 0)
    check_weight("learning_rate", run.learning_rate)
    check_weight("drop", run.drop)
    check_range("momentum", run.momentum, 1)
    check_range("weight_decay", run.weight_decay)
    check_kind("milestones", run.milestones, tuple, "a tuple of numbers from 0 to 1")
    for milestone in run.milestones:
        check_range("milestones", milestone, 1)
    check_choice("augmentation", run.augmentation, data.augmentations(run.dataset))
    check_choice("precision", run.precision, PRECISIONS)
    check_choice("start", run.start, STARTS)
    check_choice("norms", run.norms, BATCH_NORMS)
    if run.start == "imagenet" and run.network not in imagenet.RESOLUTIONS:
        raise ParameterError("network", run.network, f"{', '.join(imagenet.RESOLUTIONS)} (to start from ImageNet)")
    if run.frozen_groups:
        layers = networks.group_layers(run.network)
        if run.frozen_groups >= len(layers):
            raise ParameterError(
                "frozen_groups", run.frozen_groups, f"an integer below {len(layers)}, the groups there are"
            )
        if "." in (inner := layers[run.frozen_groups - 1]):  # what runs before it, no order of modules says
            raise ParameterError(
                "frozen_groups", run.frozen_groups, f"a group that a child ends: {inner} is an inner layer"
            )
    check_kind("terms", run.terms, tuple, "a tuple of terms")
    for term in run.terms:
        check_kind("terms", term, Term, "a tuple of terms")
        term.validate()
    if run.teacher is not None:
        check_kind("teacher", run.teacher, Run, "a run")
        validate(run.teacher)
    _check_together(run)
    return run


def _check_together(run: Run) -> None:
    """Raises ParameterError unless the terms of a run go together, and with its networks."""
    pairing, teacher = [term for term in run.terms if term.needs_teacher], run.teacher
    if sum(term.replaces_task for term in run.terms) > 1:
        raise ParameterError("terms", run.method, "one term at most that takes a share of the task loss")
    if sum(term.needs_adapters for term in run.terms) > 1:
        raise ParameterError("terms", run.method, "one term at most that needs adapters")
    if pairing and any(term.needs_mirror for term in run.terms):
        raise ParameterError("terms", run.method, "the symmetry norm without terms that need a teacher")
    if not pairing:
        if teacher is not None:
            raise ParameterError("teacher", teacher.run_id, "None, for a run without a term that learns from one")
        return
    if teacher is None:
        raise ParameterError("teacher", None, f"a run, since {run.method} learns from one")
    if teacher.dataset != run.dataset:
        raise ParameterError("teacher", teacher.run_id, f"a run on the student's data set, {run.dataset}")
    for term in pairing:
        if term.layers is not None:
            _check_layers(term, run.network, teacher.network)
        elif term.pairs_groups:
            _check_groups(term, run.network, teacher.network)


def _check_layers(term: Term, student: str, teacher: str) -> None:
    if not _are_pairs(term.layers):
        raise ParameterError(
            "layers", term.layers, "a tuple of one or more pairs of names, each a tuple, the student's layer first"
        )
    if len(set(term.layers)) < len(term.layers):
        raise ParameterError("layers", term.layers, "every pair once")
    if term.groups is not None:
        raise ParameterError("groups", term.groups, "None, where layers are named")
    for network, names in zip((student, teacher), zip(*term.layers, strict=True), strict=True):
        networks.check_layers(network, tuple(dict.fromkeys(names)))


def _are_pairs(layers: object) -> TypeGuard[tuple[tuple[str, str], ...]]:
    if not isinstance(layers, tuple) or not layers:
        return False
    return all(isinstance(pair, tuple) and [type(name) for name in pair] == [str, str] for pair in layers)


def _check_groups(term: Term, student: str, teacher: str) -> None:
    counts = [len(networks.group_channels(network)) for network in (student, teacher)]
    if not min(counts):
        name = (student, teacher)[counts.index(0)]
        raise ParameterError("terms", term.kind, f"a term that compares no groups, since {name} has none")
    if term.groups is None and counts[0] != counts[1]:
        pair = f"{student} and {teacher} have {counts[0]} and {counts[1]}"
        raise ParameterError("groups", None, f"group numbers, since {pair}")
    numbers, groups = range(min(counts)), term.groups
    if groups is not None and not (
        isinstance(groups, tuple)
        and 0 < len(groups) == len(set(groups))
        and all(type(number) is int and number in numbers for number in groups)
    ):
        raise ParameterError("groups", groups, f"a tuple of one or more numbers from 0 to {numbers[-1]}, each once")
