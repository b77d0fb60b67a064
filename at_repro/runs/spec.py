"""The specification of a run: everything that decides its numbers, and nothing else."""

import hashlib
import json
import math
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import TypeGuard

from at_repro import data, networks
from at_repro.errors import ParameterError, check_choice, check_count, check_weight, is_integer, is_number
from at_repro.networks import imagenet
from at_repro.runs.terms import TERMS, Term

STARTS = ("random", "imagenet")
NORMS = ("trained", "fixed")
PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True)
class Run:
    """One training of one network, defaults as in Section 4.1 of the paper and its public code.

    The identity of a run is a hash of its canonical JSON, from which fields at their defaults are left out: a field
    added later does not change the identity of recorded runs. For the same reason a default is never changed.

    Attributes:
        network: a name for `networks.build`.
        epochs: training length; the learning rate falls at fixed fractions of it.
        dataset: a name for `data.load`.
        subset: train on this many images only (the first in canonical order); None: on all.
        terms: transfer terms added to the task loss.
        teacher: the run whose recorded weights are the teacher; needed if a term needs one.
        batch_size: images per step; the last, smaller batch of an epoch is kept.
        learning_rate: of SGD with momentum, no Nesterov.
        milestones: fractions of the training length at which the rate is multiplied by `drop`.
        weight_decay: on every parameter, batch norm's and biases included.
        augmentation: "crop-flip" (reflect-pad 4, random crop, random flip), "flip", "none", "window-flip" (a random
            window of 7/8 of the side; tests see whole images) or "resized-crop-flip" (a random part at the size of the
            whole), see `data.augment`.
        precision: "fp32", "bf16" (autocast for convolutions, everything else in float32), or "auto": the faster of
            the two on the machine at hand, which the record names.
        seed: decides initial weights, the order of images and their augmentation.
        start: what the training starts from: "random" weights, or "imagenet", those of `networks.pretrained` with a new
            last layer, drawn from the seed.
        norms: "trained", or "fixed": batch norms keep their statistics, weights and biases (Section 4.2).
        frozen_groups: the first so many groups of the network, and what is before them, keep their weights.
    """

    network: str
    epochs: int
    dataset: str = "cifar10"
    subset: int | None = None
    terms: tuple[Term, ...] = ()
    teacher: "Run | None" = None
    batch_size: int = 128
    learning_rate: float = 0.1
    milestones: tuple[float, ...] = (0.3, 0.6, 0.8)
    drop: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: str = "crop-flip"
    precision: str = "auto"
    seed: int = 0
    start: str = "random"
    norms: str = "trained"
    frozen_groups: int = 0

    @property
    def method(self) -> str:
        """The terms in short, as run ids name them: "plain" without a term, else for example "at+kd"."""
        return "+".join(term.kind for term in self.terms) or "plain"

    @property
    def run_id(self) -> str:
        """A readable prefix and ten hexadecimal digits of the hash: the name of the record's folder."""
        digest = hashlib.sha256(self.canonical_json().encode()).hexdigest()
        return f"{self.dataset}-{self.network}-{self.method}-s{self.seed}-{digest[:10]}"

    def to_dict(self) -> dict:
        """The spec as plain data, without the fields at their defaults."""
        return _without_defaults(self)

    def canonical_json(self) -> str:
        """The spec as the one text that stands for it: sorted keys, no spaces, no field at its default."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, values: dict) -> "Run":
        """The inverse of `to_dict`, whose values `validate` then checks.

        Raises ParameterError for a field or kind of term that is unknown, missing or of another structure.
        """
        values = _checked("run", values, cls)
        for name in {"terms", "milestones"} & values.keys():
            _check_kind(name, values[name], list | tuple, "a list")
        if "terms" in values:
            values["terms"] = tuple(_term(term) for term in values["terms"])
        if values.get("teacher") is not None:
            values["teacher"] = cls.from_dict(values["teacher"])
        if "milestones" in values:
            values["milestones"] = tuple(values["milestones"])
        return cls(**values)

    def validate(self) -> "Run":
        """Raises ParameterError for the first value that is not allowed; returns the run."""
        data.check_name(self.dataset)
        networks.check_name(self.network)
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        if self.subset is not None:
            check_count("subset", self.subset)
        if not is_integer(self.seed) or self.seed < 0:
            raise ParameterError("seed", self.seed, "an integer from 0")
        check_weight("learning_rate", self.learning_rate)
        check_weight("drop", self.drop)
        _check_range("momentum", self.momentum, 0, 1)
        _check_range("weight_decay", self.weight_decay, 0, math.inf)
        _check_kind("milestones", self.milestones, tuple, "a tuple of numbers from 0 to 1")
        for milestone in self.milestones:
            _check_range("milestones", milestone, 0, 1)
        check_choice("augmentation", self.augmentation, data.augmentations(self.dataset))
        check_choice("precision", self.precision, PRECISIONS)
        self._check_start()
        _check_kind("terms", self.terms, tuple, "a tuple of terms")
        for term in self.terms:
            _check_kind("terms", term, Term, "a tuple of terms")
            term.validate()
        if self.teacher is not None:
            _check_kind("teacher", self.teacher, Run, "a run")
            self.teacher.validate()
        _check_together(self)
        return self

    def _check_start(self) -> None:
        """Raises ParameterError unless start, norms and frozen groups are allowed for this network."""
        check_choice("start", self.start, STARTS)
        check_choice("norms", self.norms, NORMS)
        if self.start == "imagenet" and self.network not in imagenet.RESOLUTIONS:
            raise ParameterError("network", self.network, f"{', '.join(imagenet.RESOLUTIONS)} (to start from ImageNet)")
        if not is_integer(self.frozen_groups) or self.frozen_groups < 0:
            raise ParameterError("frozen_groups", self.frozen_groups, "an integer from 0")
        if self.frozen_groups and self.frozen_groups >= (groups := len(networks.group_layers(self.network))):
            raise ParameterError(
                "frozen_groups", self.frozen_groups, f"an integer below {groups}, the groups there are"
            )


def _without_defaults(item: Run | Term) -> dict:
    kept = {}
    for field in fields(item):
        value = getattr(item, field.name)
        if value == field.default:
            continue
        if field.type is float and isinstance(value, int):
            value = float(value)  # 500 and 500.0 are one run
        if field.type == tuple[float, ...]:
            value = tuple(map(float, value))
        if isinstance(value, Run):
            value = _without_defaults(value)
        elif isinstance(value, tuple):
            value = [
                {"kind": entry.kind} | _without_defaults(entry) if isinstance(entry, Term) else entry for entry in value
            ]
        kept[field.name] = value
    return kept


def _term(values: dict) -> Term:
    _check_kind("term", values, dict, "an object with the field 'kind'")
    values = dict(values)
    kind = values.pop("kind", None)
    check_choice("term", kind, tuple(TERMS))
    values = _checked(f"term {kind}", values, TERMS[kind])
    return TERMS[kind](**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: object) -> object:
    """JSON's lists as the tuples that they were, inner ones too."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _checked(what: str, given: dict, kind: type) -> dict:
    """A copy of the fields given for a dataclass: none that it does not have, and all that have no default."""
    _check_kind(what, given, dict, "an object with fields")
    known = fields(kind)
    for name in given:
        check_choice(f"field of {what}", name, [field.name for field in known])
    for field in known:
        if field.default is MISSING and field.name not in given:
            raise ParameterError(what, given, f"an object with the field {field.name!r}")
    return dict(given)


