"""The specification of a run: everything that decides its numbers, and nothing else.

To and from JSON by hand: cattrs was tried on all specs, and needed hooks for floats, terms and the teacher in the run,
while its errors name neither the parameter nor what is allowed.
"""

import hashlib
import json
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from at_repro.errors import ParameterError, check_choice, check_kind
from at_repro.runs.terms import TERMS, Term


@dataclass(frozen=True)
class Run:
    """One training of one network, defaults as in the public code for CIFAR, see `schedules.rate_factor`.

    The identity of a run is a hash of its canonical JSON, from which fields at their defaults are left out: a field
    added later does not change the identity of recorded runs. For the same reason a default is never changed.

    Attributes:
        network: a name for `networks.build`: one of this package, one's own that is registered, or "module:function".
        epochs: training length; the learning rate falls at fixed fractions of it.
        dataset: a name for `data.load`.
        subset: train on this many images only (the first in canonical order); None: on all.
        terms: transfer terms added to the task loss; their order is a part of the identity.
        teacher: the run, on the same data set, whose recorded weights are the teacher, which is trained first where it
            has no record; needed if a term needs one, and only then.
        batch_size: images per step; the last, smaller batch of an epoch is kept.
        learning_rate: of SGD, without Nesterov.
        milestones: fractions of the training length at which the rate is multiplied by `drop`, above 0.
        momentum: of SGD, from 0 to 1.
        weight_decay: on every parameter, batch norm's and biases included.
        augmentation: "crop-flip" (reflect-pad 4, random crop, random flip), "flip", "none", "window-flip" (a random
            window of about 7/8 of the resolution, a multiple of 8 pixels; of up to 32 pixels the whole image, so that
            only the flip is left; tests see whole images) or "resized-crop-flip" (a random part at the size
            of the whole), see `data.augment`.
        precision: "fp32", "bf16" (autocast: convolutions, linear layers and the activations between them; weights,
            statistics, maps and losses in float32), or "auto": the faster of the two on the machine at hand, which the
            record names.
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

    @cached_property  # lists and the ledger ask thousands of times
    def run_id(self) -> str:
        """A readable prefix and ten hexadecimal digits of the hash: the name of the record's folder."""
        digest = hashlib.sha256(self.canonical_json().encode()).hexdigest()
        network = self.network.replace(":", ".")  # of "module:function": no folder may be called so everywhere
        return f"{self.dataset}-{network}-{self.method}-s{self.seed}-{digest[:10]}"

    def to_dict(self) -> dict:
        """The spec as plain data, without the fields at their defaults."""
        return _without_defaults(self)

    def canonical_json(self) -> str:
        """The spec as the one text that stands for it: sorted keys, no spaces, no field at its default."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, values: dict) -> "Run":
        """The inverse of `to_dict`, whose values `checks.validate` then checks.

        Raises ParameterError for a field or kind of term that is unknown, missing or of another structure.
        """
        values = _check_fields("run", values, cls)
        check_kind("network", values["network"], str, "a name")  # the run id is made of it
        for name in {"terms", "milestones"} & values.keys():
            check_kind(name, values[name], list | tuple, "a list")
            values[name] = tuple(map(_term, values[name]) if name == "terms" else values[name])
        if values.get("teacher") is not None:
            values["teacher"] = cls.from_dict(values["teacher"])
        return cls(**values)


def _without_defaults(item: Run | Term) -> dict:
    values = {}
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
        values[field.name] = value
    return values


def _term(values: dict) -> Term:
    check_kind("term", values, dict, "an object with the field 'kind'")
    values = dict(values)
    kind = values.pop("kind", None)
    check_choice("term", kind, TERMS)
    values = _check_fields(f"term {kind}", values, TERMS[kind])
    return TERMS[kind](**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were, inner ones too."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _check_fields(what: str, values: dict, kind: type) -> dict:
    """A copy of the fields given for a dataclass: none that it does not have, and all that have no default."""
    check_kind(what, values, dict, "an object with fields")
    for name in values:
        check_choice(f"field of {what}", name, [field.name for field in fields(kind)])
    for field in fields(kind):
        if field.default is MISSING and field.name not in values:
            raise ParameterError(what, values, f"an object with the field {field.name!r}")
    return dict(values)
