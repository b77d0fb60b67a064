"""Runs in the order in which they can be trained: teachers first, and cohorts, which share a loop."""

from collections.abc import Iterable, Sequence

from at_repro.runs.spec import Run


def with_teachers(runs: Iterable[Run]) -> list[Run]:
    """The runs and all their teachers, each once, a teacher before its students."""
    order: dict[Run, None] = {}
    for run in runs:
        if run.teacher is not None:
            order.update(dict.fromkeys(with_teachers([run.teacher])))
        order[run] = None
    return list(order)


def teachers_and_cohorts(runs: Iterable[Run]) -> list[list[Run]]:
    """What can be handed to several machines: every teacher by itself, before the cohorts of the other runs."""
    runs = with_teachers(runs)
    teachers = {run.teacher for run in runs}
    return [[run] for run in runs if run in teachers] + cohorts([run for run in runs if run not in teachers])


def cohorts(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can be trained in one loop, in order of their first appearance.

    They share everything that decides a batch and the schedule; runs without a teacher join the first cohort they fit.
    """
    order: list[list[Run]] = []
    for run in runs:
        for members in order:
            teachers = {member.teacher for member in [*members, run]} - {None}
            if _conditions(run) == _conditions(members[0]) and len(teachers) < 2:
                members.append(run)
                break
        else:
            order.append([run])
    return order


def _conditions(run: Run) -> tuple:
    return (run.dataset, run.subset, run.epochs, run.batch_size, run.milestones, run.drop, run.augmentation,
            run.precision, run.seed, teacher_layers(run))  # fmt: skip


def teacher_layers(run: Run) -> tuple[str, ...]:
    """The layers of the teacher that a run names. A teacher watched at other layers is rounded at other places."""
    return tuple(other for term in run.terms for _, other in term.layers or ())
