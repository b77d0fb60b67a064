"""The book, made by one command: what has changed is executed, Jupyter Book renders.

Nothing here is needed for training. papermill and Jupyter Book come with the extra `book`.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from filelock import FileLock, Timeout

from at_repro import data, experiments, files, networks
from at_repro.analysis import attention_measurement
from at_repro.analysis.study import may_train
from at_repro.bench import costs
from at_repro.data.streamed import cores
from at_repro.errors import DataError, UserError
from at_repro.records import Store, open_store
from at_repro.report import in_browser, notebooks, stale_pages, terminal_output
from at_repro.runs import Run
from at_repro.training import engine, train

# Not `python -m`: Jupyter Book 1 has no __main__. Not its script: that may be another environment's on the path.
JUPYTER_BOOK = (sys.executable, "-c", "from jupyter_book.cli.main import main; main()")

SITE = Path("_build") / "html"
PRESET = "reduced"  # the preset of the committed notebooks
RECOMPUTED = 250  # predictions of each record that the build recomputes; `at-repro verify` recomputes all
REHEARSAL = """```{warning}
This is a rehearsal: figures and tables of *preset smoke*, as the line below them says, come from a few minutes of
training on generated images and say nothing about the paper. Those of *preset paper*, and the text, are the report's.
```"""


def refresh() -> list[Path]:
    """Executes the committed notebooks again with their own defaults, in place: after new records or new code.

    Before that what the table of `attention_table` lacks is measured, of networks with ImageNet weights as well.
    Trains nothing for the records: what has none is shown as not run. A notebook stays as it is where the images that
    it shows, see `notebooks.shown_images`, are not here. Raises as `notebooks.execute` does; a notebook that fails
    stays as is.

    Returns those that changed.
    """
    notebooks.require_tools()
    store = open_store(PRESET)
    for experiment, preset in product(experiments.EXPERIMENTS, (PRESET, "paper")):
        attention_measurement.update_experiment(experiment, preset, store, store.seeds())
    attention_measurement.update_imagenet(store)
    names = _pages_with_images()
    for name in [name for name in notebooks.names() if name not in names]:
        say(f"notebook {name} stays as it is: the images that it shows are not here")
    renewed = []
    with tempfile.TemporaryDirectory() as folder:
        outputs = {name: Path(folder) / f"{name}.ipynb" for name in names}
        for name in _execute_all(outputs, {}):
            if _without_end(outputs[name]) != _without_end(source := notebooks.source(name)):
                files.write(source, outputs[name].read_bytes())
                renewed.append(source)
    return renewed


def _execute_all(jobs: Mapping[str, Path], choices: Mapping[str, object]) -> Iterator[str]:
    """Executes notebooks, as many at a time as there are cores, and tidies them; yields each name, in order, when done.

    One that was executed with its own defaults says so by its fingerprint. One that fails raises as
    `notebooks.execute` does when its turn comes; the others are then not waited for, nor where this process is
    interrupted.
    """
    workers = max(1, min(cores(), len(jobs), 8))
    store = open_store(PRESET)

    def run(name: str) -> None:
        say(f"executing notebook {name}")
        # Before: a record that arrives meanwhile may not be in the page.
        fingerprint = None if choices else stale_pages.fingerprint(notebooks.read(name), store, None)
        notebooks.execute(name, choices, jobs[name])
        notebooks.tidy(jobs[name], fingerprint)

    # Environment variables are of the whole process: set once for all, inherited by every kernel.
    own = {"AT_REPRO_TRAIN": "never", "OMP_NUM_THREADS": str(cores() // workers)}
    with notebooks.environment(**own, **notebooks.own_kernel()):
        pool = ThreadPoolExecutor(workers)
        pages = {name: pool.submit(run, name) for name in jobs}
        try:
            for name, page in pages.items():
                page.result()
                yield name
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(page.done() for page in pages.values()):  # one may be about to start its kernel
                notebooks.stop_kernels()
                time.sleep(0.1)
            raise
        pool.shutdown()


def build(
    preset: str | None = None, device: str = "auto", data_root: str | None = None, results: str | None = None
) -> Path:
    """Builds the book under `build/book` or, of a preset, `build/book-PRESET`, never inside the sources.

    The report is made of the committed records, and trains nothing for them: what is not run is shown so. A page is
    used as it was executed where nothing has changed that it depends on, see `stale_pages`. The one page that trains,
    as its metadata say (`at_repro`: {`live`: true}), is executed always.

    The book of a preset first trains what has no record of the experiments that notebooks name in their metadata, see
    `notebooks.experiments_of`, and then executes every page. At preset smoke each of them says that it is a rehearsal.

    Where records are new they are compared with their stored weights, on some test images, if their data set is here.

    Args:
        preset: None: the report from the committed records.
        device: see `training.engine`.
        data_root, results: None: the defaults of `data.data_root` and `records.default_folder`.

    Returns:
        The first page, an HTML file.

    Raises:
        ParameterError: for a value that is not allowed, before anything is executed.
        UserError: with the message of a user error inside a notebook, where a record is not what its weights give,
            or where the book has faults, such as a reference that leads nowhere.
    """
    notebooks.require_tools()
    experiments.get_preset(preset or PRESET)
    engine.device(device)
    root = data.data_root(data_root)
    store = open_store(preset or PRESET, results, writable=preset is not None)
    site = f"book-{preset}" if preset else "book"
    with staged_pages(site) as stage:
        (stage / "notebooks").mkdir()
        jobs = {name: stage / "notebooks" / f"{name}.ipynb" for name in notebooks.names()}
        values: dict[str, object] = {} if device == "auto" else {"device": device}
        # Whole paths: a kernel may work in another folder than the user.
        values |= {"data_root": str(root.resolve())} if data_root else {}
        values |= {"results": str(store.folder)} if results else {}
        if preset is None:
            reasons = {name: stale_pages.reasons(notebooks.read(name), store, data_root) for name in jobs}
            for name in [name for name, changes in reasons.items() if not changes]:
                shutil.copyfile(notebooks.source(name), jobs.pop(name))
            say(f"{len(reasons) - len(jobs)} of {len(reasons)} pages are used as they were executed")
            for name in jobs:
                say(f"page {name} is executed: {' and '.join(reasons[name])}")
            of_records = {stale_pages.REASONS["records"], stale_pages.NOT_EXECUTED}
            is_new = any(of_records.intersection(reasons[name]) for name in jobs)
        else:
            is_new = True
            values |= {"preset": preset, "seeds": []}  # of the preset: some pages show one seed
            if may_train():
                _train(jobs, preset, store, device, data_root)
        for number, _ in enumerate(_execute_all(jobs, values), 1):
            say(f"{number} of {len(jobs)} notebooks executed")
        if is_new:
            _verify(store, device, data_root)
        if preset == "smoke":
            _call_rehearsal(stage)
        render(stage)
        return put_in_place(stage, site) / SITE / "index.html"


def _call_rehearsal(stage: Path) -> None:
    """Says below every title of a staged book which numbers are no result, and leaves out the verdicts."""
    import nbformat

    for path in stage.glob("*.md"):
        page = re.sub(r"<!-- counts -->.*?<!-- end -->\n", "", path.read_text(), flags=re.DOTALL)
        path.write_text(with_rehearsal(page))
    for path in (stage / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source = with_rehearsal(notebook.cells[0].source)
        nbformat.write(notebook, path)


def with_rehearsal(page: str) -> str:
    """A page that says below its title which numbers are no result."""
    return re.sub(r"(?m)^# .*$", lambda title: f"{title[0]}\n\n{REHEARSAL}", page, count=1)


def _train(pages: Iterable[str], preset: str, store: Store, device: str, data_root: str | None) -> None:
    """Trains, and measures, what has no record of the experiments of these notebooks, and whose images are here."""
    names = list(
        dict.fromkeys(experiment for name in pages for experiment in notebooks.experiments_of(notebooks.read(name)))
    )
    runs = costs.runs_of(names, preset)
    for dataset in dict.fromkeys(run.dataset for run in runs):
        missing = [run for run in runs if run.dataset == dataset and not store.has(run)]
        if missing and (problem := _obstacle(missing, data_root)):
            say(f"what learns from {dataset} is not trained: {problem}")
            runs = [run for run in runs if run not in missing and run.teacher not in missing]
    train(runs, store, device=device, data_root=data_root)
    for dataset in {run.dataset for run in runs} & set(data.DATA_SETS):
        try:
            data.load(dataset, "test", data_root)  # downloads what will be shown, also where nothing had to be trained
        except DataError as error:
            say(f"pages are made without images of {dataset}: {error}")
    for name in names:
        attention_measurement.update_experiment(name, preset, store, None, device, data_root)


def _obstacle(runs: list[Run], data_root: str | None) -> str:
    """What runs on one data set need and is not here, be it images or ImageNet's weights; empty where all is."""
    dataset = runs[0].dataset
    if dataset not in data.DATA_SETS and (problem := data.describe(dataset, data_root).problem):
        return problem
    try:
        for network in {run.network for run in runs if run.start == "imagenet"}:
            networks.pretrained(network)
    except DataError as error:
        return str(error)
    return ""


