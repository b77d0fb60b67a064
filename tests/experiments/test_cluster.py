"""Runs over a cluster of two workers: the same results as one after another, also when a worker is killed."""

import io
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from prose import prose
from torchvision.io import write_png

from at_repro import cli
from at_repro.analysis import attention_measurement
from at_repro.errors import ParameterError, UserError
from at_repro.experiments import cluster
from at_repro.records import Store
from at_repro.runs import ActivationTransfer, Distillation, Run
from at_repro.training import Progress, engine, train

pytestmark = pytest.mark.slow

SPEC = {"dataset": "own@16", "batch_size": 16, "precision": "fp32"}
TEACHER = Run("wrn-10-1", epochs=1, **SPEC)
OTHER = Run("wrn-10-2", epochs=1, **SPEC)
RUNS = [
    Run("wrn-10-1", epochs=2, terms=(ActivationTransfer(),), teacher=TEACHER, **SPEC),
    Run("wrn-10-1", epochs=2, terms=(Distillation(),), teacher=TEACHER, **SPEC),
    Run("wrn-10-1", epochs=1, terms=(ActivationTransfer(),), teacher=OTHER, **SPEC),
]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """A folder that every worker sees, with 160 images for training and 8 for testing."""
    folder = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 80), ("test", 4)):
        for name in ("one", "two"):
            (folder / "own" / split / name).mkdir(parents=True)
            for number in range(count):
                image = torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=generator)
                write_png(image, str(folder / "own" / split / name / f"{number}.png"))
    return str(folder)


@pytest.fixture
def two_cores(monkeypatch):
    """One thread for each of two workers, as in this process: sums of several threads may differ in their last bits."""
    monkeypatch.setattr(cluster, "cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_killed_worker_costs_nothing_but_time(data_root, two_cores, tmp_path, quiet):
    plain, store = (Store(tmp_path / name, writable=True) for name in ("plain", "shared"))
    train(RUNS, plain, device="cpu", data_root=data_root, progress=quiet)
    told, killed = io.StringIO(), tmp_path / "killed"

    def die_once(run_id: str, mark: str) -> None:
        """Lets the worker that trains this run kill itself as soon as an epoch of it is saved."""
        from at_repro.training.checkpointer import Checkpointer

        save = Checkpointer.save

        def save_and_die(self, students) -> None:
            save(self, students)
            if run_id in [student.run.run_id for student in students] and not os.path.exists(mark):
                open(mark, "x").close()
                os.kill(os.getpid(), signal.SIGKILL)

        Checkpointer.save = save_and_die

    with cluster.connect("local:2") as client:
        client.run(die_once, RUNS[0].run_id, str(killed))
        cluster.train_on(client, RUNS, store, device="cpu", data_root=data_root, progress=Progress(told))
        again = Progress(io.StringIO())  # what has a record is not trained again
        cluster.train_on(client, RUNS, store, device="cpu", data_root=data_root, progress=again)
    assert again.stream.getvalue() == ""
    assert killed.exists(), "nothing was killed: this test proves nothing"
    assert not store.in_progress.exists() or not list(store.in_progress.glob("*.safetensors"))
    lines = told.getvalue().splitlines()
    assert lines[0].startswith("5 run(s) in 4 cohort(s); watch them at http://")
    assert sorted(line.split()[1].rstrip(":") for line in lines[1:]) == sorted(
        run.run_id for run in (TEACHER, OTHER, *RUNS)
    )
    assert lines[-1].endswith("(5 of 5)")
    sessions = [len(store.load(run).values["sessions"]) for run in RUNS[:2]]
    assert max(sessions) == 2, "what the killed worker had begun was not continued but begun anew"
    for run in (TEACHER, OTHER, *RUNS):
        own, other = store.load(run).weights(), plain.load(run).weights()
        assert all(torch.equal(own[name], value) for name, value in other.items()), run.run_id


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "own holds no train images"),
        ({"device": "tpu"}, "device: 'tpu' is not allowed; allowed: auto, cpu, cuda"),
        ({"compile": "fast"}, "compile: 'fast'"),
    ],
)
def test_what_every_worker_would_refuse_is_refused_before_any_begins(given, message, tmp_path):
    with pytest.raises(UserError, match=message):  # without a client: nothing is asked of a worker
        cluster.train_on(None, [TEACHER], Store(tmp_path / "records", writable=True), data_root=str(tmp_path), **given)


