"""The kinds of comparison that claims about attention are made of: statistics of maps, in networks as replicates."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import ClassVar

from at_repro import experiments
from at_repro.analysis import significance
from at_repro.claims.comparisons import Comparison, Evidence, over_networks
from at_repro.claims.facts import Facts
from at_repro.claims.verdicts import BELOW
from at_repro.records import check_same_test_images
from at_repro.runs import Run

Quantity = tuple[str, str, str]  # a column, a level and a statistic of `attention_table`


@dataclass(frozen=True, repr=False)
class MapComparison(Comparison):
    """One statistic of attention is lower than another, in networks that are the replicates.

    An interval over images would say nothing of another training: the unit is the network, and three decide at the
    least. The teacher's seed is one for all students: it counts once.

    Attributes:
        pairs: the lower and the higher quantity, by experiment: each pair is one replicate, the mean of its seeds.
        presets: at which the networks compared are trained alike; at others the claim is not tested.
    """

    kind = "Maps"
    name: str
    pairs: tuple[tuple[str, Quantity, Quantity], ...]
    presets: tuple[str, ...] = ("reduced", "paper")

    def __str__(self) -> str:
        return self.name

    @property
    def experiments(self) -> tuple[str, ...]:
        """Those of all pairs."""
        return tuple(name for name, *_ in self.pairs)

    def runs(self, preset: str) -> list[Run]:
        """Whose maps are compared, of the first seed."""
        pairs = [(experiments.get(name).runs(preset, [0])[0], lower, higher) for name, lower, higher in self.pairs]
        return [columns[column] for columns, *quantities in pairs for column, *_ in quantities]

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """Of the pairs that were measured."""
        differences, seeds, runs, fair = {}, 0, [], True
        for name, lower, higher in self.pairs if preset in self.presets else ():
            by_seed = {}
            for columns in facts.columns(name, preset):
                keys = [_key(columns, *quantity) for quantity in (lower, higher)]
                if all(key in facts.attention for key in keys):
                    runs_here = [columns[column] for column, *_ in (lower, higher)]
                    check_same_test_images(filter(None, map(facts.find, runs_here)))
                    fair = fair and all(facts.has_better_teacher(run) for run in runs_here)
                    by_seed[tuple(keys)] = facts.attention[keys[0]] - facts.attention[keys[1]]
            if by_seed:
                differences[f"{lower[0]} of {name}"] = fmean(by_seed.values())
                seeds += len(by_seed)
                runs += [run_id for keys in by_seed for run_id, *_ in keys]
        if not differences:
            return None
        scope = f"one pair, the mean of {seeds} seeds" if seeds > 1 else "one network"
        scope = f"{len(differences)} networks" if len(differences) > 1 else scope
        return over_networks(differences, scope, list(dict.fromkeys(runs)), fair)


@dataclass(frozen=True, repr=False)
class PretrainedComparison(Comparison):
    """A statistic of attention is lower in the weaker of two networks with ImageNet weights, on photographs.

    Three networks are two steps from weak to strong: too few to decide.

    Attributes:
        networks: from weak to strong.
        level, statistic: see `attention_table`.
    """

    kind = "Pretrained"
    networks: tuple[str, ...]
    level: str
    statistic: str

    def __str__(self) -> str:
        return f"{self.statistic}, {self.level}, of a network below that of the next stronger one"

    def stand_in(self, preset: str) -> str:
        """They stand in for the paper's NIN, ResNet-34 and ResNet-101."""
        return f"{', '.join(self.networks)} on photographs of birds"

    def runs(self, preset: str) -> list[Run]:
        """None: nobody here has trained them."""
        return []

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """Of the networks that were measured, whatever the preset."""
        run_ids = [f"imagenet-{network}" for network in self.networks]
        keys = [(run_id, "", self.level, self.statistic) for run_id in run_ids]
        if not all(key in facts.attention for key in keys):
            return None
        values = [facts.attention[key] for key in keys]
        differences = [weaker - stronger for weaker, stronger in pairwise(values)]
        return over_networks(dict(zip(run_ids[1:], differences, strict=True)), f"{len(values)} networks", run_ids)


@dataclass(frozen=True, repr=False)
class Trend(Comparison):
    """Over the networks of an experiment, a statistic of attention falls as the test error rises."""

    kind = "Trend"
    experiment: str
    columns: tuple[str, ...]
    level: str
    statistic: str
    unit: ClassVar[str] = " per point of error"

    def __str__(self) -> str:
        return f"{self.statistic}, {self.level}, falls as the test error rises ({self.experiment})"

    def runs(self, preset: str) -> list[Run]:
        """Whose maps and errors are compared, of the first seed."""
        columns = experiments.get(self.experiment).runs(preset, [0])[0]
        return [columns[column] for column in self.columns]

    def evidence(self, preset: str, facts: Facts) -> Evidence | None:
        """The slope over networks, by least squares."""
        keys = {run: (run.run_id, "", self.level, self.statistic) for run in self.runs(preset) if facts.find(run)}
        runs = [run for run, key in keys.items() if key in facts.attention]
        estimate = significance.slope([facts.error(run) for run in runs], [facts.attention[keys[run]] for run in runs])
        if estimate is None:
            return None
        check_same_test_images(map(facts.load, runs))
        scope, run_ids = f"{len(runs)} networks", tuple(run.run_id for run in runs)
        differences = {"slope": estimate.difference}
        return Evidence(differences, scope, estimate, BELOW.chances(estimate), run_ids, lacks="more networks")


def _key(columns: dict[str, Run], column: str, level: str, statistic: str) -> tuple[str, str, str, str]:
    """Distances are to "teacher"."""
    teacher = columns["teacher"].run_id if statistic == "distance" else ""
    return columns[column].run_id, teacher, level, statistic
