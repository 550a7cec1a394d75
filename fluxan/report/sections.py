"""Parts that the HTML pages share: a plot with its heading and caption, and a marked sentence."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .figures import Plot
    from .verdicts import Verdict


def section(plot: Plot, figure: Figure) -> str:
    """HTML of a plot with its title and caption; `plot.description` is read out in place of the image."""
    return (
        f'<figure id="{plot.name}"><h2>{escape(plot.title)}</h2>'
        f'<div class="plot" style="max-width:{plot.width:.0%}" role="img" '
        f'aria-label="{escape(plot.description or plot.title)}">'
        f"{svg(figure, plot.name)}</div><figcaption>{plot.caption}</figcaption></figure>"
    )


def marked(verdict: Verdict) -> str:
    """HTML list item of a sentence, with a mark that does not depend on colour."""
    mark, kind, word = ("✓", "good", "fine") if verdict.good else ("⚠", "bad", "warning")
    label = f'<span class="mark" role="img" aria-label="{word}">{mark}</span>'
    return f'<li class="{kind}">{label}{escape(verdict.text)}</li>'


def svg(figure: Figure, name: str) -> str:
    """SVG without the XML declaration; identifiers contain the plot's name, which keeps them unique in the page."""
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.id": name, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
