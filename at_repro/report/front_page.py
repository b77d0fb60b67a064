"""What README and landing page show and nobody types: errors, counts of verdicts, pictures."""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from at_repro import claims, files
from at_repro.analysis import error_tables, network_maps
from at_repro.analysis.study import Study, open_study
from at_repro.errors import DataError, UserError
from at_repro.networks import imagenet
from at_repro.records import open_store
from at_repro.report import book, cat_photograph, claims_page, notebooks
from at_repro.report.figures.theme import ATTENTION, OVERLAY_OPACITY

if TYPE_CHECKING:  # it comes with the extra `book`
    from nbformat import NotebookNode

ASSETS = Path("book") / "_assets"
BANNER, STRIP, THUMBNAILS = "banner.jpg", "strip.jpg", "thumbnails"
FIGURES = {"flagship.png": "table_1", "lengths.png": "training_length"}  # of the landing page: first ones of pages

_LEVELS = (0, 2, 3)  # low, middle and top of EfficientNet-Lite's four
_NETWORK = "efficientnet-lite2"
_STUDENTS = ("teacher", "AT", "student")  # whose top maps are in the strip
# Pages whose first figure shows photographs that may not be passed on: what is said of the cat in their place.
_CAT = {
    "attention_maps": "A cat's face, and its top map over it, which has two bright strips, at the left eye and "
    "beside the right one."
}
_CAT_TILES = (0, 3)  # of the banner
_THUMBNAIL = (360, 216)  # pixels
_TILE = 256  # pixels, of an image and of each map over it


def update() -> list[Path]:
    """Writes what was found into README and landing page, and pictures beside the book's pages.

    Banner and strip stay as they are where their weights or images are not here. Returns what was written.

    Raises UserError where there is no checkout or no place for it in a page, DamagedRecord for a record that is not
    whole.
    """
    root = notebooks.part_of_checkout("notebooks").parent
    comparisons = claims.compare(open_store(book.PRESET))
    ledger = claims.conclude(comparisons)
    texts = {
        root / "README.md": _fill(root / "README.md", results=results(ledger, comparisons)),
        root / "book" / "intro.md": _fill(root / "book" / "intro.md", counts=counts(ledger), gallery=gallery()),
    }
    for page, text in texts.items():
        files.write(page, text)
    firsts = {name: _picture(notebooks.read(name)) for name in pages()}
    pictures = {picture: firsts[name] for picture, name in FIGURES.items() if firsts.get(name)}
    for name, draw in {BANNER: banner, STRIP: strip}.items():
        try:
            pictures[name] = draw()
        except DataError as error:
            book.say(f"{name} stays as it is: {error}")
    firsts |= {name: _cat(pictures[BANNER]) if BANNER in pictures else b"" for name in firsts if name in _CAT}
    pictures |= {f"{THUMBNAILS}/{name}.png": thumbnail(first) for name, first in firsts.items() if first}
    for name, content in pictures.items():
        files.write(root / ASSETS / name, content)
    return [*texts, *(root / ASSETS / name for name in pictures)]


def _fill(page: Path, **parts: str) -> str:
    """A page with each part between its marks, such as `<!-- results -->` and `<!-- end -->`."""
    text = page.read_text()
    for name, part in parts.items():
        mark = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->\n", text, flags=re.DOTALL)
        if mark is None:
            raise UserError(f"{page} has no place for what was found: <!-- {name} --> and <!-- end -->")
        text = text[: mark.start(1)] + part + text[mark.end(1) :]
    return text


