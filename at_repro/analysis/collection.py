"""Networks of several studies side by side, under names for readers."""

from collections import Counter
from collections.abc import Iterable

import pandas as pd
from torch import nn

from at_repro.analysis import attention_table, network_maps
from at_repro.analysis.study import Study
from at_repro.records import Record
from at_repro.runs import Run

Members = dict[str, tuple[Study, str]]  # a study and its column, by the name for readers


def members(studies: Iterable[Study]) -> Members:
    """Every recorded column of these studies, once: such as "WRN-16-1", and "WRN-16-1 from WRN-16-2, AT".

    Of each study the teacher first, then AT, then the others.
    Where one name would stand for several lengths of training, the length is part of it: "WRN-16-2, 60 epochs".
    """
    found: dict[Run, tuple[Study, str]] = {}
    for study in studies:
        for column, record in sorted(_firsts(study), key=lambda first: {"teacher": 0, "AT": 1}.get(first[0], 2)):
            found.setdefault(record.run, (study, column))
    names = {run: _name(run, column) for run, (_, column) in found.items()}
    alike = Counter(names.values())
    return {name if alike[name] == 1 else f"{name}, {run.epochs} epochs": found[run] for run, name in names.items()}


def _name(run: Run, column: str) -> str:
    if not run.terms:
        return run.network.upper()
    return run.network.upper() + (f" from {run.teacher.network.upper()}, {column}" if run.teacher else f", {column}")


def plain(studies: Iterable[Study]) -> Members:
    """What learnt from labels alone, the weakest first: of each network the run that trained longest, by its name."""
    longest: dict[str, Record] = {}
    where = {}
    for study in studies:
        for column, record in _firsts(study):
            known = longest.get(record.run.network)
            if not record.run.terms and (known is None or known.run.epochs < record.run.epochs):
                longest[record.run.network] = record
                where[record.run.network] = study, column
    order = sorted(longest, key=lambda network: -longest[network].final["test_error"])
    return {network.upper(): where[network] for network in order}


def networks(found: Members) -> dict[str, nn.Module]:
    """The networks themselves, as from `Study.networks`: without those that have no stored weights or no images."""
    loaded = {name: study.networks(column).get(column) for name, (study, column) in found.items()}
    return {name: network for name, network in loaded.items() if network is not None}


def table(found: Members, statistic: str) -> pd.DataFrame:
    """A row per network: `epochs`, `test_error` in percent, and a statistic of its attention at every level.

    From the table of `attention_table`, see there; NaN for what was not measured.
    """
    stores = {study.store.folder: study.store for study, _ in found.values()}
    parts = [attention_table.load(store) for store in stores.values()]
    values = {
        (row.run_id, row.level): row.value
        for part in parts
        for row in part[part["statistic"] == statistic].itertuples()
    }
    rows = {}
    for name, (study, column) in found.items():
        record = study.first(column)
        levels = {level: values.get((record.run.run_id, level), float("nan")) for level in network_maps.LEVELS}
        rows[name] = {"epochs": record.run.epochs, "test_error": record.final["test_error"]} | levels
    index = pd.Index(list(rows), dtype="str", name="network")
    return pd.DataFrame(list(rows.values()), index, ["epochs", "test_error", *network_maps.LEVELS])


def describe(found: Members) -> str:
    """A line per network: its name and its run id."""
    return "\n".join(f"{name:36} {study.first(column).run.run_id}" for name, (study, column) in found.items())


def _firsts(study: Study) -> list[tuple[str, Record]]:
    """The first seed's record of every column that has one and did not diverge."""
    records = [(column, study.first(column)) for column in study.records]
    return [(column, record) for column, record in records if not record.diverged]
