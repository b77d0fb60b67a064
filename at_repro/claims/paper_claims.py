"""What each claim of the paper says about runs: the comparisons it is made of, their margins, and how they combine.

They are the plan: `plan` says when each was stated and what was known by then. A claim is "every" of its comparisons
unless one of them says otherwise (`MeanOf`, `BestOf`, `SignTest`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from at_repro.claims.comparisons import BestOf, Comparison, Cost, ErrorComparison, MeanOf, SignTest
from at_repro.claims.map_comparisons import MapComparison, PretrainedComparison, Trend
from at_repro.claims.verdicts import BELOW, Margin
from at_repro.experiments import TABLE_1

LITTLE = Margin(0.5, alike=True)  # the paper prints gains of 0.07 to 0.33 for F-ActT and 0.38 for KD
ALIKE = Margin(0.3, alike=True)  # it prints differences of 0.06 and 0.16 between sum-based functions
CLEARLY = Margin(-0.25)  # half of what is little; it prints 0.58 between AT and F-ActT

_MAIN = "wrn-16-2-to-16-1"
_LEVELS = ("low", "middle", "top")
_LITES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")  # from weak to strong
_GROUPS = ("group 1", "group 2", "group 3")
_TASKS = ("fine-tuning-birds", "fine-tuning-scenes")

# The plain networks of Table 1 on CIFAR-10, and the same on generated shapes, which have masks of the object.
_PLAIN = (
    (_MAIN, "student"), (_MAIN, "teacher"), ("wrn-40-1-to-16-1", "teacher"), ("wrn-40-2-to-16-2", "teacher"),
    ("nin-wide-to-nin-thin", "student"), ("nin-wide-to-nin-thin", "teacher"),
)  # fmt: skip
_SURPLUS = "on object, surplus"
_SHAPES = ("student", "teacher", "wrn-40-1", "wrn-40-2", "nin-thin", "nin-wide")


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that runs can speak for or against, or a question of our own.

    Attributes:
        name: short and stable.
        text: what is claimed or asked, in our words.
        source: where the paper claims it; empty for a question of our own.
        comparisons: what decides it, with their margins; all of them, unless one says otherwise.
        is_arithmetic: True for what no network could contradict: shown as a sanity check, not counted.
    """

    name: str
    text: str
    source: str
    comparisons: Sequence[Comparison]
    is_arithmetic: bool = False

    def asked(self, preset: str) -> list[Comparison]:
        """The comparisons that decide it at a preset: those that are no stand-ins there."""
        return [comparison for comparison in self.comparisons if not comparison.stand_in(preset)]


def _below(experiment: str, better: str, *worse: str) -> list[ErrorComparison]:
    return [ErrorComparison(experiment, (better,), (column,)) for column in worse]


def _above(experiment: str, worse: str, *better: str) -> list[ErrorComparison]:
    return [ErrorComparison(experiment, (column,), (worse,)) for column in better]


def _each(experiments: tuple[str, ...], better: str, worse: str, margin: Margin = BELOW) -> tuple[ErrorComparison, ...]:
    return tuple(ErrorComparison(experiment, (better,), (worse,), margin) for experiment in experiments)


