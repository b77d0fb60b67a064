"""The paper's tables and figures as lists of runs, at each preset."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from at_repro.errors import ParameterError, check_choice, is_integer
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


@dataclass(frozen=True)
class Preset:
    """One size at which every experiment can be run."""

    name: str
    meant_for: str
    teacher: dict  # fields of the runs that train a teacher
    student: dict  # fields of the runs that train a student
    seeds: tuple[int, ...]


# float32 is fast on every processor, bfloat16 only on new ones; a smaller batch makes more steps of few images.
_SMOKE = {"dataset": "shapes", "subset": 2500, "batch_size": 64, "precision": "fp32"}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("smoke", "a first look, tests: the embedded data set, minutes on two cores",
               teacher=_SMOKE | {"epochs": 10}, student=_SMOKE | {"epochs": 8}, seeds=(0,)),
        Preset("reduced", "a laptop over a few nights: all of CIFAR-10, the paper's schedule compressed",
               teacher={"epochs": 60}, student={"epochs": 40}, seeds=(0,)),
        Preset("paper", "one GPU: CIFAR-10, 200 epochs, five seeds, as in the paper",
               teacher={"epochs": 200}, student={"epochs": 200}, seeds=(0, 1, 2, 3, 4)),
    )
}  # fmt: skip

# At `smoke` only the first experiment trains for minutes; each of the others takes seconds and shows that it works.
_FEW = _SMOKE | {"subset": 320}
_BRIEF = Preset("smoke", PRESETS["smoke"].meant_for, _FEW | {"epochs": 1}, _FEW | {"epochs": 2}, seeds=(0,))
_BRIEFEST = replace(_BRIEF, student=_FEW | {"epochs": 1})

# Two precisions need many seeds rather than long runs: 1,564 steps each.
_SHORT = Preset("reduced", PRESETS["reduced"].meant_for, {"epochs": 4}, {"epochs": 4}, seeds=(0, 1, 2, 3, 4))

# Half of the epochs where a step costs several times as much; in Table 3, the dearest, teachers get no more either.
_HALVED = Preset("reduced", PRESETS["reduced"].meant_for, {"epochs": 30}, {"epochs": 20}, seeds=(0,))
_LEVEL = replace(_HALVED, teacher={"epochs": 20})


# Fine-tuning as in Section 4.2: batch norms and the first group keep their ImageNet weights. Rate and length are
# ours: at a rate of 0.01 the plain student learns, but KD and AT fall to guessing in the first epoch.
# In float32: convolutions within channels are slow in bfloat16 on a CPU.
_TUNING = {"norms": "fixed", "frozen_groups": 1, "augmentation": "window-flip", "learning_rate": 0.001}
_FROM_IMAGENET = _TUNING | {"start": "imagenet", "batch_size": 32, "epochs": 20, "precision": "fp32"}
_LARGE = _TUNING | {"start": "imagenet", "epochs": 60}
_RANDOM = _FEW | _TUNING | {"epochs": 2, "batch_size": 32}  # at smoke nothing has to be downloaded or installed


def _fine_tuned(stand_in: str, published: str) -> dict[str, Preset]:
    """The sizes of fine-tuning on a data set that stands in at `reduced` for the published one, that of `paper`."""
    at_reduced, at_paper = _FROM_IMAGENET | {"dataset": stand_in}, _LARGE | {"dataset": published}
    return {
        "smoke": Preset("smoke", PRESETS["smoke"].meant_for, _RANDOM, _RANDOM, seeds=(0,)),
        "reduced": Preset("reduced", "a laptop: other networks, fewer images", at_reduced, at_reduced, seeds=(0, 1, 2)),
        "paper": Preset("paper", "one GPU: the published images", at_paper, at_paper, seeds=(0, 1, 2, 3, 4)),
    }


# Table 5's recipe. Imagenette, ten of ImageNet's classes at 64 pixels, stands in where a CPU has to carry it.
_FROM_SCRATCH = {"augmentation": "resized-crop-flip", "weight_decay": 1e-4, "milestones": (0.3, 0.6, 0.9), "drop": 0.1}
_TINY = _FEW | _FROM_SCRATCH | {"epochs": 2}
_IMAGENETTE = _FROM_SCRATCH | {"dataset": "imagenette64@64", "epochs": 40}
_IMAGENET = _FROM_SCRATCH | {"dataset": "imagenet@224-streamed", "epochs": 100, "batch_size": 256}
_SCRATCH = {
    "smoke": Preset("smoke", PRESETS["smoke"].meant_for, _TINY, _TINY, seeds=(0,)),
    "reduced": Preset("reduced", "a laptop: Imagenette, 40 epochs", _IMAGENETTE, _IMAGENETTE, seeds=(0,)),
    "paper": Preset("paper", "several GPUs: ImageNet, 100 epochs", _IMAGENET, _IMAGENET, seeds=(0,)),
}


# The embedded set, all of it, is as much as is needed to learn it.
_EMBEDDED = {"dataset": "shapes", "epochs": 10}
_MASKED = Preset("reduced", PRESETS["reduced"].meant_for, _EMBEDDED, _EMBEDDED, seeds=(0,))


# The same at both presets: 320 pictures are few, and who has no copy of them finds the committed record.
_PEOPLE = {"dataset": "orl_faces@64", "subset": 320, "batch_size": 32, "epochs": 100}
_FACES = Preset("reduced", PRESETS["reduced"].meant_for, _PEOPLE, {}, seeds=(0,))


@dataclass(frozen=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        name: as on the command line.
        title: what it reproduces.
        columns: from a preset and a seed to the runs, by the name of their column in the paper's table.
        sizes: presets that are another size here than in `PRESETS`.
        stand_ins: by preset, what stands in for the paper's networks, images or recipe: such runs neither support nor
            contradict the paper.
    """

    name: str
    title: str
    columns: Callable[[Preset, int], dict[str, Run]]
    sizes: dict[str, Preset] = field(default_factory=dict)
    stand_ins: dict[str, str] = field(default_factory=dict)

    def size(self, preset: str) -> Preset:
        """A preset as it is for this experiment. Raises ParameterError for an unknown one."""
        return self.sizes.get(get_preset(preset).name, get_preset(preset))

    def runs(self, preset: str, seeds: Iterable[int] | None = None) -> list[dict[str, Run]]:
        """The runs by column, one dictionary per seed; seeds None: those of the preset.

        Raises ParameterError for an unknown preset or a seed that is no integer from 0.
        """
        size = self.size(preset)
        seeds = size.seeds if seeds is None else seeds
        if isinstance(seeds, str) or not isinstance(seeds, Iterable) or not (seeds := list(seeds)):
            raise ParameterError("seeds", seeds, "a list of one or more integers from 0")
        if not all(is_integer(seed) and seed >= 0 for seed in seeds):
            raise ParameterError("seeds", seeds, "one or more integers from 0")
        if len(set(seeds)) < len(seeds):
            raise ParameterError("seeds", seeds, "every seed once")
        return [{name: run.validate() for name, run in self.columns(size, seed).items()} for seed in seeds]


