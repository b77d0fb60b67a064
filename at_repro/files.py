"""Files that are whole or not there, and one line where the disk refuses them or they are not what they should be."""

import json
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from at_repro.errors import ParameterError, UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to stop, and leaves it time to save what it has: Ctrl-C, a scheduler, a terminal that closes."""

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that the package lies in: of a clone, with its notebooks, book and records."""


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turns what the system says while something is written at `path` into one line for the user."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); what was there before is whole: mend that, and the "
            "same command continues"
        ) from error


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` which in the end takes its place, flushed; until then the old one stays.

    What is no regular file, such as a pipe or a terminal, keeps its place: in the end it is written to, once. Raises
    UserError where it cannot be written.
    """
    if path.exists() and not path.is_file():
        with write_errors(path), tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            path.write_bytes((Path(folder) / path.name).read_bytes())
        return
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with write_errors(path):
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk it would be in the way
        raise


def write(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, see `replacement`. Raises UserError."""
    with replacement(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def handle_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Lets `handler` take SIGNALS, but those that are ignored, as under nohup, and those that another program takes."""
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: it is not Python's, as in an R session
            signal.signal(number, handler)


@contextmanager
def handled_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """`handle_signals` inside; in the end each goes to who took it before.

    Only the main thread may handle signals: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: own for number in SIGNALS if (own := signal.getsignal(number)) is not None}

    def restore() -> None:
        for number, of_before in before.items():
            signal.signal(number, of_before)

    try:
        handle_signals(handler)
        yield
    finally:
        try:
            restore()
        finally:
            restore()  # again: one that came in between has ended the first, and `handler` would keep the others


@contextmanager
def hold_signals() -> Iterator[None]:
    """Inside, SIGNALS wait for the end: libraries turn an exception within into one about the file."""
    queue: list[int] = []
    try:
        with handled_signals(lambda sent, _: queue.append(sent)):
            yield
    finally:
        for sent in dict.fromkeys(queue):
            signal.raise_signal(sent)


def read_json(parameter: str, path: str | Path, keys: Iterable[str], writer: str) -> dict:
    """The object in a JSON file, which has at least these keys.

    Raises ParameterError, of this parameter, where the file cannot be read or is not one that `writer`, a command, has
    written.
    """
    try:
        content = json.loads(Path(path).expanduser().read_text())
        if isinstance(content, dict) and set(keys) <= content.keys():
            return content
    except (OSError, ValueError, RuntimeError):
        pass
    raise ParameterError(parameter, str(path), f"a file that {writer} has written")


def output(path: str | Path, parameter: str = "output") -> Path:
    """A file that a user has named for a result, tried before any work: its folder is made, nothing else is left.

    A pipe is not tried, since its reader would take the trial for all. Raises ParameterError where it cannot be
    written.

    Args:
        parameter: what the user gave it as.
    """
    try:
        target = Path(path).expanduser()
        if target.is_fifo() and os.access(target, os.W_OK):
            return target  # as it is: the names of a shell's own pipes lead nowhere
        target = target.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        new = not target.exists()
        target.open("a").close()
        if new:
            target.unlink()
    except (OSError, RuntimeError, ValueError) as error:  # the latter: an unknown user's home; a null byte
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(parameter, str(path), f"a file that can be written ({reason})") from None
    return target


def flush(path: Path) -> None:
    """Waits until a file, or the list of files of a folder, is on the disk and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
