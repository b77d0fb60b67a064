"""The paper's published numbers, as data.

Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017 (arXiv 1612.03928v3).
"""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Number:
    """A published error in percent.

    Attributes:
        table: where it is printed, such as "Table 1".
        row: the student, or the pair of networks.
        column: the method.
        value: test error in percent; on ImageNet top-1 or top-5, as the row says.
        certain: False where it was recalled less firmly and has not been checked against the PDF: shown with (?).
    """

    table: str
    row: str
    column: str
    value: float
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.value}" + ("" if self.certain else " (?)")


def _row(table: str, row: str, columns: dict[str, float], uncertain: tuple[str, ...] = ()) -> list[Number]:
    return [Number(table, row, column, value, column not in uncertain) for column, value in columns.items()]


def _table_1(pair: str, *values: float) -> list[Number]:
    return _row("Table 1", pair, dict(zip(("student", "AT", "F-ActT", "KD", "AT+KD", "teacher"), values, strict=True)))


NUMBERS: tuple[Number, ...] = (
    # Table 1: activation-based attention transfer on CIFAR-10, median of 5 seeds.
    *_table_1("nin-thin from nin-wide", 9.38, 8.93, 9.05, 8.55, 8.33, 7.28),
    *_table_1("wrn-16-1 from wrn-16-2", 8.77, 7.93, 8.51, 7.41, 7.51, 6.31),
    *_table_1("wrn-16-1 from wrn-40-1", 8.77, 8.25, 8.62, 8.39, 8.01, 6.58),
    *_table_1("wrn-16-2 from wrn-40-2", 6.31, 5.85, 6.24, 6.08, 5.71, 5.23),
    # Text of Section 4.1: one loss or three.
    *_row("Section 4.1", "wrn-16-1 from wrn-16-2",
          {"student": 8.77, "group 1": 8.11, "group 2": 7.96, "group 3": 7.97, "all groups": 7.93}),
    # Table 2: mapping functions.
    *_row("Table 2", "wrn-16-1 from wrn-16-2",
          {"student": 8.77, "sum-1": 7.99, "sum-2": 7.93, "sum-4": 8.09, "max-1": 8.08}),
    # Table 3: gradient-based methods, thin NIN without batch norm, one run.
    *_row("Table 3", "nin-thin-nobn from nin-wide",
          {"student": 13.5, "min-l2": 12.5, "gradient AT": 12.1, "KD": 12.1, "symmetry norm": 11.8, "AT": 11.2}),
    # Table 4: fine-tuning; the table and the text disagree about KD and AT.
    *_row("Table 4", "resnet18 from resnet34, CUB-200-2011",
          {"student": 28.5, "KD": 27, "AT": 27, "teacher": 26.5}, ("KD", "AT")),
    *_row("Table 4", "resnet18 from resnet34, MIT Indoor",
          {"student": 28.2, "KD": 28.1, "AT": 27.1, "teacher": 26}, ("KD", "AT")),
    # Table 5: ImageNet, single crop.
    *_row("Table 5", "resnet18 from resnet34, ImageNet top-1", {"student": 30.4, "AT": 29.3, "teacher": 26.1}),
    *_row("Table 5", "resnet18 from resnet34, ImageNet top-5", {"student": 10.8, "AT": 10.0, "teacher": 8.3}),
)  # fmt: skip


_WRN = "wrn-16-1 from wrn-16-2"
PLACES_IN_PAPER = {
    "nin-wide-to-nin-thin": ("Table 1", "nin-thin from nin-wide"),
    "wrn-16-2-to-16-1": ("Table 1", _WRN),
    "training-length": ("Table 1", _WRN),  # whose gains are taken for every length
    "convergence": ("Table 1", _WRN),
    "wrn-40-1-to-16-1": ("Table 1", "wrn-16-1 from wrn-40-1"),
    "wrn-40-2-to-16-2": ("Table 1", "wrn-16-2 from wrn-40-2"),
    "one-or-three": ("Section 4.1", _WRN),
    "mapping-functions": ("Table 2", _WRN),
    "gradient-methods": ("Table 3", "nin-thin-nobn from nin-wide"),
    "fine-tuning-birds": ("Table 4", "resnet18 from resnet34, CUB-200-2011"),
    "fine-tuning-scenes": ("Table 4", "resnet18 from resnet34, MIT Indoor"),
    "imagenet-resnet18": ("Table 5", "resnet18 from resnet34, ImageNet top-1"),
}
"""Table and row where the paper prints the numbers of an experiment."""


