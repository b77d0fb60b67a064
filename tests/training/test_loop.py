"""The cohort loop: what a student learns depends on its spec alone."""

import errno
import fcntl
import math
import os
import random
import signal
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy, normalize
from torchvision.io import write_png

from at_repro import data, losses, networks
from at_repro.data import augment
from at_repro.errors import DataError, ParameterError, UserError
from at_repro.runs import ActivationTransfer, Distillation, FullActivation, GradientTransfer, MinL2, Run, SymmetryNorm
from at_repro.runs.cohorts import cohorts, with_teachers
from at_repro.training import engine, evaluation, load_network, loop, missing_runs, provenance, train
from at_repro.training.batch import Teacher, TeacherBatch
from at_repro.training.checkpointer import Checkpointer
from at_repro.training.locks import choose
from at_repro.training.loop import batches, train_epoch
from at_repro.training.missing_runs import check_batches
from at_repro.training.processes import Ranks
from at_repro.training.student import Student


def weights(store, run):
    return store.load(run).weights()


def curve(store, run):
    return store.load(run).epochs().drop(columns="seconds")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_students_weights_do_not_depend_on_its_company(small, taught, tmp_path, quiet):
    """Else a comparison within a cohort would compare companies, and a rerun of one run would not reproduce it."""
    students = [replace(run, epochs=2) for name, run in small.items() if name != "teacher"]
    random.Random(0).shuffle(students)
    train(students, taught, device="cpu", progress=quiet)
    assert taught.load(students[0]).values["environment"]["company"] != []
    for run in students:
        alone = type(taught)(tmp_path / run.run_id, writable=True)
        train([run], alone, device="cpu", progress=quiet)
        assert same(weights(taught, run), weights(alone, run)), run.run_id
        assert curve(taught, run).equals(curve(alone, run))


@pytest.mark.compiler
@pytest.mark.slow
def test_company_does_not_matter_on_the_fast_path_either(small):
    """As the records are trained, bf16 and compiled: alone, in twos and all twelve, in any order, to the bit; and what
    was compiled for one network serves the next of its architecture."""
    more = [replace(small["kd"], terms=(Distillation(alpha=0.1 * tenths),)) for tenths in range(1, 9)]
    runs = [*(run for name, run in small.items() if name != "teacher"), *more]
    students = [replace(run, precision="bf16") for run in runs]
    images = data.load("shapes", "train", subset=16)  # one batch, one shape to compile
    frozen = networks.build("wrn-10-1", 10, torch.Generator().manual_seed(1)).requires_grad_(False)
    teacher = Teacher(frozen, "wrn-10-1", "bf16", True)
    found, graphs = {}, set()
    for company in ([7, 3, 10, 1, 5, 0, 11, 2, 9, 4, 8, 6], [0], [2, 3], [1], [11, 0], [2], [3]):
        members = [Student(students[index], 10, torch.device("cpu"), "bf16") for index in company]
        train_epoch(members, teacher, images, engine.forward("bf16", True), lambda *_: None)
        for index, student in zip(company, members, strict=True):
            found.setdefault(index, []).append(student.network.state_dict())
        graphs.add(counters["stats"]["unique_graphs"])
    assert [len(found[index]) for index in range(4)] == [3, 2, 3, 3]
    assert all(same(states[0], state) for states in found.values() for state in states)
    assert len(graphs) == 1, "compiled once, in the first company"


def test_a_teacher_sees_a_batch_once_and_only_where_it_is_needed(small, taught, monkeypatch, quiet):
    """Else a cohort would cost what its students cost one after another."""
    seen = []
    see = lambda teacher, *batch: seen.append(len(batch[0])) or TeacherBatch(teacher, *batch)  # noqa: E731
    monkeypatch.setattr(loop, "TeacherBatch", see)
    train([small["student"]], taught, device="cpu", progress=quiet)
    assert not seen
    train([small["at"], small["kd"], small["at+kd"]], taught, device="cpu", progress=quiet)
    assert seen == [16, 8] * 3, "two batches in each of three epochs, whoever looks"


