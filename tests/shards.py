"""Parquet shards in the hub's layout, written by hand."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from at_repro.data.cifar10 import CLASSES


def write_shard(path: Path, images: list[bytes | None], labels: list[int | None], names=CLASSES) -> None:
    """Writes encoded images and their labels, whatever they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": image, "path": None} for image in images], struct)
    table = pa.table({"img": column, "label": pa.array(labels, pa.int64())})
    info = {"info": {"features": {"img": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), path)
