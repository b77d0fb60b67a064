"""Records that somebody changed, and whose checksums were made to agree."""

import json
from pathlib import Path

from at_repro.records.record import checksum, sha256


def seal(folder: Path, **changes: object) -> None:
    """Writes record.json with other values, "missing": without them, and with checksums that are right.

    A file that is not there keeps the checksum that it had.
    """
    path = folder / "record.json"
    values = json.loads(path.read_text())
    values.pop("checksum", None)
    if isinstance(files := values.get("files"), dict):  # and not what somebody has made of it
        files |= {name: sha256(folder / name) for name in files if (folder / name).exists()}
    values = {name: value for name, value in (values | changes).items() if value != "missing"}
    path.write_text(json.dumps(values | {"checksum": checksum(values)}))
