"""What the page on trust says of records, proofs and cost."""

import pytest

from at_repro.errors import ParameterError
from at_repro.records import Store
from at_repro.report import trust
from at_repro.runs import Run


def test_the_report_names_what_was_tried(tmp_path):
    """A kill and a full disk are typed in the sentence that counts the proofs, which are `make faults`'s to choose."""
    results = trust.load()
    sentence = trust.answer(results, Store(tmp_path))
    happened = "; ".join(row[0] for row in results["rows"])
    assert "SIGKILL" in happened and "a disk that fills" in happened and "such as a kill or a full disk" in sentence
    tried = sum(row[1] for row in results["rows"])
    assert sentence.startswith("**0 records") and "WRN-16-1" not in sentence, "its row at full length is not here"
    assert f"disturbed {tried} runs, records and commands in {len(results['rows'])} ways" in sentence


def test_without_a_table_the_page_says_so(tmp_path):
    with pytest.raises(ParameterError, match="make faults"):
        trust.load(tmp_path / "none.json")


def test_the_provenance_of_a_record(small, taught):
    """A record that was trained here, read back as a reader would."""
    record = taught.load(small["teacher"])
    answers = trust.origins(record).set_index("question")["answer"]
    assert answers["which run?"] == record.run.run_id
    assert answers["what was trained?"] == (record.run.canonical_json())
    assert answers["by which code?"] == record.values["environment"]["commit"]
    assert answers["by how many processes?"] == "1"
    assert answers["with what result?"] == f"test error {record.final['test_error']:.2f} %"
    wrong = (record.predictions()["label"] != record.predictions()["prediction"]).sum()
    assert answers["is that what was predicted?"] == f"{wrong} of 20 predictions differ from their labels"


def test_the_provenance_of_a_run_that_diverged(hand_made, small):
    diverged = hand_made(small["at"], diverged=2, seconds=61.0)
    assert trust.origins(diverged).set_index("question")["answer"]["with what result?"] == "diverged in epoch 2"
    assert trust.origins(diverged).set_index("question")["answer"]["in what time?"] == "1 min 01 s"


def test_the_example_is_a_record_of_the_store(hand_made, small, store, tmp_path):
    assert trust.example(Store(tmp_path / "none")) is None
    assert trust.origins(None)["answer"].tolist() == ["no run has a record here yet"]
    records = [hand_made(small[name]) for name in ("teacher", "kd")]
    assert trust.example(store, records[0].run.run_id) == records[0]
    assert trust.example(store) in records
    with pytest.raises(ParameterError, match=r"^run: '\.\./x' is not allowed"):
        trust.example(store, "../x")


def test_the_page_on_trust_counts_what_was_tried(store, hand_made):
    hand_made(Run("wrn-10-1", epochs=1), seconds=7200.0)
    found = {"rows": [("a kill", 3, "a loss", 0), ("a flip", 4, "a wrong number", 0)]}
    told = trust.answer(found, store)
    assert told.startswith("**1 record is behind this report, 2 hours of training on CPU.**")
    assert (
        "disturbed 7 runs, records and commands in 2 ways, such as a kill or a full disk, and found no faults." in told
    )
