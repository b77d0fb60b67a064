"""The paper's tables and figures as lists of runs, at each preset."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from at_repro.errors import check_choice
from at_repro.experiments.presets import (
    BRIEF,
    BRIEFEST,
    EQUAL_LENGTH,
    FACES,
    HALF_LENGTH,
    SCRATCH,
    SHORT,
    WITH_MASKS,
    Preset,
    fine_tuning_sizes,
)
from at_repro.experiments.variations import Experiment
from at_repro.runs import (
    ActivationTransfer,
    Distillation,
    FullActivation,
    GradientTransfer,
    MinL2,
    Run,
    SymmetryNorm,
    Term,
)

METHODS: dict[str, tuple[Term, ...]] = {
    "AT": (ActivationTransfer(),),
    "F-ActT": (FullActivation(),),
    "KD": (Distillation(),),
    "AT+KD": (ActivationTransfer(decay="linear"), Distillation()),
}
"""The columns of Table 1 that learn from a teacher. In AT+KD and F-ActT the paper's beta decays, it does not say how:
here linearly."""

Columns = Callable[[Preset, int], dict[str, Run]]


def columns_of(student: str, teacher: str, methods: Mapping[str, tuple[Term, ...]]) -> Columns:
    """The plain student, the student with each method's terms, and the teacher.

    One teacher, of seed 0, serves the students of every seed: a comparison of methods is then one of students alone.

    Args:
        student, teacher: networks, by name.
        methods: by column, the terms that are added to the student's loss.

    Returns:
        From a preset and a seed to the runs, for `Experiment.columns`.
    """

    def columns(preset: Preset, seed: int) -> dict[str, Run]:
        of_teacher = Run(teacher, **preset.teacher)
        runs = {"student": Run(student, seed=seed, **preset.student)}
        for name, terms in methods.items():
            runs[name] = replace(runs["student"], terms=terms, teacher=of_teacher)
        return runs | {"teacher": of_teacher}

    return columns


def one_or_three(preset: Preset, seed: int) -> dict[str, Run]:
    """Section 4.1: the attention loss on one of the three groups, or on all."""
    methods = {f"group {number + 1}": (ActivationTransfer(groups=(number,)),) for number in range(3)}
    return columns_of("wrn-16-1", "wrn-16-2", methods | {"all groups": METHODS["AT"]})(preset, seed)


def mapping_functions(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 2, and ours: F_max^2, maps divided by their l1 norm, and maps without the normalisation.

    What is normalised otherwise needs another beta. For l1, 256000: a uniform map of H W positions has 1/(H W) of the
    squared length, and 256 are the positions of the middle group and the geometric mean of the three. Without
    normalisation 0.001, a million times smaller than usual. Of each also the beta with which the term has the
    same gradient norm at the untrained student as with the l2 norm: 42000 and 0.0001. For the same reason the
    functions of Table 2 once more, each with the beta at which its gradient is as long as that of sum-2 at 1000.
    """
    methods = {name: (ActivationTransfer(mapping=name),) for name in ("sum-1", "sum-2", "sum-4", "max-1", "max-2")}
    for name, beta in (("sum-1", 3250.0), ("sum-4", 509.0), ("max-1", 2540.0)):
        methods[f"{name}, beta {beta:g}"] = (ActivationTransfer(mapping=name, beta=beta),)
    for beta in (256_000.0, 42_000.0):
        methods[f"l1 normalised, beta {beta:g}"] = (ActivationTransfer(norm="l1", beta=beta),)
    for beta in (1000.0, 0.001, 0.0001):
        methods[f"not normalised, beta {beta:g}"] = (ActivationTransfer(norm="none", beta=beta),)
    return columns_of("wrn-16-1", "wrn-16-2", methods)(preset, seed)


def forms_and_betas(preset: Preset, seed: int) -> dict[str, Run]:
    """Ours: the code form over two decades of beta, the paper form from the paper's "about 0.1" on."""
    methods = {f"code form, beta {beta:g}": (ActivationTransfer(beta=beta),) for beta in (100, 316, 1000, 3162, 10000)}
    for beta in (0.1, 1.0, 10.0):
        methods[f"paper form, beta {beta:g}"] = (ActivationTransfer(form="paper", beta=beta),)
    return columns_of("wrn-16-1", "wrn-16-2", methods)(preset, seed)


def faces(preset: Preset, seed: int) -> dict[str, Run]:
    """Figure 3: a network that tells people apart by their faces."""
    return {"network": Run("wrn-16-2", seed=seed, **preset.teacher)}