def vary(experiment: Experiment, **changes: object) -> Experiment:
    """The same experiment with other networks, another transfer, another length, other images.

    Args:
        student, teacher: networks, by name.
        mapping, beta: of activation-based transfer, in every column that has it.
        epochs: of the students; 0: those of the preset.
        dataset: a name for `data.load`, empty: that of the preset; of another one all images are used.

    The runs, and so the values, are checked where they are asked for, by `Experiment.runs`. Raises ParameterError for a
    change that is none of these.
    """
    for name in changes:
        check_choice("change", name, CHANGES)

    def columns(preset: Preset, seed: int) -> dict[str, Run]:
        found = experiment.columns(preset, seed)
        teachers = {run.teacher for run in found.values()}
        return {name: _varied(run, run in teachers, changes) for name, run in found.items()}

    return replace(experiment, columns=columns)


CHANGES = ("student", "teacher", "mapping", "beta", "epochs", "dataset")


def _varied(run: Run, teaches: bool, changes: dict[str, object]) -> Run:
    fields: dict[str, object] = {"network": changes.get("teacher" if teaches else "student", run.network)}
    if not teaches and changes.get("epochs", 0) != 0:
        fields["epochs"] = changes["epochs"]
    if changes.get("dataset", "") not in ("", run.dataset):
        fields |= {"dataset": changes["dataset"], "subset": None}
    if run.teacher is not None:
        fields["teacher"] = _varied(run.teacher, True, changes)
    of_term = {name: changes[name] for name in ("mapping", "beta") if name in changes}
    fields["terms"] = tuple(
        replace(term, **of_term) if isinstance(term, ActivationTransfer) else term for term in run.terms
    )
    return replace(run, **fields)


