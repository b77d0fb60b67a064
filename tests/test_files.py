"""Files that a user names for results are tried before any work, and nothing else is left of the trial."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from at_repro import files
from at_repro.errors import ParameterError, UserError


def test_an_output_is_tried_and_not_begun(tmp_path):
    named = tmp_path / "new" / "result.csv"
    assert files.output(named) == named and named.parent.is_dir() and not named.exists()
    named.write_text("of an earlier run")
    files.output(named)
    assert named.read_text() == "of an earlier run"


@pytest.mark.parametrize("content", ['["rows", "seed"]', "3", '{"rows": []}', "rows seed"])
def test_what_no_command_has_written_is_one_line(content, tmp_path):
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(ParameterError, match="allowed: a file that make faults has written"):
        files.read_json("proofs", path, ("rows", "seed"), "make faults")


def test_what_a_command_has_written_is_read_whole(tmp_path):
    path = tmp_path / "own.json"
    path.write_text('{"rows": [], "seed": 0, "more": 1}')
    assert files.read_json("proofs", path, ("rows", "seed"), "make faults")["more"] == 1


def test_a_link_to_a_file_that_is_not_there_yet_stays(tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "target.csv")
    assert files.output(link) == tmp_path / "target.csv"
    assert link.is_symlink() and not link.exists()


@pytest.mark.parametrize("name", ["~nobody_of_this_name/x.csv", "a\0b", "/dev/null/x.csv", "."])
def test_what_cannot_be_written_is_one_line(name):
    with pytest.raises(ParameterError, match="allowed: a file that can be written"):
        files.output(name)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """And nothing else in its folder is touched: somebody may have a file of their own called result.tmp."""
    path, own = tmp_path / "result.csv", tmp_path / "result.tmp"
    path.write_text("of an earlier run")
    own.write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"result\.csv cannot be written \(No space left on device\)"):
            files.write(path, "half")
    assert path.read_text() == "of an earlier run"
    files.write(path, "whole")
    assert path.read_text() == "whole" and own.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


def full(*_):
    raise OSError(28, "No space left on device")


def test_what_is_no_regular_file_is_written_to():
    files.write(Path("/dev/null"), "anything")
    with pytest.raises(UserError, match="No space left"):
        files.write(Path("/dev/full"), "anything")


def test_a_pipe_is_opened_once_and_keeps_its_place(tmp_path):
    """A trial would be the end for its reader, and what is written behind it would wait for ever."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with subprocess.Popen(["timeout", "60", "cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        target = files.output(pipe)
        assert reader.poll() is None, "the trial was all that it read"
        files.write(target, "all")
        assert reader.communicate()[0] == "all" and pipe.is_fifo()


@pytest.mark.parametrize("line", ["at_repro -o >(cat)", "at_repro -o /dev/stdout | cat"])
def test_a_pipe_of_the_shell_is_written_to(line):
    """Their names are links that lead to no file."""
    code = "import sys; from at_repro import files; files.write(files.output(sys.argv[2]), 'all')"
    line = line.replace("at_repro", f'{sys.executable} -c "{code}"')
    assert subprocess.run(["bash", "-c", f"{line}; wait"], capture_output=True, text=True).stdout == "all"


@pytest.mark.parametrize("number", files.SIGNALS)
def test_a_signal_waits_for_the_end_of_what_it_would_disturb(number, own_signals):
    signal.signal(number, signal.default_int_handler)
    steps = []
    with pytest.raises(KeyboardInterrupt), files.hold_signals():
        signal.raise_signal(number)
        steps.append("to the end")
    assert steps == ["to the end"]


def test_under_nohup_a_terminal_that_closes_stops_nothing(own_signals):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with files.hold_signals():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("call", range(2 * len(files.SIGNALS)))
def test_a_signal_between_two_handlers_leaves_none_that_swallows_the_next(call, own_signals, monkeypatch):
    """While they are set, or given back: in a kernel, which lives on, Ctrl-C would do nothing any more."""
    before = [signal.getsignal(number) for number in files.SIGNALS]
    own, calls = signal.signal, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        return own(*given)

    monkeypatch.setattr(signal, "signal", interrupted)
    with pytest.raises(KeyboardInterrupt), files.hold_signals():
        pass
    assert [signal.getsignal(number) for number in files.SIGNALS] == before


def test_a_handler_that_is_not_pythons_is_left_alone(own_signals, monkeypatch):
    """As of a program that Python is a part of: `signal.signal` takes no None, which stands for it."""
    taken, getsignal, first = [], signal.getsignal, files.SIGNALS[0]
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == first else getsignal(number))
    monkeypatch.setattr(signal, "signal", lambda number, handler: taken.append((number, handler)))
    with files.handled_signals(lambda *_: None):
        pass
    assert taken and all(number != first and handler is not None for number, handler in taken)