def _check_kind(parameter: str, value: object, kind: type | UnionType, allowed: str) -> None:
    if not isinstance(value, kind):
        raise ParameterError(parameter, value, allowed)


def _check_range(parameter: str, value: object, low: float, high: float) -> None:
    if not is_number(value) or not low <= value <= high:
        allowed = f"a number from {low} to {high}" if math.isfinite(high) else f"a number from {low}"
        raise ParameterError(parameter, value, allowed)


def _check_together(run: Run) -> None:
    """Raises ParameterError unless the terms of a run go together, and with its networks."""
    taught = [term for term in run.terms if term.needs_teacher]
    teacher = run.teacher
    if taught and teacher is None:
        raise ParameterError("teacher", None, f"a run, since {run.method} learns from one")
    if taught and teacher is not None and teacher.dataset != run.dataset:
        raise ParameterError("teacher", teacher.run_id, f"a run on the student's data set, {run.dataset}")
    if sum(term.replaces_task for term in run.terms) > 1:
        raise ParameterError("terms", run.method, "one term at most that takes a share of the task loss")
    if sum(term.needs_adapters for term in run.terms) > 1:
        raise ParameterError("terms", run.method, "one term at most that needs adapters")
    if taught and any(term.needs_mirror for term in run.terms):
        raise ParameterError("terms", run.method, "the symmetry norm without terms that need a teacher")
    for term in taught:
        assert teacher is not None  # as was checked above
        if term.layers is not None:
            _check_layers(term, run.network, teacher.network)
        elif term.pairs_groups:
            _check_groups(term, run.network, teacher.network)


def _check_layers(term: Term, student: str, teacher: str) -> None:
    if not _are_pairs(term.layers):
        raise ParameterError("layers", term.layers, "one or more pairs of names, the student's layer first")
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
    if term.groups is None and counts[0] != counts[1]:
        pair = f"{student} and {teacher} have {counts[0]} and {counts[1]}"
        raise ParameterError("groups", None, f"group numbers, since {pair}")
    numbers = range(min(counts))
    if term.groups is not None and not _are_among(term.groups, numbers):
        raise ParameterError("groups", term.groups, f"one or more numbers from 0 to {numbers[-1]}, each once")


def _are_among(groups: object, numbers: range) -> bool:
    if not isinstance(groups, tuple) or not groups:
        return False
    return len(set(groups)) == len(groups) and all(type(number) is int and number in numbers for number in groups)