METHODS: dict[str, tuple[Term, ...]] = {
    "AT": (ActivationTransfer(),),
    "F-ActT": (FullActivation(),),
    "KD": (Distillation(),),
    "AT+KD": (ActivationTransfer(decay="linear"), Distillation()),
}
"""The columns of Table 1 that learn from a teacher. In AT+KD and F-ActT the paper's beta decays, it does not say how:
here linearly."""

Columns = Callable[[Preset, int], dict[str, Run]]


def columns_of(student: str, teacher: str, methods: dict[str, tuple[Term, ...]]) -> Columns:
    """The plain student, the student with each method's terms, and the teacher.

    One teacher, of seed 0, serves the students of every seed: a comparison of methods is then one of students alone.
    """

    def columns(preset: Preset, seed: int) -> dict[str, Run]:
        taught_by = Run(teacher, **preset.teacher)
        taught = {
            name: Run(student, terms=terms, teacher=taught_by, seed=seed, **preset.student)
            for name, terms in methods.items()
        }
        return {"student": Run(student, seed=seed, **preset.student)} | taught | {"teacher": taught_by}

    return columns


def one_or_three(preset: Preset, seed: int) -> dict[str, Run]:
    """Section 4.1: the attention loss on one of the three groups, or on all."""
    methods = {f"group {number + 1}": (ActivationTransfer(groups=(number,)),) for number in range(3)}
    return columns_of("wrn-16-1", "wrn-16-2", methods | {"all groups": METHODS["AT"]})(preset, seed)