def objects(preset: Preset, seed: int) -> dict[str, Run]:
    """Ours: every network of Table 1 on images whose objects have masks, to see whether attention lies on them."""
    methods = {name: METHODS[name] for name in ("AT", "KD")}
    columns = columns_of("wrn-16-1", "wrn-16-2", methods)(preset, seed)
    for network in ("wrn-40-1", "wrn-40-2", "nin-thin", "nin-wide"):
        columns[network] = Run(network, seed=seed, **preset.student)
    return columns


def precisions(preset: Preset, seed: int) -> dict[str, Run]:
    """Ours: the same student in both precisions, on the same batches from the same weights."""
    return {
        precision: Run("wrn-16-1", seed=seed, **preset.student | {"precision": precision})
        for precision in ("fp32", "bf16")
    }


def training_length(preset: Preset, seed: int) -> dict[str, Run]:
    """Ours: every method at several training lengths, each a full schedule, and AT with a beta that decays as well."""
    methods = METHODS | {"AT, decaying": (ActivationTransfer(decay="linear"),)}
    full = preset.student["epochs"]
    lengths = {"smoke": (1, full), "reduced": (10, 20, 40, 80), "paper": (10, 20, 40, 80, full)}[preset.name]
    runs: dict[str, Run] = {}
    for epochs in lengths:
        short_preset = replace(preset, student=preset.student | {"epochs": epochs})
        columns = columns_of("wrn-16-1", "wrn-16-2", methods)(short_preset, seed)
        runs |= {name if name == "teacher" else f"{name}, {epochs} epochs": run for name, run in columns.items()}
    return runs


