"""What each claim of the paper says about runs: the comparisons it is made of, their margins, and how they combine.

They are the plan: `plan` says when each was stated and what was known by then. A claim is "every" of its comparisons
unless one of them says otherwise (`MeanOf`, `Either`, `Settings`).
"""

from itertools import pairwise

from at_repro.claims.comparisons import Comparison, Cost, Either, Errors, MeanOf, Settings
from at_repro.claims.map_comparisons import Maps, Pretrained, Trend
from at_repro.claims.verdicts import Margin
from at_repro.experiments import TABLE_1

LITTLE = Margin(0.5, alike=True)  # the paper prints gains of 0.07 to 0.33 for F-ActT and 0.38 for KD
ALIKE = Margin(0.3, alike=True)  # it prints differences of 0.06 and 0.16 between sum-based functions
CLEARLY = Margin(-0.25)  # half of what is little; it prints 0.58 between AT and F-ActT

SANITY = ("power",)  # arithmetic that no network could contradict: shown, not counted

_MAIN = "wrn-16-2-to-16-1"
_LEVELS = ("low", "middle", "top")
_LITES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")  # from weak to strong
_GROUPS = ("group 1", "group 2", "group 3")
_MAPPINGS = ("sum-1", "sum-2", "sum-4", "max-1")  # of Table 2
_TASKS = ("fine-tuning-birds", "fine-tuning-scenes")
_LENGTHS = (10, 20, 80)  # beside the 40 epochs of Table 1's rows

# The plain networks of Table 1 on CIFAR-10, and the same on generated shapes, which have masks of the object.
_PLAIN = (
    (_MAIN, "student"), (_MAIN, "teacher"), ("wrn-40-1-to-16-1", "teacher"), ("wrn-40-2-to-16-2", "teacher"),
    ("nin-wide-to-nin-thin", "student"), ("nin-wide-to-nin-thin", "teacher"),
)  # fmt: skip
_SHAPES = ("student", "teacher", "wrn-40-1", "wrn-40-2", "nin-thin", "nin-wide")


def _below(experiment: str, better: str, *worse: str) -> list[Comparison]:
    return [Errors(experiment, (better,), (column,)) for column in worse]


def _each_row(better: str, worse: str, rows: tuple[str, ...] = TABLE_1) -> tuple[Errors, ...]:
    return tuple(Errors(row, (better,), (worse,)) for row in rows)


def _at_length(epochs: int) -> Errors:
    return Errors("training-length", (f"AT, {epochs} epochs",), (f"student, {epochs} epochs",))


def _of_plain(name: str, lower: tuple[str, str], higher: tuple[str, str]) -> Maps:
    """Over the plain networks of Table 1, of which two alone are trained at preset paper; a side: level, statistic."""
    return Maps(name, tuple((row, (column, *lower), (column, *higher)) for row, column in _PLAIN), presets=("reduced",))


