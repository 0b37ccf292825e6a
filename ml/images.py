"""Figures as pictures inside a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Image:
    """A figure as a PNG in base64, with words for those who do not see it."""

    png: str
    alt: str


def image(figure: Figure, alt: str) -> Image:
    """Draw a figure."""
    return Image(_png(figure), alt)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
