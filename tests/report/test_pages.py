"""The committed pages and the site that is made of them: complete, numbered, and nothing from other hosts."""

import json
import re
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import nbformat
import pytest
from prose import ROOT, prose

from at_repro import experiments, networks
from at_repro.report import notebooks
from at_repro.runs import terms

PAGES = ROOT / "book"
NAMED = r'<(?:figure|table)[^>]* id="([^"]*)"'
NUMBERED = rf'{NAMED}(?:(?!{NAMED}).)*?class="caption-number">(Fig\.|Table) (\d+)'


def test_links_lead_to_files_where_the_sources_are_read():
    """On a code host, where nothing is rendered. In the book a dead link is a fault of the build."""
    sources = [*PAGES.glob("*.md"), *PAGES.glob("api/*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    link = r"\]\((?!#|\w+:)([^)#\s]+)"
    places = {page.parent / target for page in sources for target in re.findall(link, prose(str(page)))}
    assert len(places) > 10 and [place for place in places if not place.exists()] == []


def chapters() -> list[str]:
    return re.findall(r"^(?:root|\s*- file): *(\S+)", (PAGES / "_toc.yml").read_text(), flags=re.MULTILINE)


def page_texts() -> dict[str, str]:
    return {str(path.relative_to(PAGES)): path.read_text() for path in PAGES.glob("**/*.md")}


def wanted_labels() -> set[str]:
    """Figures and tables that pages refer to and that notebooks have to provide."""
    text = "\n".join(page_texts().values())
    return set(re.findall(r"{numref}`([\w-]+)`", text)) - set(re.findall(r":name: *(\S+)", text))


def test_every_page_and_notebook_is_in_the_table_of_contents():
    pages = {name.removesuffix(".md") for name in page_texts()}
    notebooks = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert pages | notebooks <= set(chapters())


def test_every_module_that_users_call_has_an_api_page():
    """The study's own machinery is read in its files: to read all of it for a page is a third of a build."""
    documented = set(re.findall(r"automodule:: (\S+)", "\n".join(page_texts().values())))
    paths = [path.relative_to(ROOT) for path in (ROOT / "at_repro").rglob("[!_]*.py")]
    modules = {".".join(path.with_suffix("").parts) for path in paths}
    own = {name for name in modules if name.startswith(("at_repro.bench.", "at_repro.claims.", "at_repro.report."))}
    inner = {"at_repro.cli", "at_repro.data.outlines", "at_repro.data.textures", "at_repro.networks.initialise"}
    assert modules - own - inner <= documented


def test_every_module_has_its_place_in_the_map_of_the_house():
    readme = (ROOT / "README.md").read_text()
    paths = [path for path in (ROOT / "at_repro").glob("[!_]*") if path.is_dir() or path.suffix == ".py"]
    rooms = {path.name + "/" * path.is_dir() for path in paths}
    assert [name for name in rooms if not re.search(rf"(?<![\w]){re.escape(name)}`", readme)] == []


def test_notebooks_provide_what_pages_refer_to():
    labels = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            labels.add(notebooks.figure(cell).get("name"))
    assert wanted_labels() - labels == set()


class _Fetches(HTMLParser):
    """What a browser would fetch from another host to show a page; links that a reader may follow are not."""

    def __init__(self, text: str):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        for name in ("src", "data", "href") if tag not in ("a",) else ():
            if re.match(r"(https?:)?//", values.get(name) or ""):
                self.found.append((tag, values[name]))


@pytest.mark.slow
def test_the_real_pages_build_without_a_warning(site):
    assert {f"{name}.html" for name in chapters()} <= {str(path.relative_to(site)) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_tables_are_numbered_as_tables_and_no_number_is_left_out(site):
    numbered: dict[str, list[int]] = {"Fig.": [], "Table": []}
    for path in site.rglob("*.html"):
        for name, _, what, number in re.findall(NUMBERED, path.read_text(), re.DOTALL):
            assert (what == "Table") == name.startswith("tab-"), (path.name, name)
            numbered[what].append(int(number))
    assert all(numbered.values()), "NUMBERED finds none"
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in numbered.values()), numbered


@pytest.mark.slow
def test_the_search_names_the_page_of_everything_that_it_finds(site):
    """A function was "in " nothing, as the text of its page is not searched."""
    index = json.loads((site / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")"))
    assert all(index["titles"]) and "Attention maps" in index["titles"]


@pytest.mark.slow
def test_no_docstring_is_taken_for_a_type(site):
    """Napoleon took what stands before its first colon for one."""
    pages = {path.name: path.read_text() for path in (site / "api").glob("*.html")}
    assert "losses.html" in pages
    assert [name for name, text in pages.items() if ">Type<" in text] == []


@pytest.mark.slow
def test_pages_fetch_nothing_from_other_hosts(site):
    pages = {path.name: _Fetches(path.read_text()).found for path in site.rglob("*.html")}
    assert _Fetches('<img src="https://example.org/y.png">').found
    assert {name: found for name, found in pages.items() if found} == {}
    styles = [
        path.name for path in site.rglob("*.css") if re.search(r"(@import|url\()[\s\"']*https?:", path.read_text())
    ]
    assert styles == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "notebooks/trust_and_rerun.ipynb"])
@pytest.mark.slow
def test_python_examples_run(page, tmp_path, few_test_images, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("book").symlink_to(notebooks.part_of_checkout("book"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    with ExitStack() as stack:
        for registry in (
            experiments.EXPERIMENTS,
            terms.TERMS,
            networks.registry.FAMILIES,
            networks.registry._REGISTERED,
        ):
            stack.enter_context(patch.dict(registry))  # to which examples add
        for example in re.findall(r"```python\n(.*?)```", prose(page), flags=re.DOTALL):
            exec(compile(example, page, "exec"), {"__name__": "example"})
            told = re.findall(r"^print\(.*\)  # (.*)$", example, flags=re.MULTILINE)
            assert set(told) <= {*capsys.readouterr().out.splitlines()}