def _of_plain(name: str, lower: tuple[str, str], higher: tuple[str, str]) -> MapComparison:
    """Over the plain networks of Table 1, of which two alone are trained at preset paper; a side: level, statistic."""
    return MapComparison(
        name, tuple((row, (column, *lower), (column, *higher)) for row, column in _PLAIN), presets=("reduced",)
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "edges",
        "Low-level maps follow edges, more than middle and top ones",
        "Section 3.1, Figure 3 (?)",
        [
            _of_plain(f"edges of {level} maps below those of low ones", (level, "edges"), ("low", "edges"))
            for level in ("middle", "top")
        ],
    ),
    Claim(
        "objects",
        "Top-level maps cover the whole object, more than low ones",
        "Section 3.1, Figure 3 (?)",
        [
            MapComparison(
                "surplus on the object of low maps below that of top ones",
                tuple(("objects", (network, "low", _SURPLUS), (network, "top", _SURPLUS)) for network in _SHAPES),
                presets=("reduced",),
            )
        ],
    ),
    Claim(
        "objects-accuracy",
        "Attention lies more on the object in more accurate networks",
        "Section 3.1 (?)",
        [Trend("objects", _SHAPES, "top", _SURPLUS)],
    ),
    Claim(
        "parts",
        "Middle-level maps fire on the most discriminative parts: eyes, nose and lips of a face",
        "Section 3.1, Figure 3",
        [
            MapComparison(
                f"share on the parts of a face of {level} maps below that of middle ones",
                (("faces", ("network", level, "on parts"), ("network", "middle", "on parts")),),
                presets=("reduced",),
            )
            for level in ("low", "top")
        ],
    ),
    # A peak is mass in few positions. At preset reduced teachers train longer than students.
    Claim(
        "stronger-networks",
        "Stronger networks have attention peaks where weaker ones have none",
        "Section 3.1, Figure 4",
        [
            *(
                MapComparison(
                    f"top share of the student's {level} maps below that of the teacher's",
                    tuple((row, ("student", level, "top share"), ("teacher", level, "top share")) for row in TABLE_1),
                    presets=("paper",),
                )
                for level in _LEVELS
            ),
            # Middle and top, as in Figure 4.
            PretrainedComparison(_LITES, "level 3", "top share"),
            PretrainedComparison(_LITES, "level 4", "top share"),
        ],
    ),
    Claim(
        "power",
        "A larger power gives more weight to the positions where the strongest neurons fire",
        "Section 3.1",
        [
            _of_plain(f"{less} of {level} maps below {more}", (level, less), (level, more))
            for level in _LEVELS
            for less, more in (("top share, sum-1", "top share"), ("top share", "top share, sum-4"))
        ],
        is_arithmetic=True,
    ),
    Claim(
        "details",
        "Details of shape disappear as the power grows",
        "Section 3.1 (?)",
        [
            _of_plain(f"{less} of {level} maps below {more}", (level, less), (level, more))
            for level in _LEVELS
            for more, less in pairwise(("edges, sum-1", "edges", "edges, sum-4"))
        ],
    ),
    Claim(
        "at",
        "Attention transfer improves every student over training on labels alone",
        "Table 1",
        _each(TABLE_1, "AT", "student"),
    ),
    Claim(
        "at-in-general",
        "Attention transfer improves students in general, over pairs and training lengths",
        "Table 1",
        [
            SignTest(
                (
                    ("paper", ErrorComparison(_MAIN, ("AT",), ("student",))),
                    *(("reduced", one) for one in _each(TABLE_1, "AT", "student")),  # of 40 epochs
                    *(
                        ("reduced", one)
                        for epochs in (10, 20, 80)
                        for one in _below("training-length", f"AT, {epochs} epochs", f"student, {epochs} epochs")
                    ),
                )
            )
        ],
    ),
    Claim(
        "at-over-f-actt",
        "Attention transfer improves a student more than full-activation transfer does",
        "Table 1",
        _each(TABLE_1, "AT", "F-ActT"),
    ),
    Claim(
        "f-actt",
        "Full-activation transfer is little better than the plain student",
        "Table 1",
        _each(TABLE_1, "F-ActT", "student", LITTLE),
    ),
    Claim(
        "convergence",
        "AT and F-ActT both speed up early convergence, but only AT ends clearly better",
        "Section 4.1, Figure 7b",
        [
            *(ErrorComparison("convergence", (column,), ("student",), early=True) for column in ("AT", "F-ActT")),
            ErrorComparison("convergence", ("AT",), ("student",)),
            ErrorComparison("convergence", ("AT",), ("F-ActT",), CLEARLY),
            ErrorComparison("convergence", ("F-ActT",), ("student",), LITTLE),
        ],
    ),
    Claim(
        "at-kd",
        "AT combines with knowledge distillation: AT+KD is better than AT",
        "Table 1",
        _each(TABLE_1, "AT+KD", "AT"),
    ),
    Claim(
        "at-kd-over-kd",
        "AT adds to knowledge distillation: on average over pairs, AT+KD is better than KD",
        "Table 1",
        [MeanOf(_each(TABLE_1, "AT+KD", "KD"))],
    ),
    Claim(
        "kd-width",
        "KD improves a student more than AT does where the teacher is wider and as deep",
        "Table 1",
        _each(TABLE_1[:2], "KD", "AT"),
    ),
    Claim(
        "kd-depth",
        "KD gains WRN-16-1 little from the deeper WRN-40-1, AT more",
        "Table 1",
        [
            *_below("wrn-40-1-to-16-1", "AT", "KD", "student"),
            ErrorComparison("wrn-40-1-to-16-1", ("KD",), ("student",), LITTLE),
        ],
    ),
    Claim(
        "one-group",
        "A loss on any one of the three groups helps",
        "Section 4.1",
        _above("one-or-three", "student", *_GROUPS),
    ),
    Claim(
        "three-losses",
        "Losses on all three groups are better than on one",
        "Section 4.1",
        _below("one-or-three", "all groups", *_GROUPS),
    ),
    Claim(
        "every-mapping",
        "Attention transfer helps with every mapping function",
        "Table 2",
        _above("mapping-functions", "student", "sum-1", "sum-2", "sum-4", "max-1"),
    ),
    Claim(
        "sum-over-max",
        "Sum-based mapping functions are alike and, on average, beat the max-based one",
        "Table 2",
        [
            ErrorComparison("mapping-functions", ("sum-1", "sum-2", "sum-4"), ("max-1",)),
            *(ErrorComparison("mapping-functions", (name,), ("sum-2",), ALIKE) for name in ("sum-1", "sum-4")),
        ],
    ),
    # Each where the term's gradient is as long as with the l2 norm, and where others were tried.
    Claim(
        "normalisation",
        "Normalising each map by its l2 norm is important for success",
        "Section 3.1",
        _below("mapping-functions", "sum-2", *(f"not normalised, beta {beta}" for beta in ("1000", "0.001", "0.0001"))),
    ),
    Claim(
        "l1",
        "Normalising by the l1 norm would do as well",
        "Section 3.1",
        [ErrorComparison("mapping-functions", ("l1 normalised, beta 42000",), ("sum-2",), ALIKE)],
    ),
    Claim(
        "gradient-at",
        "Gradient-based attention transfer improves on the baseline",
        "Table 3",
        _below("gradient-methods", "gradient AT", "student"),
    ),
    Claim(
        "other-gradients",
        "The norm of the gradients (min-l2) and KD improve on the baseline, too",
        "Table 3",
        _above("gradient-methods", "student", "min-l2", "KD"),
    ),
    Claim(
        "symmetry",
        "The symmetry norm improves on the baseline, more than gradient-based transfer",
        "Table 3",
        _below("gradient-methods", "symmetry norm", "student", "gradient AT"),
    ),
    Claim(
        "activation-over-gradient",
        "Activation-based transfer is better than all gradient-based methods",
        "Table 3",
        _below("gradient-methods", "AT", "min-l2", "gradient AT", "symmetry norm"),
    ),
    Claim(
        "fine-tuning",
        "AT improves a fine-tuned ResNet-18 on CUB and Scenes, on one of them more than KD",
        "Table 4 (?)",
        [
            *_each(_TASKS, "AT", "student"),
            BestOf(_each(_TASKS, "AT", "KD")),
        ],
    ),
    Claim(
        "alike",
        "After transfer the student's top attention maps look like the teacher's",
        "Appendix, Figure 6 (?)",
        [
            MapComparison(
                "distance of AT's top maps from the teacher's below that of the plain student's",
                tuple((row, ("AT", "top", "distance"), ("student", "top", "distance")) for row in TABLE_1),
            ),
            MapComparison(
                "distance of AT's last maps from the teacher's below that of the plain student's, fine-tuned",
                tuple((task, ("AT", "level 4", "distance"), ("student", "level 4", "distance")) for task in _TASKS),
            ),
        ],
    ),
    Claim(
        "imagenet",
        "AT improves ResNet-18 on ImageNet, where KD with the CIFAR settings hurts",
        "Table 5",
        [*_below("imagenet-resnet18", "AT", "student"), *_below("imagenet-resnet18", "student", "KD")],
    ),
    Claim(
        "cost",
        "The extra cost of attention transfer, added to distillation, is small",
        "Section 3.1",
        [Cost(Margin(10.0))],
    ),
)

