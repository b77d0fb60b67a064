"""When the students of a cohort are saved: at the ends of epochs, every few minutes, and when they are to stop."""

import time
from collections.abc import Sequence
from typing import Self

from at_repro import files
from at_repro.records import Store
from at_repro.training.processes import ALONE, Ranks
from at_repro.training.student import Student

INTERVAL = 180.0  # seconds: the most that a process which is killed can lose


class Checkpointer:
    """Saves the students of a cohort in time. Inside `with`, `files.SIGNALS` wait for the end of the step.

    Then the students are saved and KeyboardInterrupt is raised. A second signal does not wait: what was saved last
    is what is left.
    """

    def __init__(self, store: Store, ranks: Ranks = ALONE):
        self._store, self._ranks = store, ranks
        self._last_save = time.monotonic()
        self._stopping = False
        self._signals = files.handled_signals(self._stop)

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._signals.__exit__(None, None, None)
        if self._stopping and kind is None:  # it came after the last save: nothing is lost, but it is not forgotten
            raise KeyboardInterrupt

    def _stop(self, *_: object) -> None:
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True

    def after_step(self, students: Sequence[Student]) -> None:
        """Saves them if the last time was long ago or a signal came, to any of the processes. Raises as `save`."""
        late = self._ranks.first and time.monotonic() - self._last_save > INTERVAL
        if self._ranks.largest(float(late or self._stopping), students[0].totals.device):
            self.save(students)

    def save(self, students: Sequence[Student]) -> None:
        """Saves them now. Raises KeyboardInterrupt if a signal came to any, UserError where the disk refuses."""
        self._ranks.collect([student.totals for student in students])
        for student in students if self._ranks.first else ():
            student.save(self._store.checkpoint_path(student.run))
        self._last_save = time.monotonic()
        # All save at once, and all stop: one that went on alone would wait for the others in its next step.
        if self._ranks.largest(float(self._stopping), students[0].totals.device):
            raise KeyboardInterrupt
