"""The benchmark measures the loop that trains, against the field's, in ratios; no test depends on a duration."""

import os
import pickle
from concurrent.futures.process import BrokenProcessPool
from threading import BrokenBarrierError

import meetings
import pytest
import torch

from at_repro import bench, cli, data
from at_repro.bench import benchmark, cases, plain_loop, timing
from at_repro.data import augment, shapes
from at_repro.errors import UserError
from at_repro.training.batch import Teacher, TeacherBatch
from at_repro.training.term_values import term_value


@pytest.fixture(scope="module")
def images():
    """One step of 16 images instead of eight steps of 128."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "STEPS", 1)
        patch.setattr(cases, "BATCH", 16)
        patch.setattr(cases, "ROUNDS", 1)
        yield data.load("shapes", "train", subset=32)


@pytest.fixture(scope="module")
def measured(images):
    """The rows of cases: what they compare is called once; each is said to take half as long as the one before it."""

    def once(functions, repeats=5):
        for function in functions.values():
            function()
        return {name: 0.5**place for place, name in enumerate(functions)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "median_seconds", once)
        used = (cases.against_plain, cases.cohort, cases.peak, cases.data_share)
        return {case.__name__: case(images, False) for case in used}


@pytest.mark.slow
def test_a_case_gives_positive_numbers_with_units(measured):
    for name, rows in measured.items():
        assert rows and all(value > 0 and unit for _, value, unit in rows), name
    values = {name: value for rows in measured.values() for name, value, _ in rows}
    assert values["wrn-16-1 from wrn-16-2, AT: ratio"] == 2, "the plain loop comes first: it took twice as long"
    assert values["cohort: share of the cost per student"] == 2 and values["data: share of a step"] == 200


def test_a_list_costs_processor_time_and_what_a_machine_could_convolve_in_it(images):
    (name, seconds, unit), (_, operations, _) = cases.command("--help", None)
    assert (name, unit) == ("at-repro --help", "s of processor time")
    assert seconds > 0 and operations > 0


def test_processes_train_side_by_side(images, monkeypatch):
    """On two cores, whatever the tests are given. The next test starts processes; here they are calls."""
    threads, met = [], []

    def in_this_process(function, count, *arguments):
        function = pickle.loads(pickle.dumps(function))
        return [function(lambda: met.append(count), *arguments) for _ in range(count)]

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(timing, "in_processes", in_this_process)
    rows = cases.processes(images, False)
    assert [name for name, _, _ in rows] == ["1 process(es) of 2 thread(s)", "2 process(es) of 1 thread(s)"]
    assert all(value > 0 for _, value, _ in rows)
    assert threads == [2, 1, 1] and met == [1, 2, 2], "one that has not met the others measures alone"


def test_processes_measure_together(tmp_path):
    """One that began before the others were ready would have the machine for itself."""
    first, second = timing.in_processes(meetings.meeting, 2)
    assert first != second
    with pytest.raises(BrokenProcessPool):
        timing.in_processes(meetings.death, 1)
    with pytest.raises((FileExistsError, BrokenBarrierError)):  # or the other one would wait for ever
        timing.in_processes(meetings.fault_of_one, 2, tmp_path / "first")


def test_the_plain_loop_learns_the_same_thing(images):
    """Else a comparison of speeds would compare two methods: a step of each moves the student alike."""
    batch = augment.normalize(images.images[:16], *data.normalization("shapes")).contiguous()
    student, teacher = (cases._random("wrn-10-1") for _ in range(2))
    optimizer = torch.optim.SGD(student.parameters(), 0.1, 0.9, weight_decay=5e-4)
    plain_loop.train_epoch(student, teacher, [(batch, images.labels[:16])], optimizer, torch.device("cpu"))
    ours = cases.Cohort(images, "wrn-10-1", [cases.METHODS["AT"]], "wrn-10-1", False).students[0]
    ours.network.load_state_dict(cases._random("wrn-10-1").state_dict())
    ours.begin_epoch()
    seen = ours.see(batch, images.labels[:16], cases.engine.forward("fp32", False))
    term = ours.run.terms[0]
    taught = TeacherBatch(Teacher(teacher, "wrn-10-1", "fp32", False), batch, images.labels[:16])
    (seen.losses.mean() + term.weight * term_value(term, seen, taught)).backward()
    ours.optimizer.step()
    for one, other in zip(student.parameters(), ours.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_plain_loader_shows_every_image_once_normalised(images):
    shown = list(plain_loop.loader(images, 16))
    assert [len(labels) for _, labels in shown] == [16, 16]
    assert sorted(torch.cat([labels for _, labels in shown]).tolist()) == sorted(images.labels.tolist())
    pixels = torch.cat([batch for batch, _ in shown])
    for channel, (mean, std) in enumerate(zip(*data.normalization("shapes"), strict=True)):
        assert pixels[:, channel].min() >= -mean / std - 1e-4
        assert pixels[:, channel].max() <= (255 - mean) / std + 1e-4
        values = pixels[:, channel] * std + mean
        assert (values - values.round()).abs().max() < 0.01, "the values of a picture"


def test_repeats_are_interleaved():
    """One function after the other would give all drift of the machine to one of them."""
    called = []
    found = timing.median_seconds({name: lambda name=name: called.append(name) for name in "ab"}, repeats=3)
    assert called == list("ab" * 4) and set(found) == {"a", "b"}


def test_a_program_is_timed_with_its_children(monkeypatch):
    """Rendering a book is the work of a child, whose time the system adds up; our own does not count."""
    times = iter([os.times_result((1, 1, 10, 20, 0)), os.times_result((5, 5, 13, 20.5, 0))])
    monkeypatch.setattr(timing.os, "times", lambda: next(times))
    assert timing.program("-c", "")[1] == 3.5


def test_targets_are_judged_and_all_belong_to_a_measurement():
    measured = {"data: share of a step": 3.5, "wrn-16-2: share of the peak": 75.0, "another": 1.0}
    rows = [["case", name, value, "%"] for name, value in measured.items()]
    results = {"environment": {"device": "CPU"}, "rows": rows}
    frame = bench.frame(results)
    assert frame["met"].tolist() == ["no, 16.7% off", "yes", ""], "3.5 is a sixth above 3"
    assert frame["target"].tolist() == ["at most 3", "at least 75", ""]
    assert "data: share of a step" in bench.readable(results)["measured"].tolist()


def test_a_gpu_has_targets_of_its_own():
    rows = [["case", name, 50_000.0, "images/s"] for name in (*bench.results.TARGETS, *bench.results.GPU_TARGETS)]
    frame = bench.frame({"environment": {"device": "NVIDIA H100 80GB HBM3"}, "rows": rows})
    assert frame.loc[frame["target"] != "", "measured"].tolist() == list(bench.results.GPU_TARGETS)
    assert frame["met"].iloc[-1] == "no, 16.7% off"


def test_machines_stand_beside_each_other():
    environment = {"packages": {"torch": "2.9"}, "compiled": True}
    results = [
        {"environment": environment | {"device": device, "commit": 40 * commit}, "rows": rows}
        for device, commit, rows in (
            ("CPU, a", "1", [["data", "data: share of a step", 1.0, "%"], ["x", "new", 2.0, "s"]]),
            ("CPU, b", "2", [["data", "data: share of a step", 4.5, "%"]]),
        )
    ]
    found = bench.compare(results)
    assert found.columns.tolist() == ["CPU, a, torch 2.9, compiled", "CPU, b, torch 2.9, compiled"]
    assert found.loc["code"].tolist() == ["1111111", "2222222"]
    assert found.loc["data: share of a step"].tolist() == ["1 % (at most 3: yes)", "4.5 % (at most 3: no, 50.0% off)"]
    assert found.loc["new"].tolist() == ["2 s", ""]
    again = results[0] | {"environment": results[0]["environment"] | {"commit": 40 * "3"}}
    assert bench.compare([*results, again]).loc["code"].tolist() == ["1111111", "2222222", "3333333"], "of one machine"
    assert bench.compare([bench.load(bench.COMMITTED), bench.load(bench.OTHER)]).shape[1] == 2, "as the book shows them"


@pytest.mark.slow
def test_a_target_names_what_the_cases_measure(measured, monkeypatch):
    """A renamed row would lose its target, silently."""
    names = {name for rows in measured.values() for name, _, _ in rows}
    monkeypatch.setattr(cases.timing, "program", lambda *_, **__: (1.0, 1.0))
    monkeypatch.setattr(cases.timing, "in_processes", lambda *_: [1.0])
    monkeypatch.setattr(cases.timing, "median_seconds", lambda functions, *_, **__: dict.fromkeys(functions, 1.0))
    rows = [*cases.imports(), *cases.memory(None)]
    rows += [row for name in (*bench.LISTS, *bench.LONG) for row in cases.command(name, None)]
    targets = {*bench.results.TARGETS, *bench.results.GPU_TARGETS}
    assert targets - {*names, *(name for name, _, _ in rows)} == {"the book from the records"}


def test_a_case_that_cannot_be_measured_costs_no_other_one(monkeypatch, capsys):
    """The last one needs the extra `book`: all that was measured in minutes before would be gone."""
    known = ("against_plain", "cohort", "peak", "processes", "data_share", "growth", "imports", "memory")
    for name in known:
        monkeypatch.setattr(cases, name, lambda *_, name=name: [(name, 1.0, "s")])
    monkeypatch.setattr(cases, "command", lambda *_: timing.program("-c", "raise SystemExit('no Jupyter Book here')"))
    monkeypatch.setattr(bench, "LISTS", ())
    monkeypatch.setattr(bench, "LONG", ("book",))
    monkeypatch.setattr(benchmark, "_images", lambda _: data.load("shapes", "train", subset=32))
    found = benchmark.measure("cpu", compile="off")
    assert [row[1] for row in found["rows"]] == [*known]
    assert found["left_out"] == {"at-repro book": "no Jupyter Book here"}
    assert "at-repro book: left out, no Jupyter Book here" in capsys.readouterr().err
    for name in known:
        monkeypatch.setattr(cases, name, lambda *_: 1 / 0)
    with pytest.raises(UserError, match=r"^nothing could be measured: division by zero; no Jupyter Book here"):
        benchmark.measure("cpu", compile="off")


def test_without_cifar10_there_are_as_many_images(no_download, monkeypatch, tmp_path):
    """A GPU's cases take 16,384: of fewer the rates were those of as many, and 1.6 times too high."""
    monkeypatch.setitem(shapes.SIZES, "train", 40)
    images = benchmark._images(str(tmp_path))
    assert len(images) == 50_000 and images.images.shape[1:] == (3, 32, 32)
    assert torch.equal(images.images[:40], images.images[40:80])


def test_a_process_that_was_killed_had_no_last_word():
    code = "import os, sys; print('busy', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(UserError, match=r"^a process ended with -9$"):
        timing.program("-c", code)


def test_results_are_written_as_json_or_the_disk_is_named_in_one_line(tmp_path, monkeypatch, capsys):
    found = {"rows": [], "environment": {"device": "CPU"}, "left_out": {}, "seconds": 1.0}
    monkeypatch.setattr(benchmark, "measure", lambda *given: found)
    assert cli.main(["bench", "-o", str(tmp_path / "deep" / "bench.json")]) == 0
    assert bench.load(tmp_path / "deep" / "bench.json") == found
    assert cli.main(["bench", "-o", "/dev/full"]) == 2 and "/dev/full cannot be written" in capsys.readouterr().err