RULES: dict[str, list[Comparison]] = {
    "edges": [
        _of_plain(f"edges of {level} maps below those of low ones", (level, "edges"), ("low", "edges"))
        for level in ("middle", "top")
    ],
    "objects": [
        Maps(
            "surplus on the object of low maps below that of top ones",
            tuple(
                ("objects", (network, "low", "on object, surplus"), (network, "top", "on object, surplus"))
                for network in _SHAPES
            ),
            presets=("reduced",),
        )
    ],
    "objects-accuracy": [Trend("objects", _SHAPES, "top", "on object, surplus")],
    "parts": [
        Maps(
            f"share on the parts of a face of {level} maps below that of middle ones",
            (("faces", ("network", level, "on parts"), ("network", "middle", "on parts")),),
            presets=("reduced",),
        )
        for level in ("low", "top")
    ],
    # A peak is mass in few positions. At preset reduced teachers train longer than students.
    "stronger-networks": [
        Maps(
            f"top share of the student's {level} maps below that of the teacher's",
            tuple((row, ("student", level, "top share"), ("teacher", level, "top share")) for row in TABLE_1),
            presets=("paper",),
        )
        for level in _LEVELS
    ]
    + [Pretrained(_LITES, level, "top share") for level in ("level 3", "level 4")],  # middle and top, as in Figure 4
    "power": [
        _of_plain(f"{less} of {level} maps below {more}", (level, less), (level, more))
        for level in _LEVELS
        for less, more in (("top share, sum-1", "top share"), ("top share", "top share, sum-4"))
    ],
    "details": [
        _of_plain(f"{less} of {level} maps below {more}", (level, less), (level, more))
        for level in _LEVELS
        for more, less in pairwise(("edges, sum-1", "edges", "edges, sum-4"))
    ],
    "at": list(_each_row("AT", "student")),
    "at-in-general": [
        Settings(
            (
                ("paper", Errors(_MAIN, ("AT",), ("student",))),
                *(("reduced", one) for one in _each_row("AT", "student")),
                *(("reduced", _at_length(epochs)) for epochs in _LENGTHS),
            )
        )
    ],
    "at-over-f-actt": list(_each_row("AT", "F-ActT")),
    "f-actt": [Errors(row, ("F-ActT",), ("student",), LITTLE) for row in TABLE_1],
    "convergence": [
        *(Errors("convergence", (column,), ("student",), early=True) for column in ("AT", "F-ActT")),
        Errors("convergence", ("AT",), ("student",)),
        Errors("convergence", ("AT",), ("F-ActT",), CLEARLY),
        Errors("convergence", ("F-ActT",), ("student",), LITTLE),
    ],
    "at-kd": list(_each_row("AT+KD", "AT")),
    "at-kd-over-kd": [MeanOf(_each_row("AT+KD", "KD"))],
    "kd-width": list(_each_row("KD", "AT", TABLE_1[:2])),
    "kd-depth": [
        *_below("wrn-40-1-to-16-1", "AT", "KD", "student"),
        Errors("wrn-40-1-to-16-1", ("KD",), ("student",), LITTLE),
    ],
    "one-group": [Errors("one-or-three", (group,), ("student",)) for group in _GROUPS],
    "three-losses": _below("one-or-three", "all groups", *_GROUPS),
    "every-mapping": [Errors("mapping-functions", (name,), ("student",)) for name in _MAPPINGS],
    "sum-over-max": [
        Errors("mapping-functions", ("sum-1", "sum-2", "sum-4"), ("max-1",)),
        *(Errors("mapping-functions", (name,), ("sum-2",), ALIKE) for name in ("sum-1", "sum-4")),
    ],
    # Each where the term's gradient is as long as with the l2 norm, and where others were tried.
    "normalisation": _below(
        "mapping-functions", "sum-2", *(f"not normalised, beta {beta}" for beta in ("1000", "0.001", "0.0001"))
    ),
    "l1": [Errors("mapping-functions", ("l1 normalised, beta 42000",), ("sum-2",), ALIKE)],
    "gradient-at": _below("gradient-methods", "gradient AT", "student"),
    "other-gradients": [Errors("gradient-methods", (name,), ("student",)) for name in ("min-l2", "KD")],
    "symmetry": _below("gradient-methods", "symmetry norm", "student", "gradient AT"),
    "activation-over-gradient": _below("gradient-methods", "AT", "min-l2", "gradient AT", "symmetry norm"),
    "fine-tuning": [
        *(Errors(task, ("AT",), ("student",)) for task in _TASKS),
        Either(tuple(Errors(task, ("AT",), ("KD",)) for task in _TASKS)),
    ],
    "alike": [
        Maps(
            "distance of AT's top maps from the teacher's below that of the plain student's",
            tuple((row, ("AT", "top", "distance"), ("student", "top", "distance")) for row in TABLE_1),
        ),
        Maps(
            "distance of AT's last maps from the teacher's below that of the plain student's, fine-tuned",
            tuple((task, ("AT", "level 4", "distance"), ("student", "level 4", "distance")) for task in _TASKS),
        ),
    ],
    "imagenet": [*_below("imagenet-resnet18", "AT", "student"), *_below("imagenet-resnet18", "student", "KD")],
    "cost": [Cost(Margin(10.0))],
}
"""By the name of the claim."""

OURS: dict[str, tuple[str, list[Comparison]]] = {
    "fine-tuning-beta": (
        "Is the failure of AT in fine-tuning one of beta? (question 1 of the plan)",
        [
            *(Errors(task, ("AT, beta 327",), ("AT",)) for task in _TASKS),
            *(Errors(task, ("AT, beta 327",), ("student",)) for task in _TASKS),
        ],
    ),
    "equal-gradient": (
        "Are mapping functions alike where each has the same gradient norm? (question 2 of the plan)",
        [
            *(
                Errors("mapping-functions", (name,), ("sum-2",), ALIKE)
                for name in ("sum-1, beta 3250", "sum-4, beta 509")
            ),
            Errors("mapping-functions", ("sum-1, beta 3250", "sum-2", "sum-4, beta 509"), ("max-1, beta 2540",)),
        ],
    ),
}
"""Questions that the paper does not ask, by name: the question, and the comparisons that answer it."""
