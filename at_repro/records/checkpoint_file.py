"""The file of a run in training: how a checkpoint is written and read."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from at_repro import files
from at_repro.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# What safetensors raises for a file that is damaged, and what our own reading of its header does.
_DAMAGES = (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OSError)


def write(path: Path, about: dict, tensors: "dict[str, Tensor]") -> None:
    """Writes a checkpoint; the previous one stays until the new one is whole. Raises UserError where it cannot.

    Args:
        about: what `Student.restore` needs to know, as JSON.
        tensors: on the CPU, contiguous.
    """
    from safetensors.torch import save

    text = {name: value if name == "precision" else json.dumps(value) for name, value in about.items()}
    files.write(path, save(tensors, text | {"checksum": _checksum(tensors, text)}))


def read(path: Path) -> "tuple[dict, dict[str, Tensor]]":
    """What a checkpoint says about its run, and its tensors, as given to `write`. Raises UserError where it cannot."""
    with _open(path, "pt") as file:
        text = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if text.pop("checksum") != _checksum(tensors, text):
            raise ValueError("it does not match its checksum")
        return _parse(text), tensors


def read_header(path: Path) -> dict:
    """What a checkpoint says about its run, without its tensors, which are not checked. Raises UserError."""
    with _open(path, "np") as file:
        return _parse(file.metadata())


@contextmanager
def _open(path: Path, framework: str) -> Iterator[safe_open]:
    """Turns what is wrong with the file, or found to be while it is open, into an error about it."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")  # a pipe would be waited for
        with path.open("rb"):  # the system's own error: that of safetensors does not tell a file that may not be read
            pass
        with files.hold_signals(), safe_open(path, framework) as file:
            yield file
    except PermissionError as error:
        problem = f"cannot be read ({error.strerror}); nothing says that it is damaged"
        raise UserError(f"checkpoint {path} {problem}") from None
    except _DAMAGES as error:
        raise UserError(f"checkpoint {path} cannot be read ({error}); delete it to start this run anew") from None


def _parse(text: dict[str, str]) -> dict:
    if text["precision"] not in ("bf16", "fp32"):  # it decides what is trained together, before the checksum is seen
        raise ValueError("its precision is none")
    if "curve" not in text:  # the other part that is read before
        raise ValueError("it has no curve")
    plain = ("precision", "checksum")
    return {name: value if name in plain else json.loads(value) for name, value in text.items()}


def _checksum(tensors: "dict[str, Tensor]", about: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()