def test_the_loop_equals_a_plain_loop_written_by_hand(small, taught, quiet):
    """An independent training of AT+KD in twenty lines: eq. 2 in code form plus distillation, SGD, linear decay."""
    run = replace(small["at+kd"], subset=96, batch_size=64)
    train([run], taught, device="cpu", progress=quiet)
    images = data.load("shapes", "train", subset=96)
    teacher = load_network(taught, run.teacher, images, torch.device("cpu"))
    network = networks.build("wrn-10-1", 10, engine.generator(0, "weights")).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    network.train()
    # Milestones at 0.9, 1.8 and 2.4 of 3 epochs, rounded: one drop after the first epoch, two after the second.
    errors = []
    for epoch, rate in enumerate((0.1, 0.02, 0.1 * 0.2**3)):
        optimizer.param_groups[0]["lr"] = rate
        errors.append(0.0)
        for batch, labels in batches(images, run, epoch):
            student_out, teacher_out = network(batch), teacher(batch)
            errors[-1] += 100 * (student_out.logits.argmax(1) != labels).sum().item() / 96
            loss = losses.distillation(student_out.logits, teacher_out.logits, labels, 4.0, 0.9)
            loss = loss + 1000 * (1 - epoch / 3) * losses.activation_transfer(student_out.groups, teacher_out.groups)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert curve(taught, run)["train_error"].tolist() == pytest.approx(errors, abs=1.1)  # one image
    recorded = weights(taught, run)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            # float16 on disk rounds by 2^-11 of the value; the sums are taken in another order.
            torch.testing.assert_close(recorded[name], value, rtol=2e-3, atol=2e-4, msg=name)


def images_gradient(network, images, labels):
    """The loss of each image, and its derivative by the image, which can itself be differentiated."""
    images = images.clone().requires_grad_()
    each = cross_entropy(network(images).logits, labels, reduction="none")
    return each, torch.autograd.grad(each.sum(), images, create_graph=True)[0]


def half_the_length(difference):
    return difference.flatten(1).norm(dim=1).mean() / 2


def gradient_transfer_by_hand(network, teacher, adapters, images, labels):
    each, gradient = images_gradient(network, images, labels)
    _, other = images_gradient(teacher, images, labels)
    return each, half_the_length(gradient - other.detach())


def min_l2_by_hand(network, teacher, adapters, images, labels):
    each, gradient = images_gradient(network, images, labels)
    return each, half_the_length(gradient)


def symmetry_by_hand(network, teacher, adapters, images, labels):
    """One batch of the images and their mirror images: the task loss, too, is on both."""
    each, gradient = images_gradient(network, torch.cat([images, images.flip(3)]), torch.cat([labels, labels]))
    return each, half_the_length(gradient[: len(images)] - gradient[len(images) :].flip(3))


def full_activation_by_hand(network, teacher, adapters, images, labels):
    output, total = network(images), 0.0
    for adapter, group, other in zip(adapters, output.groups, teacher(images).groups, strict=True):
        own = adapter(group).flatten(1)
        difference = own / own.norm(dim=1, keepdim=True) - normalize(other.flatten(1), dim=1)
        total = total + difference.square().sum(1).mean() / other[0, 0].numel()
    return cross_entropy(output.logits, labels, reduction="none"), total


