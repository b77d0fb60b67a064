"""Compares records with what their networks give: test errors, predictions and statistics of attention."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

from torch import Tensor, nn

from at_repro import data
from at_repro.analysis import attention_measurement, attention_table, network_maps
from at_repro.analysis.map_statistics import NetworkMaps
from at_repro.data import Images
from at_repro.errors import DataError, ParameterError, UserError
from at_repro.networks import Output, fold_batch_norms, parameter_count
from at_repro.records import DamagedRecord, Record, Store, load_record
from at_repro.runs import Run
from at_repro.training import engine, load_network
from at_repro.training.evaluation import Evaluation, evaluate
from at_repro.training.weights import network_of

# Another processor or library may round otherwise: that turns the class of a borderline image in ten thousand now and
# then. More than this share of changed predictions is not rounding.
TOLERANCE = 0.001
BORDERLINE = 2  # changed predictions among the first few hundred, for the same reason; other weights change dozens

TestImages = Images | DataError  # or why they are not here
Labels = Mapping[str, Counter[bytes]]  # how many records have which, by the fingerprint of their test images


@dataclass(frozen=True)
class Verification:
    """What is wrong with a record, empty where nothing is; what was compared; and what was not, and why."""

    problem: str = ""
    comparison: str = ""
    omission: str = ""
    absence: DataError | None = None  # where its test images are not here, or damaged


def verify(
    store: Store,
    run_ids: Sequence[str] = (),
    device: str = "auto",
    data_root: str | None = None,
    count: int | None = None,
) -> Iterator[tuple[str, Verification]]:
    """Compares records, each once and without `run_ids` all of a store, with what their networks give.

    Yields run id and result of each as soon as it is there.

    A damaged record fails. A record agrees if its data set is the one at hand, its error that of its predictions,
    the predictions of its weights, in float32 and with batch norms folded, are the recorded ones but for a share of
    `TOLERANCE`, and its rows in the table of `attention_table` are what its weights give. With `count`, so many
    predictions are recomputed, the first ones, and nothing else: other weights are found all the same, in a tenth of
    the time. Where its images are not here or damaged, a record fails whose labels are not those of most records of
    the store that were measured on the same images.

    Records of one data set are compared together, teachers first: students are held to them. Images of a streamed set
    are decoded again for each of its networks.

    Raises ParameterError for a device or a folder that is not allowed, a run id that is not in the store, or a store
    without records; DataError where the table of statistics cannot be read.
    """
    target = engine.device(device)
    data.data_root(data_root)
    folders = store.folders()
    if not folders:
        raise ParameterError("results", str(store.folder), "a folder that holds records")
    for run_id in run_ids:
        if run_id not in folders:
            raise ParameterError("run", run_id, f"a record of {store.folder}, or of another --results")
    teachers = set(attention_table.load(store)["teacher"])  # one that cannot be read is no reason to skip a record
    engine.keep_freed_memory()
    engine.repeat_exactly(target)

    @cache  # the error as well: a download that failed is not tried again for every record
    def test_images(dataset: str) -> TestImages:
        try:
            # A build, which compares a part, downloads nothing.
            return data.load(dataset, "test", data_root, download=count is None).to(target)
        except DataError as error:
            return error

    labels = cache(partial(_labels_of_all, store))
    by_dataset: dict[str, list[Record]] = {}
    for run_id in dict.fromkeys(run_ids or folders):
        try:
            record = load_record(folders[run_id])
            result = _without_network(record, test_images, labels)
        except DamagedRecord as error:  # its tables are read by what compares them
            yield run_id, Verification(str(error))
            continue
        except DataError as error:  # a file of a streamed set is empty or gone
            result = _without_images(record, error, labels()[record.values["data"]["test"]])
        if result:
            yield run_id, result
        else:
            by_dataset.setdefault(record.run.dataset, []).append(record)
    for dataset, records in by_dataset.items():
        images = test_images(dataset)
        assert not isinstance(images, DataError)  # they would have a result
        maps: dict[str, NetworkMaps] = {}
        for record in sorted(records, key=lambda record: record.run.run_id not in teachers):
            try:
                result = _verify_network(store, record, images, count, maps)
            except DataError as error:
                result = Verification(omission=f"what its network gives, {dataset} is damaged", absence=error)
            yield record.run.run_id, result
            maps = {run_id: of_one for run_id, of_one in maps.items() if run_id in teachers}


def _labels_of_all(store: Store) -> Labels:
    counts: dict[str, Counter[bytes]] = defaultdict(Counter)
    for folder in store.folders().values():
        with suppress(DamagedRecord):
            record = load_record(folder)
            counts[record.values["data"]["test"]][_labels(record)] += 1
    return counts


def _labels(record: Record) -> bytes:
    return record.predictions()["label"].to_numpy().tobytes()


def _without_network(
    record: Record, test_images: Callable[[str], TestImages], labels: Callable[[], Labels]
) -> Verification | None:
    """What can be found without running the network; None where that has to be done."""
    if contradiction := record.contradiction():
        return Verification(contradiction)
    images = test_images(record.run.dataset)
    if isinstance(images, DataError):
        return _without_images(record, images, labels()[record.values["data"]["test"]])
    if not record.measured_on(images):
        here = f"was measured on other data: {record.values['data']['test'][:12]}, here {images.fingerprint[:12]}"
        return Verification(here)
    if record.predictions()["label"].tolist() != images.labels.tolist():
        return Verification("its labels are not those of the test images")
    if record.predictions()["prediction"].max() >= len(images.classes):
        return Verification(f"it predicts a class that {record.run.dataset} does not have")
    if record.diverged and record.has_weights and _is_healthy(record, images):
        return Verification(f"{record.outcome}, and its weights give finite numbers")
    if not record.has_network:
        return Verification(
            comparison=f"{record.outcome}, as its curve and predictions on these test images say (no weights are here)",
            omission=f"{_of_network(record)}: it diverged, or its weights are not here",
        )
    return None


def _is_healthy(record: Record, images: Images) -> bool:
    """Whether the weights of a run that is said to have diverged give a finite loss."""
    weights = record.weights()
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        return False
    try:
        network = network_of(record.run, weights, images, images.device)
    except UserError:  # of another network, and finite
        return True
    return math.isfinite(evaluate(engine.forward("fp32", False), [network], images)[0].loss)


def _without_images(record: Record, absence: DataError, labels: Counter[bytes]) -> Verification:
    """What the other records that were measured on the same images, see Labels, say of one."""
    same, records = labels[_labels(record)], labels.total()
    agree = f"its labels are those of {same} of the {records} records measured on the same test images"
    if 2 * same <= records:
        return Verification(agree)
    if record.has_network:
        return Verification(omission=f"everything, {record.run.dataset} is not here or damaged", absence=absence)
    here, follows = "neither weights nor test images are here", "as its curve and predictions say"
    if records == 1:
        return Verification(
            comparison=f"{record.outcome} if its labels are right, {follows} ({here}: its labels are not compared)",
            omission=f"{_of_network(record)}, and labels: {here}, nor another record of the same images",
        )
    return Verification(
        comparison=f"{record.outcome}, {follows}; {agree} ({here})", omission=f"{_of_network(record)}: {here}"
    )


def _of_network(record: Record) -> str:
    """What only its network tells."""
    return "what its network gives" + ", its top-5 error as well" * (record.final.get("top5_error") is not None)


def _verify_network(
    store: Store, record: Record, images: Images, count: int | None, maps: dict[str, NetworkMaps]
) -> Verification:
    """Verifies a record by what its network gives; adds its maps to those that are known."""
    try:
        network = load_network(store, record.run, images, images.device)
        count_now = parameter_count(network)
        if record.values["parameters"] != count_now:
            return Verification(f"recorded {record.values['parameters']} parameters, its weights have {count_now}")
        # Folded: of EfficientNet-Lite batch norms and ReLUs take twice as long as convolutions.
        network = fold_batch_norms(network)
    except UserError as error:  # other weights, none that can be read, or a network of one's own that is not here
        return Verification(str(error))
    if count is None:
        forward = _ForwardWithMaps()
        (result,) = evaluate(forward, [network], images)
        maps[record.run.run_id] = forward.maps()
    else:
        (result,) = evaluate(engine.forward("fp32", False), [network], images.select(slice(count)))
    return _compare(store, record, result, images, count, maps)


class _ForwardWithMaps:
    """Runs a network in float32, and keeps its maps of the first images."""

    def __init__(self) -> None:
        self._maps: list[NetworkMaps] = []
        self._remaining = attention_table.SAMPLE

    def __call__(self, network: nn.Module, batch: Tensor) -> Output:
        output = engine.forward("fp32", False)(network, batch)
        if self._remaining > 0:
            first = [group[: self._remaining] for group in output.groups]
            self._maps.append(network_maps.of_groups(first, attention_measurement.MEASURED_MAPPINGS))
            self._remaining -= len(batch)
        return output

    def maps(self) -> NetworkMaps:
        return network_maps.join(self._maps)


def _compare(
    store: Store, record: Record, result: Evaluation, images: Images, count: int | None, maps: dict[str, NetworkMaps]
) -> Verification:
    """A record against what its network gives on the images, or on the first `count`."""
    error = record.final["test_error"]
    predictions = record.predictions()["prediction"].to_numpy()[:count]
    disagreements = int((result.predictions.numpy() != predictions).sum())
    if count is not None:
        text = f"recorded {error:.2f} %, {disagreements} of the first {len(predictions)} predictions differ"
        if disagreements > BORDERLINE:
            return Verification(text)
        return Verification(
            comparison=text, omission=f"attention, and all but the first {len(predictions)} predictions"
        )
    top5 = record.final.get("top5_error")
    if top5 is not None and result.top5_error is not None and abs(result.top5_error - top5) > 100 * TOLERANCE:
        return Verification(f"recorded a top-5 error of {top5:.2f} %, recomputed {result.top5_error:.2f} %")
    text = (
        f"recorded {error:.2f} %, recomputed {result.error:.2f} %, {disagreements} of {len(images)} predictions differ"
    )
    if disagreements > TOLERANCE * len(images):
        return Verification(text)
    loss = record.final.get("test_loss", result.loss)
    if not math.isclose(loss, result.loss, rel_tol=10 * TOLERANCE, abs_tol=TOLERANCE):
        return Verification(f"recorded a test loss of {loss:.4g}, recomputed {result.loss:.4g}")

    def maps_of(run: Run) -> NetworkMaps | None:
        if run.run_id not in maps and (own := attention_measurement.maps(store, run, images)) is not None:
            maps[run.run_id] = own
        return maps.get(run.run_id)

    try:
        deviation, compared, other = attention_measurement.compare(store, record.run, images, maps_of)
    except DamagedRecord as error:  # of the teacher, whose own line it ends
        return Verification(comparison=text, omission=f"attention, as a teacher's record is damaged: {error}")
    if deviation:
        return Verification(f"{attention_table.FILE} has {deviation}")
    omission = "distances of its maps to those of a teacher whose weights are not here" if other else ""
    if not compared and not other:
        omission = f"attention: {attention_table.FILE} has nothing of it"
    return Verification(comparison=text, omission=omission)
