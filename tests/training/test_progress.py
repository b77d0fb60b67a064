"""What a user at a terminal sees while students train; other streams get whole lines alone."""

import io
import re
from types import SimpleNamespace

import pytest

from at_repro.training import Progress, progress, train


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def half_seconds(monkeypatch):
    """A clock that each look at it advances by half a second: the line in between is rewritten no more often."""
    looks = iter(range(1, 10**6))
    monkeypatch.setattr(progress, "time", type("Clock", (), {"monotonic": lambda: next(looks) / 2}))


def test_a_terminal_shows_the_epoch_in_progress_and_clears_it(small, store, half_seconds):
    screen = Terminal()
    train([small["teacher"]], store, device="cpu", progress=Progress(screen))
    begun, run_id, *rewritten, recorded, nothing = re.split("[\r\n]+", screen.getvalue())
    *steps, epoch = rewritten
    assert begun == "training 1 run(s), 1 epochs of 24 images of shapes:" and run_id == f"  {small['teacher'].run_id}"
    assert [step[:11] for step in steps] == ["  step 1/2,", "  step 2/2,"], "24 images are 16 and 8"
    assert all(step.endswith(" to the end of the epoch  ") for step in steps)
    assert epoch.startswith("\033[Kepoch 1/1  train/test error %: plain "), "what stood on the line shines through"
    assert recorded.startswith(f"recorded {small['teacher'].run_id}: ") and not nothing


def test_a_line_says_errors_speed_and_what_is_left_of_the_cohort():
    """Two students that saw 600 images each in 30 seconds, after the first of three epochs."""
    epoch = {"seconds": 30.0, "train_error": 12.34, "test_error": 5.0}
    student = SimpleNamespace(run=SimpleNamespace(epochs=3, method="plain"), epoch=1, curve=[epoch])
    log = io.StringIO()
    Progress(log).epoch([student, student], 600)
    line = "epoch 1/3  train/test error %: plain 12.3/5.0  plain 12.3/5.0  40 images/s, 1 min 00 s left\n"
    assert log.getvalue() == line


def test_a_file_gets_no_line_in_between(small, store, half_seconds):
    log = io.StringIO()
    train([small["teacher"]], store, device="cpu", progress=Progress(log))
    text = log.getvalue()
    assert "\r" not in text and "\033" not in text and "step " not in text and len(text.splitlines()) == 4