class Accuracy(NamedTuple):
    """A published accuracy of others who trained with AT, to hold this implementation against.

    Attributes:
        source: who published it.
        task: data set, and the training recipe where it is not the paper's.
        row: the student and its teacher.
        column: the method.
        value: top-1 accuracy on the test images in percent, as printed; 100 less the error where that is printed.
    """

    source: str
    task: str
    row: str
    column: str
    value: float


_REP = "RepDistiller", "CIFAR-100, 240 epochs, batch 64, last epoch"
_TORCHDISTILL = "torchdistill", "ImageNet, code form, weight 1000, last two groups"
_ZOO = "Knowledge-Distillation-Zoo", "CIFAR-10"
_TRAILMET = (
    "trailmet-distillation",
    "CIFAR-10, 200 epochs, β 1000, Nesterov, 45,000 images, best epoch on 5,000 others, one run",
)
_HANKYUL = "hankyul2/KnowledgeDistillation"
_OF_CIFAR_10, _OF_CIFAR_100 = (f"{images}, mean of the three best epochs" for images in ("CIFAR-10", "CIFAR-100"))
_PLD = "PLD (arXiv 2506.12542)", "CIFAR-100, AdamW, 250 epochs, three runs"
_MOONSHINE = "a lab note on Moonshine", "ImageNet, four groups, weight 3000 / 4 each"
_TENSORFLOW = "sseung0703 (TensorFlow)", "CIFAR-100, last epoch, mean of five"

ACCURACIES: tuple[Accuracy, ...] = tuple(
    Accuracy(*source, row, column, value)
    for source, row, columns in (
        (_REP, "wrn-16-2 from wrn-40-2", {"teacher": 75.61, "student": 73.26, "KD": 74.92, "AT": 74.08}),
        (_REP, "wrn-40-1 from wrn-40-2", {"teacher": 75.61, "student": 71.98, "KD": 73.54, "AT": 72.77}),
        (_TORCHDISTILL, "resnet18 from resnet34",
         {"student": 69.76, "AT": 70.90, "KD": 71.37, "AT, committed log": 70.56}),
        (_ZOO, "resnet20 from resnet110", {"student": 92.37, "AT": 93.21}),
        (_TRAILMET, "wrn-16-1 from wrn-16-2", {"teacher": 94.01, "student": 91.15, "AT": 92.04}),
        ((_HANKYUL, _OF_CIFAR_10), "resnet20 from resnet20", {"student": 92.0, "KD": 92.8, "AT": 91.9}),
        ((_HANKYUL, _OF_CIFAR_10), "resnet110 from resnet110", {"student": 92.5, "KD": 93.9, "AT": 93.3}),
        ((_HANKYUL, _OF_CIFAR_100), "resnet20 from resnet20", {"student": 67.6, "KD": 69.9, "AT": 68.4}),
        ((_HANKYUL, _OF_CIFAR_100), "resnet110 from resnet110", {"student": 71.6, "KD": 74.1, "AT": 72.6}),
        (_PLD, "wrn-40-1 from wrn-40-2", {"student": 70.26, "KD": 72.44, "AT": 71.99}),
        (_PLD, "mobilenet-v2 from resnet50", {"student": 64.42, "KD": 66.61, "AT": 52.28}),
        (_MOONSHINE, "resnet18 from resnet34", {"teacher": 73.27, "student": 69.64, "AT": 70.82}),
        (_TENSORFLOW, "resnet8 from resnet32", {"student": 71.76, "KD": 71.79, "AT": 72.31}),
    )
    for column, value in columns.items()
)  # fmt: skip


def number(table: str, row: str, column: str) -> Number | None:
    """The published number at one place, or None where the paper prints none."""
    return next((n for n in NUMBERS if (n.table, n.row, n.column) == (table, row, column)), None)


def of_experiment(name: str, column: str) -> Number | None:
    """The published number of an experiment's column, see `PLACES_IN_PAPER`, or None where the paper prints none."""
    return number(*PLACES_IN_PAPER[name], column) if name in PLACES_IN_PAPER else None
