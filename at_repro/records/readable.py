"""What came of a run, and how long it took, in a few words."""

from at_repro.records.record import Record


def outcome(record: Record) -> str:
    """What came of a run, in a few words."""
    if record.diverged:
        return f"diverged in epoch {record.diverged}"
    top5 = record.final.get("top5_error")
    return f"test error {record.final['test_error']:.2f} %" + ("" if top5 is None else f", top-5 {top5:.2f} %")


def duration(seconds: float) -> str:
    """Seconds in the two units a person would use."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def training_seconds(record: Record) -> float:
    """What a run took of the loop that it shared with others: an equal part of its seconds; 0 of old records."""
    return record.values.get("seconds", 0.0) / (1 + len(record.values["environment"].get("company", ())))