def results(ledger: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """What the README shows, as Markdown: the row of Table 1 that was trained for 200 epochs, how many claims
    have which verdict, the decided ones, and what contradicts one."""
    table = error_tables.readable(error_tables.by_method(_flagship())).rename_axis("test error, %").reset_index()
    rows = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    lines = ["".join(f"| {' | '.join(map(str, row))} |\n" for row in rows), claims.summary(ledger), ""]
    for verdict in (claims.SUPPORTED, claims.CONTRADICTED):
        texts = [claims_page.quoted(claim, comparisons) for claim in ledger[ledger["verdict"] == verdict].itertuples()]
        lines += [f"- *{verdict}*: {'; '.join(texts) or 'none'}"]
    return "\n".join([*lines, ""])


def _flagship() -> Study:
    return open_study("wrn-16-2-to-16-1", "paper", train_missing=False)


def counts(ledger: pd.DataFrame) -> str:
    """Four cards for the landing page with the number of claims of each verdict, and what these rest on."""
    number = claims.counts(ledger)
    cards = [
        f":::{{grid-item-card}} {number[verdict]} {verdict}\n:link: notebooks/claims\n:link-type: doc\n"
        f":link-alt: the claims that are {verdict}\n\n{text}\n:::\n"
        for verdict, text in {
            "supported": "as the paper claims",
            "contradicted": "against the claim",
            "undecided": "not significant, or runs are missing",
            "not tested": "nothing run, or stand-ins alone",
        }.items()
    ]
    return (
        "::::{grid} 2 2 4 4\n:class-container: cards\n\n"
        + "".join(cards)
        + f"::::\n\n{claims.shorter_trainings(ledger)}\n"
    )


def pages() -> list[str]:
    """Names of the notebooks in the order of the book's contents."""
    contents = (notebooks.part_of_checkout("book") / "_toc.yml").read_text()
    return re.findall(r"file: notebooks/(\S+)", contents)


def gallery() -> str:
    """A card for each page, which is called by what it found, with the first of its figures, or the cat of `_CAT`.

    Or with the thumbnail that is there, of a page that draws only in the browser.
    """
    cards = []
    thumbnails = notebooks.part_of_checkout("book") / "_assets" / THUMBNAILS
    for name in pages():
        notebook = notebooks.read(name)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        is_shown = _picture(notebook) or (thumbnails / f"{name}.png").exists()
        alt_texts = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt") for cell in notebook.cells]
        alt = _CAT.get(name) or next(filter(None, alt_texts), title)
        picture = f":img-top: _assets/{THUMBNAILS}/{name}.png\n:img-alt: {alt}\n" if is_shown else ""
        cards.append(f":::{{grid-item-card}} {title}\n{picture}:link: notebooks/{name}\n:link-type: doc\n:::\n")
    return "::::{grid} 2 3 4 4\n:class-container: gallery\n\n" + "".join(cards) + "::::\n"


def thumbnail(content: bytes) -> bytes:
    """The upper part of a picture, small, as a PNG."""
    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    width, height = _THUMBNAIL
    whole = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    small = Image.new("RGBA", _THUMBNAIL)
    small.paste(whole.crop((0, 0, width, min(height, whole.height))))
    stream = io.BytesIO()
    small.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def banner() -> bytes:
    """The photograph, and its low, middle and top map by a network with ImageNet weights: see `_with_maps`.

    Raises DataError where the weights are not here.
    """
    images = cat_photograph.load("photographs@256", 256)
    maps = network_maps.maps(imagenet.classifier(_NETWORK), images)
    return _with_maps(images.images[0], [maps[level][0] for level in _LEVELS])


def strip() -> bytes:
    """The first test image of CIFAR-10's first class, and the flagship's top maps of it: see `_with_maps`.

    Raises DataError where images or weights are not here.
    """
    study = _flagship()
    networks, images = study.networks(*_STUDENTS), study.examples(1, 1)
    if images is None or len(networks) < len(_STUDENTS):
        raise DataError("its images or weights are not here")
    return _with_maps(images.images[0], [own[0] for own in network_maps.top(networks, images).values()])


def _with_maps(image: Tensor, maps: Sequence[Tensor]) -> bytes:
    """An image, uint8 (3, H, W), and each map (h, w) laid over it in grey, side by side: a JPEG, 256 pixels high."""
    picture = Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).resize((_TILE, _TILE), Image.Resampling.NEAREST)
    grey = np.asarray(picture.convert("L"))[..., None]
    parts = [np.asarray(picture)]
    for own in maps:
        layer = Image.fromarray((255 * colormaps[ATTENTION]((own / own.max()).numpy())[..., :3]).astype(np.uint8))
        over = np.asarray(layer.resize(picture.size, Image.Resampling.NEAREST))
        parts.append((OVERLAY_OPACITY * over + (1 - OVERLAY_OPACITY) * grey).astype(np.uint8))
    return _jpeg(np.hstack(parts))


def _cat(banner: bytes) -> bytes:
    """The photograph and its top map, out of the banner."""
    tiles = np.hsplit(np.asarray(Image.open(io.BytesIO(banner))), 1 + len(_LEVELS))
    return _jpeg(np.hstack([tiles[index] for index in _CAT_TILES]))


def _jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85, optimize=True)
    return stream.getvalue()


def _picture(notebook: "NotebookNode") -> bytes:
    """The first figure of a notebook; empty where it has none."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = (output.data["image/png"] for output in outputs if "image/png" in output.get("data", {}))
    return base64.b64decode(next(pictures, ""))
