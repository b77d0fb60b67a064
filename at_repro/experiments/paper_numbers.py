"""The paper's published numbers, as data.

Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017 (arXiv 1612.03928v3).
"""

from dataclasses import dataclass


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
        return f"{self.value:.10g}" + ("" if self.certain else " (?)")


def _row(table: str, row: str, uncertain: tuple[str, ...] = (), **columns: float) -> list[Number]:
    names = {"at_kd": "AT+KD", "f_actt": "F-ActT", "at": "AT", "kd": "KD"}
    return [
        Number(table, row, names.get(column, column), value, column not in uncertain)
        for column, value in columns.items()
    ]


NUMBERS: tuple[Number, ...] = (
    # Table 1: activation-based attention transfer on CIFAR-10, median of 5 seeds.
    *_row("Table 1", "nin-thin from nin-wide", student=9.38, at=8.93, f_actt=9.05, kd=8.55, at_kd=8.33, teacher=7.28),
    *_row("Table 1", "wrn-16-1 from wrn-16-2", student=8.77, at=7.93, f_actt=8.51, kd=7.41, at_kd=7.51, teacher=6.31),
    *_row("Table 1", "wrn-16-1 from wrn-40-1", student=8.77, at=8.25, f_actt=8.62, kd=8.39, at_kd=8.01, teacher=6.58),
    *_row("Table 1", "wrn-16-2 from wrn-40-2", student=6.31, at=5.85, f_actt=6.24, kd=6.08, at_kd=5.71, teacher=5.23),
    # Text of Section 4.1: one loss or three.
    *(
        Number("Section 4.1", "wrn-16-1 from wrn-16-2", column, value)
        for column, value in (
            ("student", 8.77), ("group 1", 8.11), ("group 2", 7.96), ("group 3", 7.97), ("all groups", 7.93),
        )
    ),
    # Table 2: mapping functions.
    *(
        Number("Table 2", "wrn-16-1 from wrn-16-2", column, value)
        for column, value in (("student", 8.77), ("sum-1", 7.99), ("sum-2", 7.93), ("sum-4", 8.09), ("max-1", 8.08))
    ),
    # Table 3: gradient-based methods, thin NIN without batch norm, one run.
    *(
        Number("Table 3", "nin-thin-nobn from nin-wide", column, value)
        for column, value in (
            ("student", 13.5), ("min-l2", 12.5), ("gradient AT", 12.1),
            ("KD", 12.1), ("symmetry norm", 11.8), ("AT", 11.2),
        )
    ),
    # Table 4: fine-tuning; the table and the text disagree about KD and AT.
    *_row("Table 4", "resnet18 from resnet34, CUB-200-2011", ("kd", "at"), student=28.5, kd=27, at=27, teacher=26.5),
    *_row("Table 4", "resnet18 from resnet34, MIT Indoor", ("kd", "at"), student=28.2, kd=28.1, at=27.1, teacher=26),
    # Table 5: ImageNet, single crop.
    *_row("Table 5", "resnet18 from resnet34, ImageNet top-1", student=30.4, at=29.3, teacher=26.1),
    *_row("Table 5", "resnet18 from resnet34, ImageNet top-5", student=10.8, at=10.0, teacher=8.3),
)  # fmt: skip


DATA_SETS = ("cifar10", "cub200@256", "indoor67@256", "imagenet@224-streamed")
"""What the numbers are of, as `data.load` knows it: errors on other images are not held against them."""

_WRN = "wrn-16-1 from wrn-16-2"
PRINTED = {
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


@dataclass(frozen=True)
class Accuracy:
    """A published accuracy in percent: of the paper's pretrained networks, or of others who trained with AT.

    Attributes:
        source: who published it, and where.
        task: data set, and the training recipe where it is not the paper's.
        row: the network, or the student and its teacher.
        column: the method.
        value: top-1 accuracy on the test images in percent, as printed.
        certain: as in `Number`.
    """

    source: str
    task: str
    row: str
    column: str
    value: float
    certain: bool = True


_REP = "RepDistiller", "CIFAR-100, 240 epochs, batch 64, last epoch"
_TORCHDISTILL = "torchdistill", "ImageNet, code form, weight 1000, last two groups"
_ZOO = "Knowledge-Distillation-Zoo", "CIFAR-10"

ACCURACIES: tuple[Accuracy, ...] = (
    # The networks whose maps the paper compares, from weak to strong.
    Accuracy("Zagoruyko & Komodakis, Figure 4", "ImageNet", "nin", "pretrained", 62),
    Accuracy("Zagoruyko & Komodakis, Figure 4", "ImageNet", "resnet34", "pretrained", 73),
    Accuracy("Zagoruyko & Komodakis, Figure 4", "ImageNet", "resnet101", "pretrained", 77.3),
    # Independent implementations, to hold this one against.
    *(
        Accuracy(*_REP, row, column, value)
        for row, values in (
            ("wrn-16-2 from wrn-40-2", (75.61, 73.26, 74.92, 74.08)),
            ("wrn-40-1 from wrn-40-2", (75.61, 71.98, 73.54, 72.77)),
        )
        for column, value in zip(("teacher", "student", "KD", "AT"), values, strict=True)
    ),
    Accuracy(*_TORCHDISTILL, "resnet18 from resnet34", "student", 69.76),
    Accuracy(*_TORCHDISTILL, "resnet18 from resnet34", "AT", 70.90),
    Accuracy(*_TORCHDISTILL, "resnet18 from resnet34", "KD", 71.37),
    Accuracy(*_TORCHDISTILL, "resnet18 from resnet34", "AT, committed log", 70.56),
    Accuracy(*_ZOO, "resnet20 from resnet110", "student", 92.37),
    Accuracy(*_ZOO, "resnet20 from resnet110", "AT", 93.21),
)


def number(table: str, row: str, column: str) -> Number | None:
    """The published number at one place, or None where the paper prints none."""
    matches = [n for n in NUMBERS if (n.table, n.row, n.column) == (table, row, column)]
    return matches[0] if matches else None


def of_experiment(name: str, column: str) -> Number | None:
    """The published number of an experiment's column, see `PRINTED`, or None where the paper prints none."""
    return number(*PRINTED[name], column) if name in PRINTED else None
