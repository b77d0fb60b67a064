"""Fast is right: folding and compilation change a network's outputs by rounding only."""

import os
from contextvars import Context

import pytest
import torch

from at_repro import data, networks
from at_repro.errors import ParameterError
from at_repro.runs import ActivationTransfer, Distillation, FullActivation, Run, checks
from at_repro.training import Student, engine
from at_repro.training.batch import FeatureExtractor, StudentBatch, Teacher, TeacherBatch
from at_repro.training.loop import batches
from at_repro.training.term_values import term_value

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6)
CPU = torch.device("cpu")


def network(seed: int = 0) -> torch.nn.Module:
    built = networks.build("wrn-10-1", 10, torch.Generator().manual_seed(seed))
    built(IMAGES)  # running statistics that are not 0 and 1
    return built.eval().requires_grad_(False)


def outputs(output: networks.Output) -> list[torch.Tensor]:
    return [output.logits.float(), *(group.float() for group in output.groups)]


def relative(ours: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    return max(((one - other).abs().max() / other.abs().max()).item() for one, other in zip(ours, others, strict=True))


@pytest.mark.parametrize(
    ("precision", "compiled", "tolerance"),
    [
        ("fp32", False, 1e-5),
        ("bf16", False, 3e-2),  # bfloat16 has 8 bits: 2^-8 per rounding, over ten layers
        pytest.param("fp32", True, 1e-5, marks=[pytest.mark.compiler, pytest.mark.slow]),
    ],  # bf16 and compiled: below
)
def test_a_teacher_on_the_fast_path_is_the_same_teacher(precision, compiled, tolerance):
    teacher = network()
    fast = engine.inference(teacher, precision, compiled)(IMAGES)
    assert not fast.logits.requires_grad
    assert relative(outputs(fast), outputs(teacher(IMAGES))) < tolerance


def test_the_limit_of_compilations_is_there_in_every_task_of_a_worker(monkeypatch):
    """Each runs in a context of its own, which forgets what another has set; above the limit nothing is compiled."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    limit = engine._compile(lambda: torch._dynamo.config.recompile_limit)
    assert Context().run(limit) == Context().run(limit) == 256


@pytest.mark.compiler
@pytest.mark.slow
def test_a_compiled_teachers_weights_are_constants(monkeypatch):
    """The compiler leaves them as arguments, without a word, if it believes that a gradient is wanted."""
    fold, folded = engine.fold_batch_norms, []
    monkeypatch.setattr(engine, "fold_batch_norms", lambda whole: folded.append(fold(whole)) or folded[-1])
    infer = engine.inference(network(), "bf16", True)
    before = infer(IMAGES)
    assert relative(outputs(before), outputs(network()(IMAGES))) < 3e-2
    for layer in folded[0].modules():
        if isinstance(layer, torch.nn.Conv2d):  # of which the constants are copies, in bfloat16
            layer.weight.zero_()
    assert relative(outputs(infer(IMAGES)), outputs(before)) == 0
    other = engine.inference(network(1), "bf16", True)(IMAGES)
    assert relative(outputs(other), outputs(network(1)(IMAGES))) < 3e-2, "one for all"


@pytest.mark.compiler
@pytest.mark.slow
def test_a_compiled_step_has_the_gradients_of_a_plain_one():
    gradients = []
    for compiled in (False, True):
        student = networks.build("wrn-10-1", 10, torch.Generator().manual_seed(0))
        StudentBatch(
            FeatureExtractor(student, "wrn-10-1"), IMAGES, LABELS, engine.forward("fp32", compiled), None
        ).losses.mean().backward()
        gradients.append([weight.grad for weight in student.parameters()] + list(student.buffers()))
    assert relative(gradients[1], gradients[0]) < 1e-4


@pytest.mark.compiler
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "term",
    [ActivationTransfer(), ActivationTransfer(mapping="max-1", groups=(2,)), FullActivation(groups=(2,))],
)
def test_compiled_terms_have_the_values_and_gradients_of_plain_ones(term, precision):
    """Maps and losses stay in float32 in both precisions: what is compiled may round in another order, no more."""
    run = checks.validate(Run("wrn-10-1", 1, terms=(term,), teacher=Run("wrn-16-1", 1)))
    student = Student(run, 10, torch.device("cpu"), precision)
    teacher = networks.build("wrn-16-1", 10, torch.Generator().manual_seed(1)).requires_grad_(False)
    taught = TeacherBatch(Teacher(teacher, "wrn-16-1", precision, False), IMAGES, LABELS)
    found = []
    for compiled in (False, True):
        seen = student.see(IMAGES, LABELS, engine.forward(precision, False))
        seen.compute = engine.forward(precision, compiled).compute
        value = term_value(term, seen, taught)
        assert value.dtype == torch.float32
        found.append([value, *torch.autograd.grad(value, student.network.group2.block0.conv1.weight)])
    # The gradient leaves the term in the precision of the activations.
    assert relative(found[1], found[0]) < (1e-2 if precision == "bf16" else 1e-4)


@pytest.mark.slow
def test_bfloat16_stays_near_float32():
    """Loss and gradient of one step, task and transfer terms.

    Measured: 0.3 % of the loss and 5 % of the gradient, where another batch makes another gradient altogether.
    """
    images = data.load("shapes", "test", subset=64)
    run = Run("wrn-16-1", 1, terms=(ActivationTransfer(), Distillation()), teacher=Run("wrn-16-2", 1), batch_size=64)
    for batch, labels in batches(images, run, 0):
        found = {precision: loss_and_gradient(run, precision, batch, labels) for precision in ("fp32", "bf16")}
        (loss, gradient), (rounded_loss, rounded_gradient) = found["fp32"], found["bf16"]
        assert rounded_loss == pytest.approx(loss, rel=1e-2)
        assert (rounded_gradient - gradient).norm() < 0.1 * gradient.norm()


def loss_and_gradient(run, precision, images, labels) -> tuple[float, torch.Tensor]:
    """Of one step from the run's first weights, with a teacher of random weights."""
    student = Student(run, 10, torch.device("cpu"), precision)
    teacher = networks.build("wrn-16-2", 10, torch.Generator().manual_seed(1)).requires_grad_(False)
    taught = TeacherBatch(Teacher(teacher, "wrn-16-2", precision, False), images, labels)
    _, share, weights = student.begin_epoch()
    seen = student.see(images, labels, engine.forward(precision, False))
    terms = zip(run.terms, weights, strict=True)
    loss = share * seen.losses.mean() + sum(weight * term_value(term, seen, taught) for term, weight in terms)
    loss.backward()
    return loss.item(), torch.cat([weight.grad.flatten() for weight in student.network.parameters()])


@pytest.mark.parametrize("faster", ["bf16", "fp32"])
def test_the_precision_of_auto_is_the_faster_one(faster, monkeypatch):
    """Processors differ both ways: a fixed choice would halve the speed of one half of them."""
    seconds = {torch.bfloat16: 1.0, torch.float32: 2.0 if faster == "bf16" else 0.5}
    monkeypatch.setattr(engine, "_seconds_of_convolution", seconds.get)
    assert engine.fastest_precision.__wrapped__(torch.device("cpu")) == faster


def test_generators_depend_on_seed_and_purpose_alone():
    draw = torch.randn(3, generator=engine.generator(0, "weights"))
    torch.manual_seed(5)  # the global generator plays no part
    assert torch.equal(draw, torch.randn(3, generator=engine.generator(0, "weights")))
    for seed, purpose in ((1, "weights"), (0, "order/0")):
        assert not torch.equal(draw, torch.randn(3, generator=engine.generator(seed, purpose)))
    # The first 14 digits of: printf 0/weights | sha256sum. Another generator would give no seed its recorded run.
    assert engine.generator(0, "weights").initial_seed() == 0x03B4290604C66D


def test_compilation_is_for_long_runs(monkeypatch):
    monkeypatch.setattr(engine, "can_compile", lambda device: device == CPU)
    assert engine.compiles("auto", 2_000_000, CPU) and engine.compiles("on", 1, CPU)
    assert not engine.compiles("auto", 20_000, CPU) and not engine.compiles("off", 2_000_000, CPU)
    assert not engine.compiles("auto", 2_000_000, torch.device("cuda")), "nothing compiles for it"
    monkeypatch.setattr(engine, "can_compile", lambda device: False)
    assert not engine.compiles("auto", 2_000_000, CPU)  # a machine without a compiler trains eagerly, silently
    for choice in ("maybe", "on"):
        with pytest.raises(ParameterError, match=r"^compile: "):
            engine.compiles(choice, 1, CPU)


def test_a_broken_compiler_is_found_before_training(monkeypatch):
    """It may be on the path and fail: then the first step would end a run that trains well without it."""

    def fail(*_, **__):
        raise RuntimeError("InvalidCxxCompiler")

    monkeypatch.setattr(torch, "compile", fail)
    assert not engine.can_compile.__wrapped__(CPU)


@pytest.mark.parametrize("name", ["gpu", "", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ParameterError, match=r"^device: "):
        engine.device(name)


@pytest.mark.gpu
def test_auto_takes_the_gpu():
    assert engine.device("auto").type == "cuda"


def test_a_gpu_is_asked_for_the_same_bits_each_time(monkeypatch):
    """Set without a GPU too: that torch then gives them can only be tested on one."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before, rounds = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    try:
        engine.repeat_exactly(torch.device("cpu"))
        assert not torch.are_deterministic_algorithms_enabled() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        engine.repeat_exactly(torch.device("cuda"))
        assert torch.is_deterministic_algorithms_warn_only_enabled() and not torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.allow_tf32
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        fresh = torch.empty(1 << 12, dtype=torch.uint8).fill_(7)
        assert not torch.utils.deterministic.fill_uninitialized_memory and (fresh == 7).all()
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = True
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = before, rounds
