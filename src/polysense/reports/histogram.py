"""Draw a histogram as SVG, by the elements that all charts are made of."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from polysense.reports.charts import tag

__all__ = ["histogram"]

_WIDTH, _HEIGHT = 240, 48


def histogram(counts: Sequence[int], *, label: str) -> Markup:
    """Bars for the numbers of values in stretches of equal width.

    Args:
        counts: Of each stretch.
        label: What a screen reader says.
    """
    top, step = max(max(counts, default=0), 1), _WIDTH / max(len(counts), 1)
    bars = [
        tag(
            "rect",
            tag("title", f"{count:,}"),
            class_="bar model",
            x=round(i * step, 1),
            y=round(_HEIGHT * (1 - count / top), 1),
            width=round(max(step - 1, 0.5), 1),
            height=round(_HEIGHT * count / top, 1),
        )
        for i, count in enumerate(counts)
    ]
    base = tag("line", class_="grid", x1=0, x2=_WIDTH, y1=_HEIGHT, y2=_HEIGHT)
    box = f"0 0 {_WIDTH} {_HEIGHT + 1}"
    return tag("svg", *bars, base, class_="histogram", viewBox=box, role="img", aria_label=label)
