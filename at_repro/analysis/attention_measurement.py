"""Measures what `attention_table` holds: statistics of attention maps, where weights and images are at hand."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial

import numpy as np
import pandas as pd
from torch import nn

from at_repro import data, experiments
from at_repro.analysis import attention_table, map_statistics, network_maps
from at_repro.analysis.attention_table import COLUMNS, KEY, OF_FACES, OF_MAPS, OF_MASKS, OF_PAIRS, SAMPLE, STATISTICS
from at_repro.data import Images, ImageSet
from at_repro.errors import DataError
from at_repro.networks import efficientnet, fold_batch_norms, imagenet
from at_repro.records import Store, load_record
from at_repro.runs import Run
from at_repro.training import engine, load_network

Pair = tuple[Run, Run | None]  # a run, and the teacher that it is held against; None: it alone

MEASURED_MAPPINGS = ("sum-1", "sum-2", "sum-4")
_OF_PHOTOGRAPHS = ("entropy", "top share", "edges")
_ALONE = [name for name in map_statistics.FUNCTIONS if name not in OF_PAIRS]


def update(store: Store, columns: Mapping[str, Run], images: Images | None) -> int:
    """Measures the runs of an experiment that have weights and lack a statistic; returns how many they were.

    A run is held against its own teacher or, where it has none, against the column "teacher". Nothing happens without
    images, or where a record was measured on other ones. A run that was trained anew is measured anew; else what is in
    the table stays as it is.
    """
    if images is None or not (pairs := _gaps(store, columns)):
        return 0
    engine.repeat_exactly(images.device)
    return attention_table.add(store, rows_of_pairs(store, pairs, images, cache(partial(maps, store, images=images))))


def update_experiment(
    name: str,
    preset: str,
    store: Store,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    data_root: str | None = None,
) -> int:
    """`update` for every seed of an experiment, on its test images where they are here; nothing is downloaded.

    Raises ParameterError as `experiments.Experiment.runs` and `engine.device` do.
    """
    target = engine.device(device)
    # Reading images takes seconds, and mostly there is nothing new.
    new = [columns for columns in experiments.get(name).runs(preset, seeds) if _gaps(store, columns)]
    if not new:
        return 0
    try:
        images = data.load(next(iter(new[0].values())).dataset, "test", data_root, download=False).to(target)
    except DataError:
        return 0
    return sum(update(store, columns, images) for columns in new)


def update_imagenet(store: Store) -> int:
    """Measures EfficientNet-Lites with ImageNet weights that lack a statistic; returns how many they were.

    They have no record, so that their rows, see `attention_table.load`, are of run ids such as
    "imagenet-efficientnet-lite0", and `weights` is how the checksum of the weights themselves begins. Nothing happens
    to a network whose weights are not here, or without the photographs.

    Raises UserError where the disk refuses.
    """
    table = attention_table.load(store)
    there = set(zip(table["run_id"], table["weights"], table["statistic"], strict=True))
    new = {
        key: network
        for key, network in _imagenet_networks().items()
        if not {(*key, statistic) for statistic in _OF_PHOTOGRAPHS} <= there
    }
    parts = list(_rows_of_imagenet(new, "auto", None))
    return attention_table.add(store, pd.concat(parts)) if parts else 0


def compare_imagenet(store: Store, device: str = "auto", data_root: str | None = None) -> dict[str, str | None]:
    """What `_deviation` says of the rows of each network without a record; None where they cannot be measured here.

    Raises ParameterError for a device or a data root that is not allowed.
    """
    table = attention_table.load(store)
    pairs = set(zip(table["run_id"], table["weights"], strict=True))
    deviations: dict[str, str | None] = dict.fromkeys(sorted(set(table["run_id"]) - set(store.folders())))
    networks = _imagenet_networks() if deviations else {}  # most stores have no such rows, and loading takes a while
    known = {key: network for key, network in networks.items() if key in pairs}
    for now in _rows_of_imagenet(known, device, data_root):
        run_id = now["run_id"].iloc[0]
        deviations[run_id] = _deviation(table[table["run_id"] == run_id], now)
    return deviations


def _imagenet_networks() -> dict[tuple[str, str], imagenet.ResizeInput]:
    """EfficientNet-Lites whose weights are here, by run id and how the checksum of the weights begins."""
    networks: dict[tuple[str, str], imagenet.ResizeInput] = {}
    for name in efficientnet.NAMES:
        with suppress(DataError):
            network = imagenet.classifier(name)
            networks[f"imagenet-{name}", _checksum(network.network)[:12]] = network
    return networks


def _rows_of_imagenet(
    networks: Mapping[tuple[str, str], imagenet.ResizeInput], device: str, data_root: str | None
) -> Iterator[pd.DataFrame]:
    """The rows of each network, see `_imagenet_networks`; of none where the photographs are not here."""
    if not networks:  # reading photographs takes seconds
        return
    target = engine.device(device)
    engine.repeat_exactly(target)
    try:
        sample = _sample(data.load(attention_table.PHOTOGRAPHS, "test", data_root).to(target))
    except DataError:
        return
    for (run_id, weights), network in networks.items():
        folded = imagenet.ResizeInput(fold_batch_norms(network.network), network.resolution)
        maps = network_maps.maps_by_mapping(folded.to(target), sample, ["sum-2"])
        rows = map_statistics.tabulate({run_id: maps}, sample, _OF_PHOTOGRAPHS)
        yield means(rows).assign(run_id=run_id, teacher="", weights=weights)[COLUMNS]


def _checksum(network: nn.Module) -> str:
    """SHA-256 (hexadecimal) of a network's parameters and running statistics, with their names, on the CPU."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def rows_of_pairs(
    store: Store, pairs: Iterable[Pair], images: Images, maps_of: Callable[[Run], map_statistics.NetworkMaps | None]
) -> pd.DataFrame:
    """The rows of the table for these pairs; none for a pair without maps of the first `SAMPLE` images, see `maps`."""
    sample, checksums = _sample(images), store.weight_checksums()
    parts = []
    for run, teacher in dict.fromkeys(pairs):
        own, others = maps_of(run), None if teacher is None else maps_of(teacher)
        if own is None or (teacher is not None and others is None):
            continue
        statistics = _ALONE if teacher is None else OF_PAIRS
        rows = map_statistics.tabulate({"run": own, "teacher": others or {}}, sample, statistics, "teacher")
        run_id, teacher_id = _names((run, teacher))
        weights = attention_table.weights_name(*(checksums[name] for name in (run_id, teacher_id) if name))
        parts.append(means(rows[rows["network"] == "run"]).assign(run_id=run_id, teacher=teacher_id, weights=weights))
    return pd.concat(parts)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """What the table holds of a network's rows of `map_statistics.tabulate`: columns level, statistic and value.

    Means over the images that have a value: a map without any mass has none.
    """
    mapping = rows["mapping"].where(rows["mapping"] != "sum-2", "")
    names = rows["statistic"].str.cat(mapping, ", ").str.removesuffix(", ")
    rows = rows.assign(statistic=names)[names.isin(STATISTICS)]
    return rows.groupby(["level", "statistic"], sort=False)["value"].mean().dropna().reset_index()