def _verify(store: Store, device: str, data_root: str | None) -> None:
    """Raises UserError where a record does not agree with its weights; says so where that cannot be found out."""
    if not store.folders():
        return say(f"no records to verify in {store.folder}")
    try:
        failures = terminal_output.verify(store, device=device, data_root=data_root, count=RECOMPUTED)
    except DataError as error:
        return say(f"records are not verified: {error}")
    if failures:
        raise UserError("records do not agree with their weights, see above; no book is made of them")


def _pages_with_images() -> list[str]:
    """Names of the committed notebooks whose images are here, or that show none. Reads every test set once: slow."""
    root = str(data.data_root())
    shown = {name: notebooks.shown_images(notebooks.read(name)) for name in notebooks.names()}
    return [name for name, datasets in shown.items() if all(stale_pages.image_digest(of, root) for of in datasets)]


def _without_end(path: Path) -> str:
    """A notebook's text without the line that says when and by which code it was executed."""
    return re.sub(r"executed on .*", "", path.read_text())


@contextmanager
def staged_pages(name: str) -> Iterator[Path]:
    """A fresh copy of the book's pages, beside build/NAME, which stays as it is until `put_in_place`.

    From nothing, so that no page of an earlier build survives, and in a folder of its own: the child of a killed build
    may write on in that one. What such a build left is removed here, and what one that failed left to be read, its log;
    another process that builds the same is waited for.

    Raises UserError where the package was installed without a checkout, or where the disk refuses.
    """
    pages = notebooks.part_of_checkout("book")
    build = notebooks.CHECKOUT / "build"
    with files.write_errors(build):
        build.mkdir(exist_ok=True)
        lock = FileLock(build / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another build of {name}")
            lock.acquire()
    try:
        with files.write_errors(build):
            for folder in build.glob(f".{name}.*"):
                shutil.rmtree(folder, ignore_errors=True)
            stage = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=build))
            copy_pages(pages, stage)
        yield stage
    finally:
        lock.release()