def gradient_methods(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 3: thin NIN without batch norm, flips only, no weight decay.

    The paper gives no beta for terms on gradients: 1 was chosen in advance, with which their gradient norm at a plain
    student of two epochs counts, though less than that of the task; with 0.1 it hardly does. Without batch norm a rate
    of 0.1 does not learn: 0.01. For activation transfer the teacher has batch norms and no ReLU before pooling, and the
    losses sit on the outputs of the convolutions there, as the paper says; the teacher's behind their batch norm.
    """
    recipe = {"augmentation": "flip", "weight_decay": 0.0}
    rate = {"learning_rate": 0.01}
    plain = Run("nin-wide-nobn", **preset.teacher | recipe | rate)
    teacher_of_at = Run("nin-wide-norelu", **preset.teacher | recipe)
    ends = (("block0.conv2", "block0"), ("block1.conv2", "block1"), ("block2.conv1", "block2"))

    def student(*terms: Term, teacher: Run | None = None) -> Run:
        return Run("nin-thin-nobn", terms=terms, teacher=teacher, seed=seed, **preset.student | recipe | rate)

    return {
        "student": student(),
        "min-l2": student(MinL2(beta=1.0)),
        "gradient AT": student(GradientTransfer(beta=1.0), teacher=plain),
        "KD": student(Distillation(), teacher=plain),
        "symmetry norm": student(SymmetryNorm(beta=1.0)),
        "AT": student(ActivationTransfer(layers=ends), teacher=teacher_of_at),
        "teacher": plain,
        "teacher of AT": teacher_of_at,
    }


def fine_tuning(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 4: a student and its teacher, both fine-tuned from ImageNet; losses on the last two groups.

    The paper's ResNet-18 and ResNet-34 at preset `paper`. Elsewhere EfficientNet-Lite0 and Lite2, whose weights come as
    packages, and a second beta: crops of 128 pixels leave maps of 8x8 and 4x4 positions where 224 pixels leave 14x14
    and 7x7, and the code form is a mean over positions. With beta 327, 1000 (4/7)^2, a position weighs as much as
    there.
    """
    pair = ("resnet18", "resnet34") if preset.name == "paper" else ("efficientnet-lite0", "efficientnet-lite2")
    methods = {"KD": METHODS["KD"], "AT": (ActivationTransfer(groups=(2, 3)),)}
    if preset.name != "paper":
        methods["AT, beta 327"] = (ActivationTransfer(groups=(2, 3), beta=327.0),)
    return columns_of(*pair, methods)(preset, seed)


def from_scratch(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 5: ResNet-18 from ResNet-34, losses on the last two groups.

    Maps of 64 pixels have (64/224)^2 as many positions as ImageNet's, and the code form is a mean over positions:
    beside the usual beta stands one that is so much smaller, with which a position weighs as much as there.
    """
    methods = {"KD": METHODS["KD"], "AT": (ActivationTransfer(groups=(2, 3)),)}
    if preset.name != "paper":
        methods["AT, beta 82"] = (ActivationTransfer(groups=(2, 3), beta=82.0),)
    return columns_of("resnet18", "resnet34", methods)(preset, seed)


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "wrn-16-2-to-16-1",
            "Table 1, second row: activation-based attention transfer from WRN-16-2 to WRN-16-1",
            columns_of("wrn-16-1", "wrn-16-2", METHODS),
        ),
        Experiment(
            "convergence",
            "Figure 7b: errors per epoch of student, F-ActT, AT and teacher, WRN-16-1 from WRN-16-2",
            columns_of("wrn-16-1", "wrn-16-2", {name: METHODS[name] for name in ("F-ActT", "AT")}),
            {"smoke": BRIEF},
        ),
        Experiment(
            "mapping-functions", "Table 2: mapping functions, WRN-16-1 from WRN-16-2", mapping_functions,
            {"smoke": BRIEF},
        ),
        Experiment(
            "one-or-three", "Section 4.1: attention loss on one group or on all three", one_or_three, {"smoke": BRIEF}
        ),
        Experiment("training-length", "ours: when does transfer pay?", training_length, {"smoke": BRIEF}),
        Experiment(
            "wrn-40-1-to-16-1", "Table 1, third row", columns_of("wrn-16-1", "wrn-40-1", METHODS), {"smoke": BRIEF}
        ),
        Experiment(
            "gradient-methods", "Table 3: thin NIN without batch norm", gradient_methods,
            {"smoke": BRIEF, "reduced": EQUAL_LENGTH},
            {"reduced": "20 epochs, after which the plain student underfits"},
        ),
        Experiment(
            "nin-wide-to-nin-thin", "Table 1, first row", columns_of("nin-thin", "nin-wide", METHODS),
            {"smoke": BRIEF, "reduced": HALF_LENGTH},
        ),
        Experiment(
            "wrn-40-2-to-16-2", "Table 1, fourth row", columns_of("wrn-16-2", "wrn-40-2", METHODS),
            {"smoke": BRIEF, "reduced": HALF_LENGTH},
        ),
        Experiment(
            "forms-and-betas", "ours: both forms of the loss, several betas", forms_and_betas, {"smoke": BRIEF}
        ),
        Experiment(
            "faces", "Figure 3: a network that recognises 40 people, to see where on a face it looks", faces,
            {"smoke": BRIEF, "reduced": FACES, "paper": FACES},
            dict.fromkeys(("reduced", "paper"), "a small network, and faces of 40 people"),
        ),
        Experiment(
            "objects", "ours: is attention on the object? every network of Table 1 on generated images", objects,
            {"smoke": BRIEFEST, "reduced": WITH_MASKS, "paper": WITH_MASKS},
            dict.fromkeys(("reduced", "paper"), "generated shapes"),
        ),
        Experiment(
            "fine-tuning-birds", "Table 4: fine-tuning on CUB-200-2011, at preset reduced on 50 of its classes",
            fine_tuning, fine_tuning_sizes("cub50@144", "cub200@256"),
            {"reduced": "EfficientNet-Lite0 from Lite2 on 50 classes of birds"},
        ),
        Experiment(
            "fine-tuning-scenes", "Table 4: fine-tuning on MIT Indoor Scenes, at preset reduced on 15-Scene",
            fine_tuning, fine_tuning_sizes("scene15@144", "indoor67@256"),
            {"reduced": "EfficientNet-Lite0 from Lite2 on 15-Scene"},
        ),
        Experiment(
            "imagenet-resnet18", "Table 5: ImageNet, at preset reduced ten of its classes at 64 pixels",
            from_scratch, SCRATCH, {"reduced": "ten classes of ImageNet at 64 pixels"},
        ),
        Experiment(
            "precisions", "ours: does bfloat16 change what is learnt?", precisions,
            {"smoke": BRIEF, "reduced": SHORT},
        ),
    )
}  # fmt: skip


TABLE_1 = ("nin-wide-to-nin-thin", "wrn-16-2-to-16-1", "wrn-40-1-to-16-1", "wrn-40-2-to-16-2")
"""The experiments of Table 1, a pair of networks each, in the paper's order."""


def get(name: str) -> Experiment:
    """An experiment by name. Raises ParameterError."""
    check_choice("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