BY_HAND = {
    "gradient AT": (GradientTransfer(beta=1.0), gradient_transfer_by_hand, (1, 1, 1)),
    "min-l2": (MinL2(beta=1.0, decay="step"), min_l2_by_hand, (1, 0.2, 0.2**3)),
    "symmetry": (SymmetryNorm(beta=1.0), symmetry_by_hand, (1, 1, 1)),
    "f-actt": (FullActivation(), full_activation_by_hand, (1000, 1000 * 2 / 3, 1000 / 3)),
}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.slow
def test_each_other_term_is_trained_as_in_a_plain_loop_written_by_hand(name, small, store, quiet):
    """A term that is computed and yet not trained on, adapters that stand still, or a weight of another epoch's.

    The formulas are written out above, with torch's own norm; the 1x1 convolutions are trained with the student.
    """
    term, by_hand, betas = BY_HAND[name]
    few = {"subset": 12, "batch_size": 8}  # two passes backward cost their time
    taught_by = replace(small["teacher"], network="wrn-10-2", **few)
    run = replace(small["student"], terms=(term,), teacher=taught_by if term.needs_teacher else None, **few)
    train([run], store, device="cpu", progress=quiet)
    images = data.load("shapes", "train", subset=12)
    teacher = load_network(store, taught_by, images, torch.device("cpu")) if term.needs_teacher else None
    network = networks.build("wrn-10-1", 10, engine.generator(0, "weights")).to(memory_format=torch.channels_last)
    adapters = [torch.nn.Conv2d(width, 2 * width, 1, bias=False) for width in (16, 32, 64)]
    draws = engine.generator(0, "adapters")
    for adapter in adapters:
        torch.nn.init.normal_(adapter.weight, 0, (2 / adapter.in_channels) ** 0.5, draws)
    trained = [*network.parameters(), *(adapter.weight for adapter in adapters)]
    optimizer = torch.optim.SGD(trained, 0.1, momentum=0.9, weight_decay=5e-4)
    network.train()
    for epoch, (rate, beta) in enumerate(zip((0.1, 0.02, 0.1 * 0.2**3), betas, strict=True)):
        optimizer.param_groups[0]["lr"] = rate
        total = 0.0
        for batch, labels in batches(images, run, epoch):
            each, value = by_hand(network, teacher, adapters, batch, labels)
            optimizer.zero_grad()
            (each.mean() + beta * value).backward()
            optimizer.step()
            total += each.mean().item() * len(labels)
        assert store.load(run).epochs()["train_loss"][epoch] == pytest.approx(total / 12, rel=1e-3)  # without the term
    recorded = weights(store, run)
    for part, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(recorded[part], value, rtol=2e-3, atol=2e-4, msg=part)


def test_several_processes_are_not_compiled_and_say_so(small, store, monkeypatch):
    monkeypatch.setattr(missing_runs, "join", lambda device: (Ranks(0, 2), device))
    with pytest.raises(ParameterError, match=r"^compile: 'on' is not allowed; allowed: auto or off with 2 processes"):
        train([small["student"]], store, device="cpu", compile="on")


def test_every_parameter_decays_those_of_norms_biases_and_adapters_too(small):
    taught_by = replace(small["teacher"], network="wrn-10-2")
    run = replace(small["student"], terms=(FullActivation(),), teacher=taught_by)
    student = Student(run, 10, torch.device("cpu"), "fp32")
    trained = [*student.network.parameters(), *student.adapters.parameters()]
    for parameter in trained:
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    student.optimizer.step()
    for parameter in trained:
        torch.testing.assert_close(parameter.data, torch.full_like(parameter, 1 - 0.1 * 5e-4), rtol=0, atol=1e-6)


def test_batches_hold_every_image_once_and_differ_between_epochs():
    run = Run("wrn-10-1", epochs=2, dataset="shapes", batch_size=64, augmentation="none")
    images = data.load("shapes", "train", subset=96)
    first, again, second = (list(batches(images, run, epoch)) for epoch in (0, 0, 1))
    assert [len(labels) for _, labels in first] == [64, 32]  # the last, smaller batch is kept
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], second[0][0])
    normalised = augment.normalize(images.images, *data.normalization("shapes"))
    shown = torch.cat([batch for batch, _ in first]).flatten(1)
    assert torch.equal(shown.sum(1).sort().values, normalised.flatten(1).sum(1).sort().values)


def test_a_stopped_run_keeps_its_precision(small, store, quiet, monkeypatch):
    """Else a run of precision "auto" that goes on elsewhere would be neither the one nor the other."""
    run = replace(small["student"], precision="auto")
    late = replace(run, network="wrn-10-2")
    monkeypatch.setattr(engine, "fastest_precision", lambda device: "bf16")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(quiet, "epoch", Mock(side_effect=KeyboardInterrupt))
        train([run], store, device="cpu", progress=quiet)
    monkeypatch.setattr(engine, "fastest_precision", lambda device: "fp32")
    train([run, late], store, device="cpu", progress=quiet)
    assert [store.load(one).values["environment"]["precision"] for one in (run, late)] == ["bf16", "fp32"]
    assert store.load(late).values["environment"]["company"] == []
    assert list(store.frame()["precision"].sort_values()) == ["bf16", "fp32"]