def copy_pages(pages: Path, stage: Path) -> None:
    """Copies the book's pages to where notebooks lie among them; in the repository they lie beside."""
    # Records are read from the store: a copy would only be large.
    shutil.copytree(pages, stage, ignore=shutil.ignore_patterns("results", "_build"), dirs_exist_ok=True)
    for page in stage.rglob("*.md"):
        page.write_text(page.read_text().replace("../notebooks/", "notebooks/"))


def put_in_place(stage: Path, name: str) -> Path:
    """Lets a staged book that is whole take the place of build/NAME, and returns that folder."""
    site, old = stage.with_name(name), stage.with_name(f"{stage.name}.old")
    with files.hold_signals():
        if site.exists():
            site.rename(old)
        stage.rename(site)
    shutil.rmtree(old, ignore_errors=True)
    return site


def render(stage: Path) -> Path:
    """Renders a staged book as a site and returns its first page. Raises as `jupyter_book` does."""
    for network in in_browser.write(stage / "_assets", open_store("paper"), in_browser.flagship()):
        say(f"the reader's own picture is not looked at by {network}")
    return jupyter_book(stage, SITE.name)


def jupyter_book(stage: Path, builder: str) -> Path:
    """Runs a builder of Jupyter Book on a staged book and returns `index.html`; a warning is a fault: UserError."""
    log = stage / "build.log"
    say(f"rendering the book (log: {log})")
    command = [*JUPYTER_BOOK, "build", str(stage), "--builder", builder, "-W", "--keep-going"]
    with log.open("w") as stream:
        # It is killed where a signal's handler raises here: nothing writes on when this process has ended.
        process = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    page = stage / SITE.with_name(builder) / "index.html"
    if process.returncode or not page.exists():
        text = re.sub(r"\x1b\[[\d;]*m", "", log.read_text())  # colours, which Jupyter Book cannot be told to leave out
        faults = [line for line in text.splitlines() if re.search(r"\b(WARNING|ERROR)\b", line)]
        for line in faults:
            say(line)
        raise UserError(f"the book has {len(faults) or 'some'} fault{'s' * (len(faults) != 1)}; see {log}")
    return page


def say(text: str) -> None:
    """Tells the user of progress, on standard error."""
    print(f"{text}\n", end="", file=sys.stderr, flush=True)  # one write: notebooks that begin and end at once share it
