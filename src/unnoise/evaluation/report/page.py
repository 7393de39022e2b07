"""The common shell of a page: a sheet of style, light and dark, and pictures inside the file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from unnoise import images

_STYLE = """
:root { --ink:#1c2330; --soft:#5b6675; --line:#d9dee6; --paper:#fbfbf9;
 --card:#ffffff; --good:#0b7a4b; --mark:#e8f4ee; }
@media screen and (prefers-color-scheme: dark) { :root { --ink:#e8eaee; --soft:#9aa5b4; --line:#343c48; --paper:#14181e;
 --card:#1b2129; --good:#5bd19a; --mark:#1c3329; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 system-ui,sans-serif; }
main { max-width:1180px; margin:0 auto; padding:32px 24px 64px; }
h1 { font-size:26px; margin:0 0 4px; letter-spacing:-.01em; } h2 { font-size:18px; margin:36px 0 6px; }
p { margin:6px 0; max-width:75ch; } .soft { color:var(--soft); }
.say { background:var(--mark); border-left:4px solid var(--good); padding:14px 18px; border-radius:6px; font-size:17px;
 margin:18px 0; max-width:none; }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(460px,100%),1fr)); gap:18px; }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:14px; overflow-x:auto; }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; }
th { text-align:left; font-weight:600; color:var(--soft); font-size:13px; }
td,th { padding:4px 8px 4px 0; white-space:nowrap; font-size:14px; }
td.n, th.n { text-align:right; } tr.rule td { border-top:1px solid var(--line); } tr.front td { font-weight:650; }
td.name { font-weight:600; } .tag { font-size:11px; color:var(--soft); border:1px solid var(--line); border-radius:9px;
 padding:0 7px; font-weight:400; } img { image-rendering:pixelated; display:block; border-radius:3px; background:#888; }
td:first-child, th:first-child { position:sticky; left:0; background:var(--card); padding-right:14px; z-index:1; }
tbody tr:hover td { background:var(--mark); }
.card h2 { margin-top:0; } .plain { font-weight:400; } .told { display:block; margin-top:4px;
 font-size:12px; color:var(--soft); font-weight:400; }
.chips { display:flex; flex-wrap:wrap; gap:6px 10px; align-items:baseline; margin:10px 0 24px; }
.chip { background:var(--card); border:1px solid var(--line); border-radius:14px; padding:1px 11px;
 white-space:nowrap; }
svg { width:100%; min-width:400px; height:auto; display:block; }
@media (max-width:600px) { main { padding:20px 14px 48px; } h1 { font-size:22px; } }
@media print { main { max-width:none; padding:0; } .card { overflow:visible; } svg,tr { break-inside:avoid; }
 .card:has(table) { width:max-content; min-width:100%; } }
svg text { fill:var(--soft); font:12px system-ui,sans-serif; } svg .grid { stroke:var(--line); }
svg .label { font-weight:600; }
"""


def page(title: str, body: str) -> str:
    """A whole HTML document; what of a name cannot be written becomes a question mark."""
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )
    return text.encode("utf-8", "replace").decode()  # names of files are any bytes


def picture(tensor: Tensor, width: int, title: str = "") -> str:
    """One picture (channels, height, width) in [-1, 1] as an element, shown `width` pixels wide."""
    return embedded(images.to_pil(shown(tensor[None]))[0], width, title)


def shown(tensors: Tensor) -> Tensor:
    """Pictures of 1 or 3 channels as they are; others, such as latents, by their first channel."""
    return tensors if tensors.shape[1] in (1, 3) else tensors[:, :1]


def strip(tensors: Tensor) -> Image.Image:
    """The first four pictures side by side."""
    return images.grid(images.to_pil(shown(tensors[:4])), columns=4, gap=1)


def embedded(image: Image.Image, width: int, title: str) -> str:
    """A PIL picture as an element, shown `width` pixels wide."""
    data, words = base64.b64encode(images.png_bytes(image)).decode(), html.escape(title)
    height = round(width * image.height / image.width)
    return f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{words}" title="{words}">'


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], left: int = 1) -> str:
    """A table. rows: a class and the cells' HTML; all but the first `left` columns are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="{"name" if place < left else "n"}">{cell}</{tag}>'
            for place, cell in enumerate(cells)
        )

    body = "".join(f'<tr class="{name}">{line(cells, "td")}</tr>\n' for name, cells in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>\n{body}</tbody></table>"