def test_a_member_that_diverges_costs_its_company_nothing(small, taught, quiet):
    run = replace(small["at"], terms=(ActivationTransfer(beta=1e38),))
    train([run, small["student"]], taught, device="cpu", progress=quiet)
    other = taught.load(small["student"])
    assert taught.load(run).diverged == 1 and other.diverged is None and len(other.epochs()) == 3
    assert other.values["environment"]["company"] == [run.run_id]


def test_a_network_that_is_not_finite_at_the_end_is_no_result(small, taught, quiet, monkeypatch):
    """The last step's update shows in no loss of training; its record would hold a NaN and an error of chance."""
    store_weights = loop.stored_weights
    not_finite = lambda network: {name: value * math.nan for name, value in store_weights(network).items()}  # noqa: E731
    monkeypatch.setattr(loop, "stored_weights", not_finite)
    train([small["at"]], taught, device="cpu", progress=quiet)
    values = taught.load(small["at"]).values
    assert values["diverged"] == 3 and set(values["final"].values()) == {None}


def test_a_teacher_without_usable_weights_is_refused_before_anything_is_trained(small, taught, quiet):
    other = replace(small["student"], seed=5)
    (taught.record_path(small["teacher"]) / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"plain-s0-\w+ holds no weights here; delete it and run again to have them"):
        train([other, small["at"]], taught, device="cpu", progress=quiet)
    assert not taught.has(other)


def test_a_teacher_that_diverged_teaches_nobody(small, store, hand_made, quiet):
    hand_made(small["teacher"], diverged=1)
    with pytest.raises(UserError, match=r"plain-s0-\w+ diverged in epoch 1: its weights cannot be used"):
        train([small["student"], small["at"]], store, device="cpu", progress=quiet)
    assert not store.has(small["student"]), "it was trained before that was found"


def test_imagenets_weights_are_asked_for_before_anything_is_trained(small, store, quiet, monkeypatch):
    """And not after days of the teacher's training."""

    def nowhere(name):
        raise DataError(f"{name}: no weights")

    monkeypatch.setattr(networks, "pretrained", nowhere)
    fields = {"dataset": "shapes", "subset": 32, "epochs": 1, "batch_size": 16, "precision": "fp32"}
    terms = (ActivationTransfer(groups=(0,)),)
    run = Run("resnet18", terms=terms, teacher=small["teacher"], start="imagenet", **fields)
    with pytest.raises(DataError, match=r"^resnet18: no weights"):
        train([run], store, device="cpu", progress=quiet)
    assert not store.has(small["teacher"])


def test_a_record_names_the_machine_that_trained_it(small, taught, quiet, monkeypatch, own_signals):
    """A process that finds all epochs done only writes the record."""
    run = small["student"]
    save = Checkpointer.save

    def stop(keeper, students):
        if students[0].epoch == run.epochs:
            signal.raise_signal(signal.SIGINT)
        save(keeper, students)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpointer, "save", stop)
        train([run], taught, device="cpu", progress=quiet)
    monkeypatch.setattr(provenance, "environment", lambda device: {"device": "another", "commit": "later"})
    train([run], taught, device="cpu", progress=quiet)
    values = taught.load(run).values
    assert values["environment"]["device"] != "another" and values["environment"]["commit"] != "later"
    assert [session["step"] for session in values["sessions"]] == [0, 0]


def test_cohorts_share_data_schedule_seed_and_teacher(small):
    others = [Run("wrn-10-1", epochs=3, dataset="shapes"), Run("wrn-10-1", epochs=3, dataset="shapes", seed=1)]
    students = [small["at"], small["student"], small["kd"]]
    assert cohorts([*students, *others]) == [students, others[:1], others[1:]]


def test_teachers_come_first(small, store):
    assert with_teachers([small["at"], small["kd"]]) == [small["teacher"], small["at"], small["kd"]]
    with ExitStack() as locks:
        needed = [small["student"], small["teacher"], small["at"]]
        assert choose(needed, store, torch.device("cpu"), locks)[0] == [small["teacher"]]