def test_so_is_a_subset_of_more_images_than_there_are(data_root, tmp_path):
    runs = [replace(TEACHER, subset=161)]
    with pytest.raises(ParameterError, match="subset: 161 is not allowed; allowed: an integer from 1 to 160"):
        cluster.train_on(None, runs, Store(tmp_path / "records", writable=True), data_root=data_root)


def test_attention_is_measured_here_whatever_device_the_workers_have(tmp_path, monkeypatch, own_signals):
    """A machine from which jobs are sent off may have no GPU: asked for one, it failed when all was trained."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cluster, "connect", lambda address: nullcontext())
    monkeypatch.setattr(cluster, "train_on", lambda *_, **__: None)
    monkeypatch.setattr(engine, "can_compile", lambda device: False)
    asked = []
    monkeypatch.setattr(attention_measurement, "update_experiment", lambda *given: asked.append(given[4]) or 0)
    command = ["run", "wrn-16-2-to-16-1", "--cluster", "tcp://host:1", "--device", "cuda", "--compile", "on"]
    assert cli.main([*command, "--results", str(tmp_path)]) == 0
    assert asked == ["auto"]


def test_an_address_a_relative_data_root_and_a_gpu(data_root, tmp_path, monkeypatch):
    """Workers that somebody else starts, elsewhere, when a queue lets them: each task takes one of their GPUs."""
    import distributed

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # where the workers begin
    options = {"n_workers": 0, "threads_per_worker": 4, "dashboard_address": ":0", "resources": {"GPU": 1}}
    with distributed.LocalCluster(**options) as started:
        monkeypatch.chdir(Path(data_root).parent)
        monkeypatch.setenv("AT_REPRO_DATA", Path(data_root).name)
        store = Store(tmp_path / "records", writable=True)
        with cluster.connect(started.scheduler_address) as client:
            asked = []
            submit = client.submit
            monkeypatch.setattr(client, "submit", lambda *a, **given: asked.append(given) or submit(*a, **given))
            wait = client.wait_for_workers
            monkeypatch.setattr(client, "wait_for_workers", lambda count: started.scale(1) or wait(count))
            cluster.train_on(client, [TEACHER, OTHER], store, device="cpu", progress=Progress(told := io.StringIO()))
    assert told.getvalue().startswith("waiting for the first worker; watch for it at http://")
    assert [given["resources"] for given in asked] == [{"GPU": 1}], "four threads would train four cohorts on one GPU"
    assert store.has(TEACHER) and store.has(OTHER)


def test_an_error_on_a_worker_and_workers_that_die_again_and_again_are_one_line(data_root, store, quiet, monkeypatch):
    with cluster.connect("local:1") as client:
        client.run_on_scheduler(allow_no_failure)
        another = client.submit(lambda: ([], ""), key=TEACHER.run_id)  # by another command: not what we wait for
        for run, happens, line in (
            (TEACHER, lambda *_: ([], "the disk is full"), "the disk is full"),
            (TEACHER, lambda *_: ([], ""), f"not in .* though the workers are done: {TEACHER.run_id}; do they see .*"),
            (OTHER, lambda *_: os._exit(9), rf"{OTHER.run_id}: 1 workers died .* the same command continues"),
        ):
            monkeypatch.setattr(cluster, "_train", happens)
            with pytest.raises(UserError, match=f"^{line}$"):
                cluster.train_on(client, [run], store, device="cpu", data_root=data_root, progress=quiet)
        assert another.result() == ([], "")
        submit = client.submit
        monkeypatch.setattr(client, "submit", lambda *given, **named: lost(client, submit(*given, **named)))
        with pytest.raises(UserError, match=r"^the cluster gave up \(.*the same command continues$"):
            cluster.train_on(client, [OTHER], store, device="cpu", data_root=data_root, progress=quiet)


def test_a_worker_of_several_threads_trains_one_cohort_at_a_time(tmp_path, monkeypatch):
    """As `dask worker` has them: weights are drawn from a generator of the process, of which each cohort needs all."""
    at_once, most = [], []

    def slow(runs, *_, **__):
        at_once.append(runs)
        most.append(len(at_once))
        time.sleep(0.05)
        at_once.pop()

    monkeypatch.setattr(cluster, "train", slow)
    monkeypatch.setattr(Store, "load", lambda self, run: Mock(outcome="fine"))
    with ThreadPoolExecutor(3) as pool:
        given = [[TEACHER.to_dict()], str(tmp_path / "records"), "cpu", str(tmp_path), "off", None]
        results = [task.result() for task in [pool.submit(cluster._train, *given) for _ in range(3)]]
    assert most == [1, 1, 1] and results == [([f"{TEACHER.run_id}: fine"], "")] * 3


@pytest.mark.parametrize(("local", "taken"), [(True, [1]), (False, [])])
def test_workers_of_this_machine_share_its_gpus_and_those_of_others_keep_theirs(tmp_path, monkeypatch, local, taken):
    """A worker that somebody starts with `--name 3` is not our third, and its GPU was chosen for it."""
    import distributed

    gpus = []
    with monkeypatch.context() as patch:
        patch.setattr(distributed, "get_worker", lambda: SimpleNamespace(name=3))
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        patch.setattr(torch.cuda, "set_device", gpus.append)
        patch.setattr(cluster, "train", lambda *_, **__: None)
        patch.setattr(Store, "load", lambda self, run: Mock(outcome="fine"))
        patch.delenv("OMP_NUM_THREADS", raising=False)
        if local:
            patch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
            patch.setenv(cluster._LOCAL, "1")
        cluster._train([TEACHER.to_dict()], str(tmp_path / "records"), "cpu", str(tmp_path), "off", None)
    assert gpus == taken


def test_records_that_a_worker_cannot_write_are_one_line():
    """The commonest mistake: the folder is not there."""
    lines, error = cluster._train([TEACHER.to_dict()], "/proc/records", "cpu", "/tmp", "off", None)
    assert lines == [] and error.startswith("results: '/proc/records' is not allowed")


def lost(client, task):
    """As when the scheduler ends."""
    client.cancel(task)
    return task


def allow_no_failure(dask_scheduler) -> None:
    """A scheduler gives a task up after three workers by default."""
    dask_scheduler.allowed_failures = 0


def test_a_cache_folder_that_cannot_be_made_is_one_line(store, quiet, monkeypatch):
    """As in a container whose user has no home."""
    monkeypatch.delenv("AT_REPRO_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    with pytest.raises(UserError, match=r"^/proc/nothing/at_repro/data cannot be written"):
        cluster.train_on(Mock(), [Run("wrn-10-1", epochs=1, dataset="shapes")], store, device="cpu", progress=quiet)


@pytest.mark.parametrize("address", ["local", "local:0", "local:two", "host", "", "tcp://"])
def test_what_is_no_cluster_is_refused(address):
    with pytest.raises(ParameterError) as raised, cluster.connect(address):
        pass
    assert str(raised.value).startswith(f"cluster: {address!r} is not allowed; allowed: local:N, or the address")


def test_nobody_at_an_address_is_one_line(monkeypatch):
    import distributed

    def refuse(*_, **__):
        raise OSError("Timed out trying to connect to tcp://127.0.0.1:1 after 20 s")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(ParameterError, match=r"Timed out trying to connect"), cluster.connect("tcp://127.0.0.1:1"):
        pass


def test_tls_without_certificates_is_one_line():
    with pytest.raises(ParameterError, match="TLS expects a"), cluster.connect("tls://127.0.0.1:1"):
        pass


def test_without_the_extra_there_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"in the clone: pip install -e '.\[cluster\]'"), cluster.connect("local:2"):
        pass


def test_the_slurm_jobs_of_the_book_are_what_it_says(monkeypatch):
    """One cohort and one GPU for each job; no Slurm is needed to see what would be handed to it."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    page = prose("notebooks/trust_and_rerun.ipynb")
    (block,) = (part for part in page.split("```") if "SLURMCluster(" in part)
    scaled = []
    monkeypatch.setattr(
        jobqueue.SLURMCluster, "scale", lambda self, *close, **given: scaled.append(given) if given else None
    )
    names = {}
    exec(block.removeprefix("text\n"), names)
    with names["workers"] as workers:
        script = workers.job_script()
    assert scaled == [{"jobs": 8}]
    assert "#SBATCH --gres=gpu:1\n" in script and "#SBATCH --cpus-per-task=8\n" in script
    assert "export OMP_NUM_THREADS=8\n" in script, "Dask would leave torch one thread of eight"
    assert "--nthreads 1 " in script and "--resources GPU=1" in script, "several cohorts would share a GPU"
    assert "--nworkers" not in script or "--nworkers 1 " in script