def mapping_functions(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 2, and ours: F_max^2, maps divided by their l1 norm, and maps without the normalisation.

    What is normalised otherwise needs another beta. For l1, 256000: an even map of H W places has 1/(H W) of the
    squared length, and 256 are the places of the middle group and the geometric mean of the three. Without
    normalisation 0.001, a million times smaller than usual. Of each also the beta with which the term pulls at the
    untrained student as strongly as with the l2 norm, see `pull`: 42000 and 0.0001. For the same reason the functions
    of Table 2 once more, each with the beta at which its gradient is as long as that of sum-2 at 1000.
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
    found = {}
    for epochs in lengths:
        shortened = replace(preset, student=preset.student | {"epochs": epochs})
        columns = columns_of("wrn-16-1", "wrn-16-2", methods)(shortened, seed)
        found |= {name if name == "teacher" else f"{name}, {epochs} epochs": run for name, run in columns.items()}
    return found


def gradient_methods(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 3: thin NIN without batch norm, flips only, no weight decay.

    The paper gives no beta for terms on gradients: 1 was chosen in advance, with which they pull at a plain student of
    two epochs, though less than the task; with 0.1 hardly at all. Without batch norm a rate of 0.1 does not learn:
    0.01. For activation transfer the teacher has batch norms and no ReLU before pooling, and the student's losses sit
    on the outputs of the convolutions there, as the paper says.
    """
    recipe = {"augmentation": "flip", "weight_decay": 0.0}
    rate = {"learning_rate": 0.01}
    plain = Run("nin-wide-nobn", **preset.teacher | recipe | rate)
    signed = Run("nin-wide-norelu", **preset.teacher | recipe)
    ends = (("block0.conv2", "block0"), ("block1.conv2", "block1"), ("block2.conv1", "block2"))

    def student(*terms: Term, teacher: Run | None = None) -> Run:
        return Run("nin-thin-nobn", terms=terms, teacher=teacher, seed=seed, **preset.student | recipe | rate)

    return {
        "student": student(),
        "min-l2": student(MinL2(beta=1.0)),
        "gradient AT": student(GradientTransfer(beta=1.0), teacher=plain),
        "KD": student(Distillation(), teacher=plain),
        "symmetry norm": student(SymmetryNorm(beta=1.0)),
        "AT": student(ActivationTransfer(layers=ends), teacher=signed),
        "teacher": plain,
        "teacher of AT": signed,
    }


def fine_tuning(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 4: a student and its teacher, both fine-tuned from ImageNet; losses on the last two groups.

    The paper's ResNet-18 and ResNet-34 at preset `paper`. Elsewhere EfficientNet-Lite0 and Lite2, whose weights come as
    packages, and a second beta: crops of 128 pixels leave maps of 8x8 and 4x4 places where 224 pixels leave 14x14 and
    7x7, and the code form is a mean over places. With beta 327, 1000 (4/7)^2, a place weighs as much as there.
    """
    pair = ("resnet18", "resnet34") if preset.name == "paper" else ("efficientnet-lite0", "efficientnet-lite2")
    methods = {"KD": METHODS["KD"], "AT": (ActivationTransfer(groups=(2, 3)),)}
    if preset.name != "paper":
        methods["AT, beta 327"] = (ActivationTransfer(groups=(2, 3), beta=327.0),)
    return columns_of(*pair, methods)(preset, seed)


def from_scratch(preset: Preset, seed: int) -> dict[str, Run]:
    """Table 5: ResNet-18 from ResNet-34, losses on the last two groups.

    Maps of 64 pixels have (64/224)^2 as many places as ImageNet's, and the code form is a mean over places: beside the
    usual beta stands one that is so much smaller, with which a place weighs as much as there.
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
            {"smoke": _BRIEF},
        ),
        Experiment(
            "mapping-functions", "Table 2: mapping functions, WRN-16-1 from WRN-16-2", mapping_functions,
            {"smoke": _BRIEF},
        ),
        Experiment(
            "one-or-three", "Section 4.1: attention loss on one group or on all three", one_or_three, {"smoke": _BRIEF}
        ),
        Experiment("training-length", "ours: when does transfer pay?", training_length, {"smoke": _BRIEF}),
        Experiment(
            "wrn-40-1-to-16-1", "Table 1, third row", columns_of("wrn-16-1", "wrn-40-1", METHODS), {"smoke": _BRIEF}
        ),
        Experiment(
            "gradient-methods", "Table 3: thin NIN without batch norm", gradient_methods,
            {"smoke": _BRIEF, "reduced": _LEVEL}, {"reduced": "20 epochs, after which the plain student underfits"},
        ),
        Experiment(
            "nin-wide-to-nin-thin", "Table 1, first row", columns_of("nin-thin", "nin-wide", METHODS),
            {"smoke": _BRIEF, "reduced": _HALVED},
        ),
        Experiment(
            "wrn-40-2-to-16-2", "Table 1, fourth row", columns_of("wrn-16-2", "wrn-40-2", METHODS),
            {"smoke": _BRIEF, "reduced": _HALVED},
        ),
        Experiment(
            "forms-and-betas", "ours: both forms of the loss, several betas", forms_and_betas, {"smoke": _BRIEF}
        ),
        Experiment(
            "faces", "Figure 3: a network that recognises 40 people, to see where on a face it looks", faces,
            {"smoke": _BRIEF, "reduced": _FACES, "paper": _FACES},
            dict.fromkeys(("reduced", "paper"), "a small network, and faces of 40 people"),
        ),
        Experiment(
            "objects", "ours: is attention on the object? every network of Table 1 on the embedded set", objects,
            {"smoke": _BRIEFEST, "reduced": _MASKED, "paper": _MASKED},
            dict.fromkeys(("reduced", "paper"), "generated shapes"),
        ),
        Experiment(
            "fine-tuning-birds", "Table 4: fine-tuning on CUB-200-2011, at preset reduced on 50 of its classes",
            fine_tuning, _fine_tuned("cub50@144", "cub200@256"),
            {"reduced": "EfficientNet-Lite0 from Lite2 on 50 classes of birds"},
        ),
        Experiment(
            "fine-tuning-scenes", "Table 4: fine-tuning on MIT Indoor Scenes, at preset reduced on 15-Scene",
            fine_tuning, _fine_tuned("scene15@144", "indoor67@256"),
            {"reduced": "EfficientNet-Lite0 from Lite2 on 15-Scene"},
        ),
        Experiment(
            "imagenet-resnet18", "Table 5: ImageNet, at preset reduced ten of its classes at 64 pixels",
            from_scratch, _SCRATCH, {"reduced": "ten classes of ImageNet at 64 pixels"},
        ),
        Experiment(
            "precisions", "ours: does bfloat16 change what is learnt?", precisions,
            {"smoke": _BRIEF, "reduced": _SHORT},
        ),
    )
}  # fmt: skip


TABLE_1 = ("nin-wide-to-nin-thin", "wrn-16-2-to-16-1", "wrn-40-1-to-16-1", "wrn-40-2-to-16-2")
"""The experiments of Table 1, a pair of networks each, in the paper's order."""


def get(name: str) -> Experiment:
    """An experiment by name. Raises ParameterError."""
    if name not in EXPERIMENTS:
        raise ParameterError("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def get_preset(name: str) -> Preset:
    """A preset by name. Raises ParameterError."""
    check_choice("preset", name, PRESETS)
    return PRESETS[name]
