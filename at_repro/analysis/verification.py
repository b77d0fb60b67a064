"""Recomputes the recorded test errors, and the statistics of attention, from the stored weights."""

from collections.abc import Callable, Sequence
from functools import cache

from at_repro import data
from at_repro.analysis import attention_table
from at_repro.data import Images
from at_repro.errors import DataError, ParameterError, UserError
from at_repro.records import DamagedRecord, Record, Store, load_record
from at_repro.records.readable import outcome
from at_repro.training import engine, load_network
from at_repro.training.evaluation import evaluate

# Another processor or library may round otherwise: that turns the class of a borderline image in ten thousand now and
# then. More than this share of changed predictions is not rounding.
TOLERANCE = 0.001
BORDERLINE = 2  # changed predictions among the first few hundred, for the same reason; other weights change dozens

TestImages = Images | DataError  # or why they are not here


def verify(
    store: Store,
    run_ids: Sequence[str] = (),
    device: str = "auto",
    data_root: str | None = None,
    count: int | None = None,
) -> int:
    """Prints one line per record and returns 0 if all agree, else 1.

    A damaged record fails. A record agrees if its data set is the one at hand, its error that of its predictions,
    the predictions of its weights are the recorded ones but for a share of `TOLERANCE`, and its rows in the table of
    `attention_table` are what its weights give. With `count`, so many predictions are recomputed, the first ones,
    and nothing else: other weights are found all the same, in a tenth of the time.

    Raises:
        ParameterError: for a run id that is not in the store, or a store without records.
        DataError: where the table of statistics cannot be read, or no record could be compared for lack of its data
            set; a record that lacks it among others that do not is said to be skipped.
    """
    target = engine.device(device)
    data.data_root(data_root)
    folders = store.folders()
    if not folders:
        raise ParameterError("results", str(store.folder), "a folder that holds records")
    for run_id in run_ids:
        if run_id not in folders:
            raise ParameterError("run", run_id, folders)
    attention_table.load(store)  # a table that cannot be read is no reason to skip a record
    chosen = list(dict.fromkeys(run_ids)) or list(folders)
    failures, skipped = 0, []

    @cache  # the error as well: a download that failed is not tried again for every record
    def images(dataset: str) -> TestImages:
        try:
            return data.load(dataset, "test", data_root).to(target)
        except DataError as error:
            return error

    for run_id in chosen:
        try:
            problem, note = _compare(load_record(folders[run_id]), store, images, count)
        except DamagedRecord as error:
            problem, note = str(error), ""
        except DataError as error:
            skipped.append(error)
            print(f"skipped {run_id}  {error}", flush=True)
            continue
        failures += bool(problem)
        print(f"{'FAILED' if problem else 'ok':6}  {run_id}  {problem or note}", flush=True)
    if len(skipped) == len(chosen):
        raise skipped[0]
    print(f"{len(chosen) - failures - len(skipped)} of {len(chosen)} records verified in {store.folder}")
    return 1 if failures else 0


def _compare(
    record: Record, store: Store, test_images: Callable[[str], TestImages], count: int | None
) -> tuple[str, str]:
    """What is wrong ("" if nothing), and what was compared."""
    if wrong := record.contradiction():
        return wrong, ""
    recorded, error = record.predictions(), record.final["test_error"]
    images = test_images(record.run.dataset)
    if isinstance(images, DataError):
        if record.has_network:
            raise images
        return "", f"{outcome(record)}, as its curve and predictions say (neither weights nor test images are here)"
    if not record.measured_on(images):
        return f"was measured on other data: {record.values['data']['test'][:12]}, here {images.fingerprint[:12]}", ""
    if recorded["label"].tolist() != images.labels.tolist():
        return "its labels are not those of the test images", ""
    if not record.has_network:
        return "", f"{outcome(record)}, as its curve and predictions on these test images say (no weights are here)"
    try:
        network = load_network(store, record.run, images, images.device)
    except UserError:
        return f"its weights are not those of a {record.run.network}", ""
    seen = images if count is None else images.select(slice(count))
    result = evaluate(engine.forward("fp32", False), network, seen)
    changed = int((result.predictions.numpy() != recorded["prediction"].to_numpy()[: len(seen)]).sum())
    if count is not None:
        text = f"recorded {error:.2f} %, {changed} of the first {len(seen)} predictions differ"
        return (text, "") if changed > BORDERLINE else ("", text)
    top5 = record.final.get("top5_error")
    if top5 is not None and abs(result.top5_error - top5) > 100 * TOLERANCE:
        return f"recorded a top-5 error of {top5:.2f} %, recomputed {result.top5_error:.2f} %", ""
    text = f"recorded {error:.2f} %, recomputed {result.error:.2f} %, {changed} of {len(images)} predictions differ"
    if changed > TOLERANCE * len(images):
        return text, ""
    wrong = attention_table.differing(store, record.run, images)
    return (f"{attention_table.FILE} has {wrong}", "") if wrong else ("", text)
