"""One HTML page with a card for each of several heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from gen3dface.viewer.page import data_uri, static_text

GALLERY_MARK = b'<meta name="generator" content="gen3dface">'  # tells our page from someone else's index.html


@dataclass(frozen=True)
class Card:
    """A head, or a photo that gave none: then without link and picture."""

    title: str
    note: str
    link: str | None = None
    jpeg: bytes | None = None


def gallery_page(cards: Sequence[Card]) -> str:
    """The HTML text; links are relative, so the page moves with the folders beside it."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{GALLERY_MARK.decode()}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Heads</title>
<style>{static_text("page.css")}</style>
</head>
<body>
<header><h1>Heads</h1><p class="facts">{_count(cards)}</p></header>
<main><div class="cards">{"".join(map(_card, cards))}</div></main>
</body>
</html>
"""


def _count(cards: Sequence[Card]) -> str:
    failed = sum(card.link is None for card in cards)
    return f"{len(cards) - failed} made" + (f", {failed} failed" if failed else "")


def _card(card: Card) -> str:
    text = f"<p>{escape(card.title)}<small>{escape(card.note)}</small></p>"
    if card.link is None or card.jpeg is None:
        return f'<div class="card failed">{text}</div>'
    picture = f'<img src="{data_uri("image/jpeg", card.jpeg)}" alt="">'
    return f'<a class="card" href="{escape(card.link)}">{picture}{text}</a>'
