"""Progress of long work as plain text: one line per epoch, and on a terminal a line that is rewritten in between."""

import io
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from at_repro.errors import duration
from at_repro.records import Record
from at_repro.training.student import Student


class Progress:
    """Reports to a text stream; None: standard error."""

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stderr
        self._last_time = 0.0

    def say(self, text: str, end: str = "\n") -> None:
        """One line of its own, or, with another end, a part of one."""
        try:
            self.stream.write(text + end)
            self.stream.flush()
        except OSError:  # nobody reads it any more, or the disk is full: training goes on, and says no more
            self.stream = io.StringIO()

    def begin(self, students: Sequence[Student], images: int) -> None:
        """Names the runs of a cohort and where each goes on; `images` are those of an epoch."""
        first = students[0].run
        self.say(f"training {len(students)} run(s), {first.epochs} epochs of {images} images of {first.dataset}:")
        for student in students:
            steps = f" and {student.step} steps" if student.step else ""
            start = f", continues after epoch {student.epoch}{steps}" if student.epoch or student.step else ""
            self.say(f"  {student.run.run_id}{start}")

    def step(self, count: int, steps: int, seconds: float) -> None:
        """Rewrites the line of the epoch in progress, on a terminal only; `seconds` that it took so far."""
        if not self.stream.isatty() or time.monotonic() - self._last_time < 0.5:
            return
        self._last_time = time.monotonic()
        remaining = duration(seconds / count * (steps - count))
        self.say(f"\r  step {count}/{steps}, {remaining} to the end of the epoch  ", end="")

    def epoch(self, students: Sequence[Student], images: int) -> None:
        """Errors, speed and time left after an epoch, whose seconds include evaluation."""
        first = students[0]
        seconds = first.curve[-1]["seconds"]
        remaining = duration((first.run.epochs - first.epoch) * seconds)
        errors = "  ".join(
            f"{student.run.method} {student.curve[-1]['train_error']:.1f}/{student.curve[-1]['test_error']:.1f}"
            for student in students
        )
        clear = "\r\033[K" if self.stream.isatty() else ""
        self.say(
            f"{clear}epoch {first.epoch}/{first.run.epochs}  train/test error %: {errors}"
            f"  {len(students) * images / seconds:.0f} images/s, {remaining} left"
        )

    def end(self, record: Record) -> None:
        """Says that a run has its record."""
        self.say(f"recorded {record.run.run_id}: {record.outcome}")