def compare(
    store: Store, run: Run, images: Images, maps_of: Callable[[Run], map_statistics.NetworkMaps | None]
) -> tuple[str, int, int]:
    """What is wrong with the first of a run's rows that its maps do not give, empty where all agree; how many rows were
    compared; and of how many that cannot be, as the teacher's maps are not here.
    """
    table, folders = attention_table.load(store), store.folders()
    rows = table[table["run_id"] == run.run_id]
    names = [name for name in rows["teacher"].unique() if not name or name in folders]
    pairs: list[Pair] = [(run, load_record(folders[name]).run if name else None) for name in names]
    now = rows_of_pairs(store, pairs, images, maps_of)
    measured = rows[rows["teacher"].isin(now["teacher"])]
    return _deviation(measured, now), len(measured), len(rows) - len(measured)


def _deviation(rows: pd.DataFrame, now: pd.DataFrame) -> str:
    """The first number that differs, or that only one of the two has, in words.

    Another processor rounds otherwise: a thousandth of a value is allowed.
    """
    both = rows.merge(now, "outer", on=KEY, suffixes=("", "_now"))
    recorded, measured = (both[name].astype(float) for name in ("value", "value_now"))
    deviations = both[~np.isclose(measured, recorded, rtol=1e-3, atol=1e-4)]
    for row in deviations.itertuples():
        texts = ["none" if math.isnan(value) else f"{value:.6g}" for value in (row.value, row.value_now)]
        return f"{row.level} {row.statistic} {texts[0]}, recomputed {texts[1]}"
    return ""


def _names(pair: Pair) -> tuple[str, str]:
    run, teacher = pair
    return run.run_id, "" if teacher is None else teacher.run_id


def _gaps(store: Store, columns: Mapping[str, Run]) -> list[Pair]:
    """The pairs of an experiment whose networks have weights, of which the table lacks a statistic."""
    table = attention_table.load(store)
    there = set(zip(table["run_id"], table["teacher"], table["statistic"], strict=True))
    pairs: list[Pair] = []
    for run in columns.values():
        teacher = run.teacher or columns.get("teacher")
        pairs += [(run, None), *([(run, teacher)] if teacher not in (None, run) else [])]
    incomplete = [pair for pair in pairs if any((*_names(pair), name) not in there for name in _statistics(pair))]
    return [pair for pair in incomplete if all(run is None or store.has_network(run) for run in pair)]


def _statistics(pair: Pair) -> tuple[str, ...]:
    """What can be measured of a pair, known without a look at its images: of the data sets here one has masks."""
    run, teacher = pair
    if teacher is not None:
        return OF_PAIRS
    own = {"shapes": OF_MASKS, map_statistics.FACE_IMAGES: OF_FACES}
    return OF_MAPS + own.get(run.dataset, ())


def maps(store: Store, run: Run, images: Images) -> map_statistics.NetworkMaps | None:
    """Of the first `SAMPLE` images; None where the record has no weights here, or was measured on other images."""
    record = store.find(run)
    if record is None or not record.has_network or not record.measured_on(images):
        return None
    network = load_network(store, run, images, images.device)
    return network_maps.maps_by_mapping(network, _sample(images), MEASURED_MAPPINGS)


@lru_cache(maxsize=1)
def _sample(images: Images) -> ImageSet:
    """One object for all networks: what is known of it is computed once."""
    return images.select(slice(SAMPLE))