QUESTIONS: tuple[Claim, ...] = (
    Claim(
        "fine-tuning-beta",
        "Is the failure of AT in fine-tuning one of beta? (question 1 of the plan)",
        "",
        [*_each(_TASKS, "AT, beta 327", "AT"), *_each(_TASKS, "AT, beta 327", "student")],
    ),
    Claim(
        "equal-gradient",
        "Are mapping functions alike where each has the same gradient norm? (question 2 of the plan)",
        "",
        [
            ErrorComparison("mapping-functions", ("sum-1, beta 3250",), ("sum-2",), ALIKE),
            ErrorComparison("mapping-functions", ("sum-4, beta 509",), ("sum-2",), ALIKE),
            ErrorComparison(
                "mapping-functions", ("sum-1, beta 3250", "sum-2", "sum-4, beta 509"), ("max-1, beta 2540",)
            ),
        ],
    ),
    # What these questions say of AT and F-ActT beside the plain student are claims of the paper.
    Claim(
        "distillation",
        "Are KD and AT+KD better than the plain student? (questions 4 and 6 of the plan)",
        "",
        _above(_MAIN, "student", "KD", "AT+KD"),
    ),
)
"""What the paper does not ask."""

BY_NAME: dict[str, Claim] = {claim.name: claim for claim in (*CLAIMS, *QUESTIONS)}
