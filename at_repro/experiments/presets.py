"""The sizes at which every experiment can be run."""

from dataclasses import dataclass, replace

from at_repro.errors import check_choice


@dataclass(frozen=True)
class Preset:
    """One size at which every experiment can be run.

    Attributes:
        name: "smoke", "reduced" or "paper".
        meant_for: for readers.
        teacher, student: fields of the `Run` that trains one, without network and terms.
        seeds: of the students.
    """

    name: str
    meant_for: str
    teacher: dict
    student: dict
    seeds: tuple[int, ...]


# float32 is fast on every processor, bfloat16 only on new ones; a smaller batch makes more steps of few images.
_SMOKE = {"dataset": "shapes", "subset": 2500, "batch_size": 64, "precision": "fp32"}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("smoke", "a first look, tests: generated images, minutes on two cores",
               teacher=_SMOKE | {"epochs": 10}, student=_SMOKE | {"epochs": 8}, seeds=(0,)),
        Preset("reduced", "a laptop over a few nights: all of CIFAR-10, the paper's schedule compressed",
               teacher={"epochs": 60}, student={"epochs": 40}, seeds=(0,)),
        Preset("paper", "a GPU, or days of two cores: 200 epochs, five seeds, as in the paper",
               teacher={"epochs": 200}, student={"epochs": 200}, seeds=(0, 1, 2, 3, 4)),
    )
}  # fmt: skip


def get_preset(name: str) -> Preset:
    """A preset by name. Raises ParameterError."""
    check_choice("preset", name, PRESETS)
    return PRESETS[name]


# At `smoke` only the first experiment trains for minutes; each of the others takes seconds and shows that it works.
_FEW = _SMOKE | {"subset": 320}
_SECONDS = "seconds: generated images, to see that it works"
BRIEF = Preset("smoke", _SECONDS, _FEW | {"epochs": 1}, _FEW | {"epochs": 2}, seeds=(0,))
BRIEFEST = replace(BRIEF, student=_FEW | {"epochs": 1})

# Two precisions need many seeds rather than long runs: 1,564 steps each.
SHORT = Preset(
    "reduced", "a laptop: 4 epochs of CIFAR-10, five seeds", {"epochs": 4}, {"epochs": 4}, seeds=(0, 1, 2, 3, 4)
)

# Half of the epochs where a step costs several times as much; in Table 3, the dearest, teachers get no more either.
_NIGHTS = "a laptop over a few nights: all of CIFAR-10, half of the epochs of its neighbours"
HALF_LENGTH = Preset("reduced", _NIGHTS, {"epochs": 30}, {"epochs": 20}, seeds=(0,))
EQUAL_LENGTH = replace(HALF_LENGTH, teacher={"epochs": 20})


# Fine-tuning as in Section 4.2: batch norms and the first group keep their ImageNet weights. Rate and length are
# ours: at a rate of 0.01 the plain student learns, but KD and AT fall to guessing in the first epoch.
# In float32: convolutions within channels are slow in bfloat16 on a CPU.
_TUNING = {"norms": "fixed", "frozen_groups": 1, "augmentation": "window-flip", "learning_rate": 0.001}
_FROM_IMAGENET = _TUNING | {"start": "imagenet", "batch_size": 32, "epochs": 20, "precision": "fp32"}
_LARGE = _TUNING | {"start": "imagenet", "epochs": 60}
_RANDOM = _FEW | _TUNING | {"epochs": 2, "batch_size": 32}  # at smoke nothing has to be downloaded or installed


def fine_tuning_sizes(stand_in: str, paper_set: str) -> dict[str, Preset]:
    """The sizes of fine-tuning on a data set that stands in at `reduced` for the published one, that of `paper`."""
    at_reduced, at_paper = _FROM_IMAGENET | {"dataset": stand_in}, _LARGE | {"dataset": paper_set}
    return {
        "smoke": Preset("smoke", _SECONDS, _RANDOM, _RANDOM, seeds=(0,)),
        "reduced": Preset("reduced", "a laptop: other networks, fewer images", at_reduced, at_reduced, seeds=(0, 1, 2)),
        "paper": Preset("paper", "one GPU: the published images", at_paper, at_paper, seeds=(0, 1, 2, 3, 4)),
    }


# Table 5's recipe. Imagenette, ten of ImageNet's classes at 64 pixels, stands in where a CPU has to carry it.
_FROM_SCRATCH = {"augmentation": "resized-crop-flip", "weight_decay": 1e-4, "milestones": (0.3, 0.6, 0.9), "drop": 0.1}
_TINY = _FEW | _FROM_SCRATCH | {"epochs": 2}
_IMAGENETTE = _FROM_SCRATCH | {"dataset": "imagenette64@64", "epochs": 40}
_IMAGENET = _FROM_SCRATCH | {"dataset": "imagenet@224-streamed", "epochs": 100, "batch_size": 256}
SCRATCH = {
    "smoke": Preset("smoke", _SECONDS, _TINY, _TINY, seeds=(0,)),
    "reduced": Preset("reduced", "a laptop: Imagenette, 40 epochs", _IMAGENETTE, _IMAGENETTE, seeds=(0,)),
    "paper": Preset("paper", "several GPUs: ImageNet, 100 epochs", _IMAGENET, _IMAGENET, seeds=(0,)),
}


# All of the generated images are as much as is needed to learn it.
_EMBEDDED = {"dataset": "shapes", "epochs": 10}
WITH_MASKS = Preset("reduced", "a laptop: generated images", _EMBEDDED, _EMBEDDED, seeds=(0,))


# The same at both presets: 320 pictures are few, and who has no copy of them finds the committed record.
_PEOPLE = {"dataset": "orl_faces@64", "subset": 320, "batch_size": 32, "epochs": 100}
FACES = Preset("reduced", "a laptop: pictures of 40 people", _PEOPLE, {}, seeds=(0,))
