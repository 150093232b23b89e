"""A table of texts as a figure."""

import pandas as pd
from matplotlib.figure import Figure

from conceptlab.views.style import plain

LINE, LETTER, MARGIN = 0.22, 0.075, 0.15  # inches


def table_figure(table: pd.DataFrame, title: str) -> Figure:
    """A table of texts as a figure; line breaks in its column names stay.

    Args:
        table: without its index; the first column stands at the left, others likewise.
        title: above it.
    """
    heads = [str(c).split("\n") for c in table.columns]
    body = [[str(cell) for cell in row] for row in table.itertuples(index=False)]
    widths = [
        LETTER * max(len(text) for text in [*head, *(row[i] for row in body)]) + MARGIN
        for i, head in enumerate(heads)
    ]
    above = 1 + max(map(len, heads))
    size = (max(sum(widths), LETTER * len(title)) + 2 * MARGIN, LINE * (above + len(body) + 1))
    figure = Figure(figsize=size)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(0, size[0])
    ax.set_ylim(size[1] / LINE, 0)
    ax.text(MARGIN, 0.6, plain(title), fontsize=9, va="center")
    for i, head in enumerate(heads):
        left = MARGIN + sum(widths[:i])
        for place, text in enumerate(head):
            ax.text(left, place + above - len(head) + 0.6, plain(text), fontsize=8.5,
                    va="center", fontweight="bold")  # fmt: skip
        for place, row in enumerate(body):
            ax.text(left, above + place + 0.7, plain(row[i]), fontsize=8.5, va="center")
    for height in (1.1, above + 0.15, above + len(body) + 0.3):
        ax.plot([MARGIN, size[0] - MARGIN], [height] * 2, color="black", linewidth=0.7)
    return figure
