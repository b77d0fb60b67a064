"""The report as one PDF."""

import re

import pytest
import yaml
from tiny_book import ADDRESS, staged

from at_repro import cli
from at_repro.errors import UserError
from at_repro.report import book, pdf
from at_repro.runs import Run


@pytest.mark.slow
def test_all_pages_are_printed_into_one_pdf_with_a_journals_metadata(checkout, chromium, store, hand_made):
    """Each page begins on a sheet of its own after that of the contents, and the reader's program lists them."""
    for seed in (0, 1):
        hand_made(Run("wrn-10-1", epochs=1, dataset="shapes", seed=seed), seconds=5400.0)
    stage = staged(ADDRESS)
    printed = pdf.write(stage, store).read_bytes()
    assert printed.startswith(b"%PDF-") and printed.count(b"/Type /Page\n") == 3
    assert all(b"/Title (" + title in printed for title in (b"Tiny", b"Stand-in"))
    metadata = yaml.safe_load((stage / "metadata.yaml").read_text())
    assert metadata["title"].startswith("[Re] ") and metadata["authors"]
    assert metadata["code"][0]["url"] == metadata["data"][0]["url"] == ADDRESS
    assert metadata["computing"].startswith("2 records are behind this report, 3 hours of training on CPU")


def test_a_pdf_that_is_not_printed_leaves_the_old_one(store, tmp_path, monkeypatch):
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho of no display >&2\nexit 1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(book, "jupyter_book", lambda stage, builder: tmp_path / "index.html")
    links = (
        '<a href="table_1.html">Table 1</a>, <a href="maps.html#left=a&amp;right=b">maps</a>, <a href="#here">here</a>'
    )
    (tmp_path / "intro.html").write_text(f'{links}, <a href="intro.html#cited">cited</a>')
    (tmp_path / "notebooks").mkdir()
    for name in ("table_1", "maps"):
        (tmp_path / "notebooks" / f"{name}.ipynb").touch()
    (tmp_path / "report.pdf").write_bytes(b"of yesterday")
    with pytest.raises(UserError, match=r"Chromium did not print .*intro\.html: of no display$"):
        pdf.write(tmp_path, store)
    assert (tmp_path / "report.pdf").read_bytes() == b"of yesterday"
    led = re.findall('href="(.*?)"', (tmp_path / "intro.html").read_text())
    assert led == ["#document-notebooks/table_1", "#document-notebooks/maps", "#here", "intro.html#cited"], (
        "within the one page"
    )


@pytest.mark.parametrize("written", ['""', '"https://host/us/it"', "'https://host/us/it'", "https://host/us/it # ours"])
def test_an_address_is_read_however_it_is_written(written, store, hand_made, tmp_path):
    hand_made(Run("wrn-10-1", epochs=1, dataset="shapes"))
    (tmp_path / "_config.yml").write_text(f"title: x\nrepository:\n  url: {written}\n")
    (tmp_path / "metadata.yaml").write_text("url: $repository\n")
    pdf._fill(tmp_path / "metadata.yaml", store)
    address = yaml.safe_load(written) or ""
    assert (tmp_path / "metadata.yaml").read_text() == f"url: {address}\n"


def test_without_chromium_nothing_is_built_and_one_line_says_what_to_install(monkeypatch, capsys, own_signals):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(book, "build", lambda *_: pytest.fail("a book is built"))
    assert cli.main(["book", "--pdf"]) == 2
    said = capsys.readouterr().err
    assert "apt-get install chromium" in said and said.count("\n") == 1
