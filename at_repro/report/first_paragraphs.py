"""The first paragraph of a page: what was found, in sentences that are made of records and so stay right."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd

from at_repro.analysis import across_studies, error_tables, map_statistics
from at_repro.analysis.significance import ALPHA
from at_repro.analysis.study import Study, with_all_seeds
from at_repro.claims import CONTRADICTED, SUPPORTED, UNDECIDED
from at_repro.claims.facts import Facts
from at_repro.experiments import paper_numbers
from at_repro.report.phrases import all_seeds, count_seeds, error, judge, length

_SIGNIFICANT = 2 * ALPHA  # of rank correlations, two-sided: differences are judged as the ledger judges


def on_losses(groups: Study, functions: Study, forms: Study) -> str:
    """Whether another choice of groups, mapping function, norm, form or beta is better than the usual, as Markdown.

    Args:
        groups, functions, forms: of the experiments one-or-three, mapping-functions and forms-and-betas.
    """
    if groups.preset == "smoke" or not {"student", "all groups"} <= groups.records.keys():
        return _nothing(groups.preset)
    facts = Facts(groups.store)
    usual_of = ((groups, "all groups"), (functions, "sum-2"), (forms, "code form, beta 1000"))
    words = Counter(
        judge(facts, study, name, usual)
        for study, usual in usual_of
        for name in study.columns.keys() - {"student", "teacher", usual}
    )
    better, count = words[SUPPORTED], words.total() - words["not run"]
    if not count:
        return _nothing(groups.preset)
    diverged = f" and {words['diverged']} diverged" if words["diverged"] else ""
    student, teacher = (groups.columns[column].network for column in ("student", "teacher"))
    numbers = [paper_numbers.of_experiment("mapping-functions", column) for column in ("sum-2", "student")]
    usual = error(groups, "all groups")
    reference = (
        f" (the paper, in 200 epochs: {numbers[0]} and {numbers[1]} %)" if error_tables.as_published(groups) else ""
    )
    return (
        f"**Of {count} other attention losses, trained for {length(groups)}, {better or 'none'} "
        f"end{'s' * (better < 2)} significantly better than the usual one**, {words[CONTRADICTED]} worse, "
        f"each judged by itself; {words[UNDECIDED]} are undecided{diverged}. "
        "The usual one is attention of all three groups (1 low, 2 middle, 3 top), the sum of squares over channels "
        "(`sum-2`), maps divided by their l2 norm, and the public code's loss, a mean of squares (*code form*; in the "
        "*paper form* distances are not squared), β = 1000. With it "
        f"{student.upper()}, taught by {teacher.upper()}, {f'makes {usual} test errors' if usual else 'diverges'} "
        f"({count_seeds(groups, 'all groups')}{all_seeds(groups, 'all groups')}), without any transfer "
        f"{error(groups, 'student') or 'diverged'} ({count_seeds(groups, 'student')}{all_seeds(groups, 'student')}), "
        f"at {groups.columns['student'].epochs} epochs{reference}."
    )


def on_method(study: Study, sizes: Mapping[str, float]) -> str:
    """What attention transfer does, and how much it matters which of its two losses is taken, as Markdown.

    Args:
        sizes: see `paper_and_code.sizes`; empty where nothing was measured.
    """
    distances = error_tables.map_distances(study)
    text = (
        "**A student is trained to have its teacher's attention maps.** A map says how active a network is at each "
        "position of an image: activations are squared, summed over channels, and the map is scaled to length 1. "
    )
    if {"student", "AT"} <= set(distances.index):
        after, before = (_and(f"{value:.2f}" for value in distances.loc[name][:-1]) for name in ("AT", "student"))
        student = study.columns["student"]
        text += (
            f"That works: after {length(study)} the maps of a {student.network.upper()} at the ends of its groups of "
            f"blocks, called {_and(list(distances)[:-1])}, are on average {after} from its teacher's, "
            f"without transfer {before} (0: the same map, 1.41: no position in common)."
        )
    text += (
        "\n\n**The paper prints another loss than its code computes.** In the paper the distance of two maps is added "
        "to the loss, in the code its square. Every number of this book is of the code's loss, unless its table names "
        "another. "
    )
    if sizes.get("form", 0) > 0:  # no number where student and teacher are one
        text += (
            "Read literally, with the β of 0.1 that the paper names, its loss is a weak one: the gradient of the "
            f"code's, with β = 1000, is {sizes['form']:.0f} times as long at the activations of a trained student. "
        )
    if "position" in sizes:
        text += (
            "Where a map is taken matters as well: before and after batch norm and ReLU, the student's own maps are "
            f"on average {sizes['position']:.2f} apart."
        )
    return text


def on_maps(preset: str, ours: pd.DataFrame, pretrained: pd.DataFrame) -> str:
    """Whether low maps follow edges and higher ones do not, as Markdown.

    Args:
        preset: at "smoke" nothing is judged.
        ours: the correlation with edges of networks trained here, see `across_studies.table`.
        pretrained: the same of networks with ImageNet weights, see `across_studies.of_pretrained`.
    """
    if preset == "smoke":
        return _nothing(preset)
    ours = ours.dropna()
    sets = {
        f"in {{}} networks trained here for {_lengths(ours)}, on small images":
            ours.drop(columns=["epochs", "test_error"]),
        "in {} EfficientNet-Lites with ImageNet weights, which stand in for the paper's networks, on photographs":
            pretrained,
    }  # fmt: skip
    says, most, count, dips = [], 0, 0, 0
    for where, levels in sets.items():
        if len(levels):
            low, top = (f"{column.min():.2f} to {column.max():.2f}" for _, column in levels.iloc[:, [0, -1]].items())
            says.append(f"{low} at the lowest level and {top} at the top {where.format(len(levels))}")
            most += int((levels.iloc[:, 0] > levels.iloc[:, 1:].max(axis=1)).sum())
            dips += int((levels.iloc[:, 1:-1].min(axis=1) < levels.iloc[:, -1]).sum())
            count += len(levels)
    if not count:
        return _nothing(preset)
    return (
        f"**Low maps follow edges more than all higher ones do, in {most} of {count} networks.** The correlation of a "
        f"map with how strongly the image changes is {'; '.join(says)}. The fall is not steady: in {dips} of "
        f"{count} a level in the middle follows edges less than the top. To the eye, low maps are outlines, as the "
        "paper says; of a bird, the third of four levels marks the head or the beak, and top maps are one or two broad "
        "spots where the paper has the whole object."
    )


def on_larger_images(studies: Mapping[str, Study]) -> str:
    """Whether transfer helps on photographs, fine-tuned and from scratch, as Markdown.

    Args:
        studies: of the experiments fine-tuning-birds, fine-tuning-scenes and imagenet-resnet18, by what they are of.
    """
    tasks = {name: study for name, study in studies.items() if {"student", "AT"} <= study.records.keys()}
    any_study = next(iter(studies.values()))
    if any_study.preset == "smoke" or not tasks:
        return _nothing(any_study.preset)
    if dataset := next(filter(None, (study.changes.get("dataset") for study in studies.values())), None):
        return f"Nothing is said: this page is about birds, scenes and ImageNet, and these runs are of {dataset}."
    facts = Facts(any_study.store)
    successes = [name for name, study in tasks.items() if SUPPORTED in [judge(facts, study, at) for at in _at(study)]]
    weak_tests = [
        name
        for name, study in tasks.items()
        if not all(
            facts.has_better_teacher(replace(study.columns["AT"], seed=seed)) for seed in study.records["student"]
        )
    ]
    where = "On" if any_study.preset == "paper" else "In small stand-ins for the paper's setting, on"
    names = [study.experiment.name for study in studies.values()]
    plain, taught = (
        [number for name in names if (number := paper_numbers.of_experiment(name, column))]
        for column in ("student", "AT")
    )
    gains = [without.value - number.value for without, number in zip(plain, taught, strict=True)]
    doubt = "" if all(number.certain for number in taught) else " (not all checked in print)"
    errors = "; ".join(_with_and_without(name, study) for name, study in tasks.items())
    sets = _and(tasks).replace("Imagenette", "Imagenette (ten classes of ImageNet)")
    lead = (
        f"**{where} {sets}, attention transfer helps significantly on {_and(successes) or 'none'}**; the paper gains "
        f"{min(gains):.1f} to {max(gains):.1f} points on each{doubt}. "
        f"Test errors without transfer and with it: {errors}.{_with_smaller_beta(facts, tasks)}"
    )
    if weak_tests:
        worse = [name for name in weak_tests if judge(facts, tasks[name], "teacher") == CONTRADICTED]
        of_worse = f", and on {_and(worse)} worse" if worse else ""
        lead += (
            f" On {_and(weak_tests)} the teacher is not significantly better than the plain student{of_worse}: by the "
            "rules of the claims that is no test."
        )
    return lead


def _with_smaller_beta(facts: Facts, tasks: Mapping[str, Study]) -> str:
    """The errors of AT with a beta for maps smaller than the paper's, and where they are worse than no transfer's."""
    columns = [(name, study, at) for name, study in tasks.items() for at in _at(study) if at in study.records]
    smaller = [(name, study, at) for name, study, at in columns if at != "AT"]
    if not smaller:
        return ""
    errors = _and(f"{error(study, at) or 'diverged'} on {name}" for name, study, at in smaller)
    worse = [name for name, study, at in smaller if judge(facts, study, at) == CONTRADICTED]
    of_worse = f"; on {_and(worse)} that is still significantly worse than no transfer" if worse else ""
    return (
        " With the usual β, 1000, each of the few positions of small maps weighs 3 to 12 times as much as in the "
        f"paper. With a smaller β that makes up for this the errors are {errors}{of_worse}."
    )


def _with_and_without(name: str, study: Study) -> str:
    plain, taught = (error(study, column) or "diverged" for column in ("student", "AT"))
    return f"{plain} and {taught} on {name} ({study.columns['AT'].epochs} epochs, {count_seeds(study, 'AT')})"


def _at(study: Study) -> list[str]:
    return [name for name in study.columns if name.startswith("AT")]


def _and(names: Iterable[str]) -> str:
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def is_it_the_attention(preset: str, students: Mapping[str, pd.DataFrame], studies: Iterable[Study]) -> str:
    """Whether looking like the teacher goes with being right, as Markdown.

    Args:
        preset: at "smoke" nothing is judged.
        students: see `across_studies.distance_and_error`; the first ones give the answer.
        studies: whose; by all of their recorded seeds the distances of KD are compared.
    """
    title, own = next(iter(students.items()))
    correlations = across_studies.rank_correlations({title: own})
    if preset == "smoke" or correlations.empty:
        return _nothing(preset)
    top = correlations.iloc[-1]
    lead = "Whether students whose attention is nearer to their teacher's err less is open"
    if top["p"] < _SIGNIFICANT:
        lead = f"Students whose attention is nearer to their teacher's err {'less' if top['rho'] > 0 else 'more'}"
    answer = (
        f"{lead}: over {len(own)} methods ({title}) the rank correlation of test error and distance from the "
        f"teacher's top map is {top['rho']:.2f}, where 1 would be *the nearer, the better* (p = {top['p']:.2g})."
    )
    pairs = {name: own for name, own in students.items() if {"student", "KD"} <= set(own["method"])}
    return " ".join([_distillation(pairs) + _seed_by_seed(studies), answer] if pairs else [answer])


def _distillation(students: Mapping[str, pd.DataFrame]) -> str:
    """How often KD errs less than no transfer although it looks elsewhere than the teacher."""
    surprises = 0
    for own in students.values():
        plain, kd = (own.set_index("method").loc[name] for name in ("student", "KD"))
        surprises += kd[own.columns[-1]] > plain[own.columns[-1]] and kd["test_error"] < plain["test_error"]
    pairs = {title.split(",")[0] for title in students}  # some at several lengths
    return (
        "**With distillation (KD) the error is lower than without transfer and the top map farther from the teacher's, "
        f"in {surprises} of {len(students)} settings** of {len(pairs)} pair{'s' * (len(pairs) > 1)} of networks."
    )


def _seed_by_seed(studies: Iterable[Study]) -> str:
    """How much farther KD's maps are than the plain student's of the same seed, where three or more have both.

    Of the top map always, of lower ones what is significant.
    """
    tops: dict[str, str] = {}
    lower: list[str] = []
    for study in studies:
        title = across_studies.title(study)
        levels = error_tables.paired_map_distances(with_all_seeds(study), "KD")
        if levels.empty or levels["seeds"].iloc[-1] < 3 or title in tops:
            continue
        for level, row in levels.iterrows():
            is_farther = row["difference"] > 0
            low, high = (row["low"], row["high"]) if is_farther else (-row["high"], -row["low"])
            count = row["farther"] if is_farther else row["seeds"] - row["farther"]
            doubt = "" if low > 0 else "not significant; "
            told = (
                f"{abs(row['difference']):.3f} {'farther' if is_farther else 'nearer'} ({doubt}{title}; 95 % interval "
                f"{low:.3f} to {high:.3f}; so with {count:.0f} of {row['seeds']:.0f} seeds)"
            )
            if level == levels.index[-1]:
                tops[title] = told
            elif not doubt:
                lower.append(f"the {level} one, {told}")
    text = (
        f" Compared seed by seed with the plain student's, KD's top map is on average {_and(tops.values())}, on a "
        "scale from 0, the same map, to 1.41, no position in common."
    )
    of_lower = (
        f" Of lower maps {f'these differ significantly: {_and(lower)}' if lower else 'none differs significantly'}."
    )
    return (text + of_lower) * bool(tops)


def peaks_objects_faces(
    preset: str,
    peaks: pd.DataFrame,
    pretrained: pd.DataFrame,
    shares: pd.DataFrame,
    surplus: pd.DataFrame,
    parts: pd.DataFrame,
) -> tuple[str, str]:
    """Whether stronger networks are peakier, and whether attention is on the object and on the parts, as Markdown.

    Args:
        preset: at "smoke" nothing is judged.
        peaks, shares, surplus, parts: top share, on object, its surplus and on parts, see `across_studies.table`.
        pretrained: top share of networks with ImageNet weights, see `across_studies.of_pretrained`.

    Returns:
        The answer, and what else was found, to stand below the first figure.
    """
    answer, more = [], []
    if preset == "smoke":
        return _nothing(preset), ""
    if len(rows := peaks.dropna()) > 2:
        lead, correlations = _stronger_networks(rows, "of their attention in peaks")
        answer.append(
            f"**{lead}**: the strongest tenth of a top map's positions holds "
            f"{_range(rows['top'])} of its mass after {_lengths(rows)}, and the rank correlation with the test "
            f"error, below zero if the paper is right, is {correlations}."
        )
    if len(tops := pretrained.iloc[:, -1:].dropna().squeeze("columns")) > 1:
        how_often = "more" if tops.is_monotonic_increasing and tops.is_unique else "not always more"
        more.append(
            "In networks with ImageNet weights, which stand in for the paper's, the strongest tenth holds "
            f"{_list(tops)}, on photographs of birds: {how_often} in the stronger ones, whose top maps have more "
            "positions as well."
        )
    if len(rows := shares.dropna()) and len(surplus.dropna()) > 2:
        count = int((rows["top"] > rows["low"]).sum())
        answer.append(
            f"**Top maps have more of their mass on the object than low ones** in {count} of {len(rows)} networks: "
            f"{_range(rows['top'])} against {_range(rows['low'])}, on generated shapes, which stand in for "
            "photographs and have masks."
        )
        lead, correlations = _stronger_networks(surplus.dropna(), "attention on the object")
        more.append(
            f"{lead}: the rank correlation of the test error and the top map's surplus on the object, explained below, "
            f"is {correlations}."
        )
    if len(rows := parts.dropna()):
        levels = rows.iloc[0][["low", "middle", "top"]].astype(float)
        even = 100 * map_statistics.parts_mask(64, 64).float().mean()
        more.append(
            f"On faces, in one small network that stands in for the paper's, {_list(levels)} of the maps' mass lies on "
            "eyes, nose and mouth, where the paper says that middle maps fire. A uniform map, the same everywhere, has "
            f"{even:.0f} % there; one network decides nothing."
        )
    return " ".join(answer) or _nothing(preset), "\n".join(f"- {sentence}" for sentence in more)


def _stronger_networks(networks: pd.DataFrame, quantity: str) -> tuple[str, str]:
    """Whether they have more of a quantity of the top map, and how it goes with the test error.

    Decided only where it is so over all networks and over the WRNs, whose maps are taken at one position.
    """
    groups = {"networks": networks, "WRNs": networks[networks.index.str.startswith("WRN")]}
    top = across_studies.rank_correlations(groups).xs("top", level="level")
    lead = f"Whether stronger networks have more {quantity} is open"
    over = [f"{row['rho']:.2f} over {row['count']:.0f} {name} (p = {row['p']:.2g})" for name, row in top.iterrows()]
    if len(top) < len(groups):
        return lead, f"{', '.join(over)}; the WRNs alone are too few"
    if (top["p"] < _SIGNIFICANT).all():
        lead = f"Stronger networks have {'more' if top['rho'].iloc[0] < 0 else 'less'} {quantity}"
    return lead, ", ".join(over)


def _lengths(networks: pd.DataFrame) -> str:
    """Such as "20 to 60 epochs", of a table of `across_studies.table`."""
    ends = sorted({networks["epochs"].min(), networks["epochs"].max()})
    return f"{' to '.join(f'{end:.0f}' for end in ends)} epochs"


def _range(values: pd.Series) -> str:
    return f"{values.min():.0f} to {values.max():.0f} %"


def _list(values: pd.Series) -> str:
    return ", ".join(f"{value:.0f} % ({name})" for name, value in values.items())


def _nothing(preset: str) -> str:
    if preset == "smoke":
        return "Nothing is said: preset smoke rehearses, on generated images, and judges nothing."
    return f"Nothing can be said yet: at preset {preset} what this page is about is not run, or not measured."
