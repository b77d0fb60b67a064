"""What README and landing page show and nobody types: errors, counts of verdicts, pictures; the ledger as a file."""

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image

from at_repro import claims, files
from at_repro.analysis import photographs, tables
from at_repro.analysis.study import Study, open_study
from at_repro.errors import DataError, UserError
from at_repro.networks import ResizeInput, imagenet
from at_repro.records import open_store
from at_repro.report import book, notebooks, photograph
from at_repro.report.figures import ATTENTION

if TYPE_CHECKING:  # it comes with the extra `book`
    from nbformat import NotebookNode

ASSETS = Path("book") / "_assets"
BANNER, THUMBNAILS = "banner.jpg", "thumbnails"
FIGURES = {"flagship.png": ("table_1", "fig-errors"), "training_length.png": ("training_length", "fig-training-length")}
"""Pictures of the landing page, and the figure of a committed notebook that each is."""

_LEVELS = {"low": "level 1", "middle": "level 3", "top": "level 4"}  # of EfficientNet-Lite's four
_NETWORK = "efficientnet-lite2"
_THUMBNAIL = (360, 216)  # pixels
_OVER = 0.65  # opacity of maps over the photograph


def update() -> list[Path]:
    """Writes what was found into README and landing page, and pictures and ledger beside the book's pages.

    The banner stays as it is where the weights of its network are not here. Returns what was written.

    Raises UserError where there is no checkout or no place for it in a page, DamagedRecord for a record that is not
    whole.
    """
    root = notebooks.part_of_checkout("notebooks").parent
    ledger = claims.conclude(claims.compare(open_store(book.COMMITTED)))
    written = {
        root / "README.md": _filled(root / "README.md", results=results(ledger)),
        root / "book" / "intro.md": _filled(root / "book" / "intro.md", counts=counts(ledger), gallery=gallery()),
    }
    for page, text in written.items():
        files.write(page, text)
    pictures = {name: _picture(notebooks.read(notebook), figure) for name, (notebook, figure) in FIGURES.items()}
    executed = {name: notebooks.read(name) for name in pages()}
    pictures |= {f"{THUMBNAILS}/{name}.png": thumbnail(page) for name, page in executed.items() if _picture(page)}
    try:
        pictures[BANNER] = banner()
    except DataError as error:
        book.say(f"{BANNER} stays as it is: {error}")
    for name, content in pictures.items():
        files.write(root / ASSETS / name, content)
    table = root / "book" / book.LEDGER
    files.write(table, ledger.to_csv())
    return [*written, *(root / ASSETS / name for name in pictures), table]


def _filled(page: Path, **parts: str) -> str:
    """A page with each part between its marks, such as `<!-- results -->` and `<!-- end -->`."""
    text = page.read_text()
    for name, part in parts.items():
        place = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->\n", text, flags=re.DOTALL)
        if place is None:
            raise UserError(f"{page} has no place for what was found: <!-- {name} --> and <!-- end -->")
        text = text[: place.start(1)] + part + text[place.end(1) :]
    return text


def results(ledger: pd.DataFrame) -> str:
    """What the README shows, as Markdown: the row of Table 1 that was trained as long as in the paper, and a sentence
    that counts the verdicts."""
    flagship = open_study("wrn-16-2-to-16-1", "paper", [0], train_missing=False)
    return f"{errors(flagship)}\n{claims.summary(ledger)}\n"


def errors(study: Study) -> str:
    """Test errors beside the paper's as a Markdown table, of a study of Table 1's second row."""
    table = tables.readable(tables.errors(study))
    table = table.rename_axis("test error, %").reset_index()
    lines = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def counts(ledger: pd.DataFrame) -> str:
    """Three cards for the landing page with the number of claims of each verdict that a test gave."""
    told = claims.summary(ledger)
    number = {verdict: count for count, verdict in re.findall(r"(\d+) ([a-z ]+)", told)}
    cards = [
        f":::{{grid-item-card}} {number[verdict]} {verdict}\n:link: notebooks/claims\n:link-type: doc\n\n{text}\n:::\n"
        for verdict, text in {
            "supported": "of the paper's claims, beyond chance and in its direction",
            "contradicted": "beyond chance, against its direction",
            "undecided": "the interval reaches both sides, or runs are missing; "
            f"{number['not tested']} more are not tested",
        }.items()
    ]
    return "::::{grid} 1 1 3 3\n" + "".join(cards) + "::::\n"


def pages() -> list[str]:
    """Names of the notebooks in the order of the book's contents."""
    contents = (notebooks.part_of_checkout("book") / "_toc.yml").read_text()
    return re.findall(r"file: notebooks/(\S+)", contents)


def gallery() -> str:
    """A card for each page, which is called by what it found, with the first of its figures.

    Or with the thumbnail that is there, of a page that draws only in the browser.
    """
    cards = []
    thumbnails = notebooks.part_of_checkout("book") / "_assets" / THUMBNAILS
    for name in pages():
        notebook = notebooks.read(name)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        is_shown = _picture(notebook) or (thumbnails / f"{name}.png").exists()
        described = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt") for cell in notebook.cells]
        alt = next(filter(None, described), title)
        picture = f":img-top: _assets/{THUMBNAILS}/{name}.png\n:img-alt: {alt}\n" if is_shown else ""
        cards.append(f":::{{grid-item-card}} {title}\n{picture}:link: notebooks/{name}\n:link-type: doc\n:::\n")
    return "::::{grid} 1 2 3 3\n:class-container: gallery\n\n" + "".join(cards) + "::::\n"


def thumbnail(notebook: "NotebookNode") -> bytes:
    """The upper part of a notebook's first figure, small, as a PNG."""
    picture = Image.open(io.BytesIO(_picture(notebook))).convert("RGBA")
    width, height = _THUMBNAIL
    scaled = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    small = Image.new("RGBA", _THUMBNAIL)
    small.paste(scaled.crop((0, 0, width, min(height, scaled.height))))
    stream = io.BytesIO()
    small.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def banner() -> bytes:
    """The photograph and, laid over it in grey, its low, middle and top map by a network with ImageNet weights: a JPEG.

    Raises DataError where the weights are not here.
    """
    network = ResizeInput(imagenet.pretrained(_NETWORK), imagenet.RESOLUTIONS[_NETWORK]).eval()
    images = photograph.load("photographs@256", 256)
    pixels = images.images[0].permute(1, 2, 0).numpy()
    maps = photographs.maps({_NETWORK: network}, images)[_NETWORK]
    grey = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    parts = [pixels]
    for level in _LEVELS.values():
        own = (maps[level][0] / maps[level][0].max()).numpy()
        coloured = Image.fromarray((255 * colormaps[ATTENTION](own)[..., :3]).astype(np.uint8))
        over = np.asarray(coloured.resize(pixels.shape[1::-1], Image.Resampling.NEAREST))
        parts.append((_OVER * over + (1 - _OVER) * grey).astype(np.uint8))
    stream = io.BytesIO()
    Image.fromarray(np.hstack(parts)).save(stream, "JPEG", quality=85, optimize=True)
    return stream.getvalue()


def _picture(notebook: "NotebookNode", figure: str | None = None) -> bytes:
    """The figure of this name, or the first one; empty where a notebook has none at all.

    Raises LookupError where there is none of this name.
    """
    for cell in notebook.cells:
        if figure in (None, notebooks.figure(cell).get("name")):
            for output in cell.get("outputs", []):
                for kind in ("image/png", "image/jpeg"):
                    if kind in output.get("data", {}):
                        return base64.b64decode(output.data[kind])
    if figure:
        raise LookupError(f"there is no figure {figure}")
    return b""
