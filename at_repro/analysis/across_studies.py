"""Networks of several studies side by side, under names for readers: their errors, and what their attention is like."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import attrgetter

import pandas as pd
from torch import nn

from at_repro import experiments
from at_repro.analysis import attention_table, network_maps, significance
from at_repro.analysis.study import Study
from at_repro.records import Record
from at_repro.runs import Run

Members = dict[str, tuple[Study, str]]  # a study and its column, by the name for readers


def members(studies: Iterable[Study]) -> Members:
    """Every recorded column of these studies, once: such as "WRN-16-1", and "WRN-16-1 from WRN-16-2, AT".

    Of each study the teacher first, then AT, then the others; without what diverged.
    Where one name would stand for several runs, the length of training is part of it, "WRN-16-2, 60 epochs", and where
    that is one as well the end of the run id.
    """
    sources: dict[Run, tuple[Study, str]] = {}
    for study in studies:
        for column, record in sorted(_firsts(study), key=lambda first: {"teacher": 0, "AT": 1}.get(first[0], 2)):
            sources.setdefault(record.run, (study, column))
    names = {
        run: run.network.upper()
        + (f" from {run.teacher.network.upper()}" if run.teacher else "")
        + (f", {column}" if run.terms else "")
        for run, (_, column) in sources.items()
    }
    for detail in (lambda run: f"{run.epochs} epochs", lambda run: run.run_id[-10:]):
        counts = Counter(names.values())
        names = {run: name if counts[name] == 1 else f"{name}, {detail(run)}" for run, name in names.items()}
    return {name: sources[run] for run, name in names.items()}


def plain_networks(studies: Iterable[Study]) -> Members:
    """What learnt from labels alone, the weakest first: of each network the run that trained longest, by its name."""
    longest: dict[str, Record] = {}
    sources: Members = {}
    for study in studies:
        for column, record in _firsts(study):
            network = record.run.network.upper()
            if not record.run.terms and (network not in longest or longest[network].run.epochs < record.run.epochs):
                longest[network], sources[network] = record, (study, column)
    return {network: sources[network] for network in sorted(longest, key=lambda of: -longest[of].final["test_error"])}


def own_studies(selection: Members) -> list[Study]:
    """The studies of these networks with the records of these alone, for their `study.stamp`."""
    firsts = [(study, column, study.first(column)) for study, column in selection.values()]
    return [
        replace(study, seeds=[record.run.seed], records={column: {record.run.seed: record}}, note="")
        for study, column, record in firsts
    ]


def networks(selection: Members) -> dict[str, nn.Module]:
    """The networks themselves, as from `Study.networks`: without those that have no stored weights or no images."""
    return {name: network for name, (study, column) in selection.items() for network in study.networks(column).values()}


def table(selection: Members, statistic: str) -> pd.DataFrame:
    """A row per network: `epochs`, `test_error` in percent, and a statistic of its attention at every level.

    From the table of `attention_table`, see there; NaN for what was not measured.
    """
    stores = {study.store.folder: study.store for study, _ in selection.values()}
    parts = [attention_table.by_level(store, statistic) for store in stores.values()]
    levels = pd.concat([pd.DataFrame(columns=network_maps.LEVELS, dtype=float), *parts])
    records = [study.first(column) for study, column in selection.values()]
    rows = [(record.run.run_id, record.run.epochs, record.final["test_error"]) for record in records]
    index = pd.Index(list(selection), dtype="str", name="network")
    table = pd.DataFrame(rows, index, ["run_id", "epochs", "test_error"])
    return table.join(levels[list(network_maps.LEVELS)], on="run_id").drop(columns="run_id")


def of_pretrained(study: Study, statistic: str) -> pd.DataFrame:
    """A statistic of networks with ImageNet weights on photographs: a row per network, a column per level.

    From the table of a study's store, see `attention_measurement.update_imagenet`; no rows where nothing was measured.
    """
    table = attention_table.by_level(study.store, statistic)
    table = table[table.index.str.startswith("imagenet-")].dropna(axis="columns", how="all")
    table = table.rename_axis(index="network", columns=None)
    return table.rename(lambda run_id: run_id.removeprefix("imagenet-"))


def distance_and_error(*studies: Study) -> dict[str, pd.DataFrame]:
    """Every recorded student of each study's network, data, length and teacher: does looking alike go with being right?

    Students of all experiments count that are trained as long as the plain one of the study; each is named as in the
    study, or in the first experiment that has it. What diverged, and what was not measured, is left out. Of studies of
    one title the first counts.

    Returns by student, teacher and length a row per method, since its seeds are no other methods, by distance at the
    last level and numbered from 1: columns `method`; `seeds`, how many; and the medians over them: `test_error`
    (percent) and one per level, the distance to the teacher's maps, see `attention_table`.
    """
    tables: dict[str, pd.DataFrame] = {}
    for study in studies:
        if title(study) not in tables:  # of two that a reader could not tell apart the first stands, which may be empty
            tables[title(study)] = _students(study)
    return tables


def title(study: Study) -> str:
    """Such as "WRN-16-1 from WRN-16-2, 40 epochs"."""
    student, teacher = study.columns["student"], study.columns["teacher"]
    return f"{student.network.upper()} from {teacher.network.upper()}, {student.epochs} epochs"


def _students(study: Study) -> pd.DataFrame:
    distances = attention_table.by_level(study.store, "distance", study.columns["teacher"].run_id)
    key = attrgetter("network", "dataset", "subset", "epochs")
    own = {run: name for columns in study.experiment.runs(study.preset, study.seeds) for name, run in columns.items()}
    own_names = set(own.values())
    names = {run: name for run, name in own.items() if key(run) == key(study.columns["student"])}
    for experiment in experiments.EXPERIMENTS.values():
        for columns in experiment.runs(study.preset, study.seeds):
            for name, run in columns.items():
                # A study of other parameters has other runs, which alone are of its names.
                if key(run) == key(study.columns["student"]) and name not in own_names:
                    names.setdefault(run, name)
    rows = [
        (names[run], record.final["test_error"], *distances.loc[run.run_id])
        for run in names
        if run.run_id in distances.index and (record := study.store.find(run)) and not record.diverged
    ]
    by_method = pd.DataFrame(rows, columns=["method", "test_error", *distances]).groupby("method", sort=False)
    frame = by_method.median().reset_index()
    frame.insert(1, "seeds", by_method.size().to_numpy())
    frame = frame.sort_values(frame.columns[-1], ignore_index=True)
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1))


def rank_correlations(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Spearman's correlation of test error with what was measured at each level, in families of networks.

    Columns: `count`, of networks or methods; `rho` and `p`, see `significance.rank_correlation`; `lowest` and
    `highest`, the least and the most that rho is with any one of them left out. A row per family of at least three and
    level.

    Args:
        tables: by family, see `distance_and_error`.
    """
    rows = {}
    for family, networks in tables.items():
        for level in networks.columns[networks.columns.get_loc("test_error") + 1 :]:
            pairs = networks[[level, "test_error"]].dropna().astype(float)
            if len(pairs) > 2:
                rhos = pd.Series([pairs.drop(index=one).corr("spearman").iloc[0, 1] for one in pairs.index])
                rho, p = significance.rank_correlation(pairs[level], pairs["test_error"])
                rows[family, level] = (len(pairs), rho, p, rhos.min(), rhos.max())
    index = pd.MultiIndex.from_tuples(list(rows), names=["of", "level"])
    return pd.DataFrame(list(rows.values()), index, ["count", "rho", "p", "lowest", "highest"])


def _firsts(study: Study) -> list[tuple[str, Record]]:
    """The first seed's record of every column that has one and did not diverge."""
    records = [(column, study.first(column)) for column in study.records]
    return [(column, record) for column, record in records if not record.diverged]
