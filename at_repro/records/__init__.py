"""Records of finished runs."""

from at_repro.records.record import DamagedRecord, Record, check_same_test_images, load_record
from at_repro.records.store import Store, default_folder, open_store

__all__ = [
    "DamagedRecord", "Record", "Store", "check_same_test_images", "default_folder", "load_record", "open_store",
]  # fmt: skip