def test_a_lock_that_is_no_file_is_named(small, store):
    """It would seem that the disk refuses to write."""
    lock = store.lock_path(small["teacher"])
    os.mkfifo(lock)
    with ExitStack() as locks, pytest.raises(UserError, match=f"{lock} is no file"):
        choose([small["teacher"]], store, torch.device("cpu"), locks)


def test_a_file_system_without_locks_is_refused(small, store, monkeypatch):
    """As Lustre mounted without them: with files instead of locks two processes would train the same run."""

    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with ExitStack() as locks, pytest.raises(UserError, match=r"\.lock cannot be written \(Function not implemented\)"):
        choose([small["teacher"]], store, torch.device("cpu"), locks)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_final_error_is_that_of_the_stored_weights(precision, small, store, quiet, monkeypatch):
    """What is published is what was measured: the float16 weights, run in float32, however they were trained."""
    monkeypatch.setattr(evaluation, "BATCH", 7)  # 20 images: two of them, and what is left
    run = replace(small["teacher"], precision=precision)
    train([run], store, device="cpu", progress=quiet)
    record = store.load(run)
    images = data.load("shapes", "test")
    network = load_network(store, run, images, torch.device("cpu"))
    with torch.no_grad():
        logits = network(augment.normalize(images.images, *data.normalization("shapes"))).logits
    assert record.final["test_error"] == pytest.approx(
        100 * (logits.argmax(1) != images.labels).float().mean().item(), abs=0.051
    )
    assert record.final["test_loss"] == pytest.approx(cross_entropy(logits, images.labels).item(), rel=4e-7)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_batch_of_one_image_and_a_set_of_one_class_are_learnt_from(batch_size, tmp_path, store, quiet):
    """Three images: batches of one, or a last one of one. Nothing divides by a number less one."""
    for split in ("train", "test"):
        folder = tmp_path / "alike" / split / "only"
        folder.mkdir(parents=True)
        for number in range(3):
            write_png(torch.randint(256, (3, 16, 16), dtype=torch.uint8), str(folder / f"{number}.png"))
    how = {"dataset": "alike@16", "epochs": 1, "batch_size": batch_size, "precision": "fp32"}
    teacher = Run("wrn-10-1", **how)
    terms = (ActivationTransfer(), Distillation(), FullActivation())
    students = [Run("wrn-10-1", terms=(term,), teacher=teacher, **how) for term in terms]
    students.append(Run("wrn-10-1", terms=(SymmetryNorm(beta=1.0),), **how))
    train([teacher, *students], store, device="cpu", data_root=str(tmp_path), progress=quiet)
    records = store.all()
    assert len(records) == 5
    for record in records:
        assert record.diverged is None and record.final["test_error"] == 0 and not record.contradiction()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"terms": [ActivationTransfer()]}, "^terms: .* a tuple of terms"),
        ({"milestones": [0.5]}, "^milestones: .* a tuple of numbers"),
        ({"teacher": "wrn-16-1"}, "^teacher: .* a run"),
        ({"network": "resnet18", "subset": 17}, "^batch_size: 16 .* more than one image for every batch of 17 images"),
        ({"network": "resnet18", "batch_size": 1}, "^batch_size: 1 .*Expected more than 1 value"),
    ],
)
def test_what_could_not_be_trained_is_refused_before(change, match, small, store, quiet):
    """A list has no hash, and a batch norm nothing to average where one image leaves it one position."""
    with pytest.raises(ParameterError, match=match):
        train([replace(small["student"], **change)], store, device="cpu", progress=quiet)
    assert not list(store.folder.glob("**/*.safetensors"))


@pytest.mark.parametrize(
    ("count", "ranks", "term", "refused"),
    [
        (67, Ranks(0, 2), None, True),  # of the last three images one process gets one
        (68, Ranks(0, 2), None, False),
        (65, Ranks(), None, True),
        (65, Ranks(), SymmetryNorm(beta=1.0), False),  # which trains on an image and its mirror
        (128, Ranks(), None, False),
    ],
)
def test_the_smallest_batch_of_a_process_is_what_counts(count, ranks, term, refused):
    run = Run("resnet18", epochs=1, dataset="shapes", batch_size=64, terms=(term,) if term else ())
    with pytest.raises(ParameterError, match=r"^batch_size: 64 ") if refused else nullcontext():
        check_batches(run, count, ranks)
