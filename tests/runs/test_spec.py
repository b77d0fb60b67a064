import json
import re

import pytest

from at_repro.errors import ParameterError
from at_repro.runs import ActivationTransfer, Distillation, FullActivation, Run, SymmetryNorm, checks

TEACHER = Run("wrn-16-2", epochs=60)


def test_a_spec_survives_json():
    run = Run(
        "wrn-16-1", epochs=40, seed=3, teacher=TEACHER, milestones=(0.5,),
        terms=(ActivationTransfer(beta=10.0, groups=(0, 2)), Distillation()),
    )  # fmt: skip
    assert Run.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_fields_at_their_defaults_do_not_enter_the_identity():
    """A field that is added later must not rename the runs that are already recorded."""
    assert json.loads(TEACHER.canonical_json()) == {"network": "wrn-16-2", "epochs": 60}
    assert Run("wrn-16-2", epochs=60, seed=0, dataset="cifar10").run_id == TEACHER.run_id


def test_equal_runs_have_one_identity():
    """Else a beta typed without a decimal point would be trained a second time."""
    one, other = (Run("wrn-16-1", epochs=1, terms=(ActivationTransfer(beta=beta),)) for beta in (500, 500.0))
    assert one == other and one.run_id == other.run_id
    one, other = (Run("wrn-16-1", epochs=1, milestones=milestones) for milestones in ((0.5, 1), (0.5, 1.0)))
    assert one == other and one.run_id == other.run_id


def test_the_identity_of_recorded_runs_never_changes():
    """The hash was computed with sha256sum from the JSON text, outside of this code."""
    assert TEACHER.canonical_json() == '{"epochs":60,"network":"wrn-16-2"}'
    assert TEACHER.run_id == "cifar10-wrn-16-2-plain-s0-060f8b7e5f"


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epochs": 41}, {"terms": (ActivationTransfer(beta=1.0),)}, {"subset": 9}]
)
def test_whatever_decides_the_numbers_changes_the_identity(change):
    run = {"network": "wrn-16-1", "epochs": 40, "teacher": TEACHER, "terms": (ActivationTransfer(),)}
    assert Run(**run | change).run_id != Run(**run).run_id


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"network": "wrn-17-1"}, "network"),
        ({"network": "../wrn"}, "network"),
        ({"dataset": "mnist"}, "data set"),
        ({"epochs": -1}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"subset": 0}, "subset"),
        ({"seed": -1}, "seed"),
        ({"seed": 10**9}, "seed"),
        ({"seed": True}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"augmentation": "mixup"}, "augmentation"),
        ({"precision": "fp8"}, "precision"),
        ({"start": "cifar"}, "start"),
        ({"start": "imagenet"}, "network"),
        ({"norms": "frozen"}, "norms"),
        ({"frozen_groups": -1}, "frozen_groups"),
        ({"frozen_groups": 3}, "frozen_groups"),
        ({"frozen_groups": 1.0}, "frozen_groups"),
        ({"terms": (ActivationTransfer(),)}, "teacher"),
        ({"teacher": TEACHER, "terms": (ActivationTransfer(mapping="mean"),)}, "mapping"),
        ({"teacher": TEACHER, "terms": (ActivationTransfer(beta=0),)}, "beta"),
        ({"teacher": TEACHER, "terms": (ActivationTransfer(form="both"),)}, "form"),
        ({"teacher": TEACHER, "terms": (ActivationTransfer(decay="fast"),)}, "decay"),
        ({"teacher": TEACHER, "terms": (Distillation(alpha=1.5),)}, "alpha"),
        ({"teacher": TEACHER, "terms": (Distillation(temperature=-4),)}, "temperature"),
        ({"teacher": Run("wrn-1-1", epochs=1)}, "network"),
        ({"momentum": 5.0}, "momentum"),
        ({"momentum": "x"}, "momentum"),
        ({"drop": -1}, "drop"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"milestones": (2, -1)}, "milestones"),
        ({"milestones": ("a",)}, "milestones"),
        ({"teacher": TEACHER, "terms": (ActivationTransfer(groups=(7,)),)}, "groups"),
        ({"teacher": TEACHER, "terms": (ActivationTransfer(groups=()),)}, "groups"),
        ({"teacher": TEACHER, "terms": (FullActivation(),), "network": "resnet18"}, "groups"),
        ({"teacher": TEACHER, "terms": (ActivationTransfer(mapping=None),)}, "mapping"),
        ({"teacher": TEACHER, "terms": (Distillation(alpha="x"),)}, "alpha"),
        ({"teacher": TEACHER, "terms": (Distillation(), Distillation(alpha=0.5))}, "terms"),
        ({"teacher": TEACHER, "terms": (SymmetryNorm(beta=1.0), ActivationTransfer())}, "terms"),
        ({"teacher": TEACHER, "dataset": "shapes", "terms": (Distillation(),)}, "teacher"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_parameter(change, parameter):
    with pytest.raises(ParameterError) as raised:
        checks.validate(Run(**{"network": "wrn-16-1", "epochs": 1} | change))
    text = str(raised.value)
    assert text.startswith(f"{parameter}: ")
    assert "\n" not in text and "allowed:" in text


@pytest.mark.parametrize(
    "change",
    [{"teacher": "wrn-16-2"}, {"terms": ActivationTransfer()}, {"terms": ("at",)}, {"milestones": 0.5},
     {"learning_rate": 10**400}, {"drop": True}, {"dataset": ["shapes"]}],
)  # fmt: skip
def test_a_value_of_another_kind_is_one_line_too(change):
    with pytest.raises(ParameterError) as raised:
        checks.validate(Run(**{"network": "wrn-16-1", "epochs": 1} | change))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"netwrok": "wrn-16-1"}, "field of run: 'netwrok'"),
     ({"terms": [{"kind": "at", "gamma": 1}]}, "field of term at: 'gamma'"), ({"terms": [{}]}, "term: None"),
     ({"terms": ["at"]}, "term: 'at'"), ({"terms": {"kind": "at"}}, "terms: {'kind': 'at'}"),
     ({"terms": [{"kind": ["at"]}]}, "term: ['at']"), ({"terms": [{"kind": "min-l2"}]}, "term min-l2: {}"),
     ({"teacher": "wrn-16-2"}, "run: 'wrn-16-2'"), ({"teacher": {"network": "wrn-16-2"}}, "run: {'network': 'wrn-16"),
     ({"milestones": 3}, "milestones: 3"), ({"network": 16}, "network: 16"),
     ({"network": ["wrn-16-1"]}, "network: ['wrn-16-1']")],
)  # fmt: skip
def test_a_spec_with_unknown_names_is_refused(values, message):
    """A misspelt field of a spec file would otherwise train something else than was asked for."""
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}"):
        Run.from_dict({"network": "wrn-16-1", "epochs": 1} | values)
