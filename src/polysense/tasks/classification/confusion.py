"""The confusion matrix on the page: a heat map for few classes, the most confused pairs for many."""

from __future__ import annotations

import numpy as np

from polysense.core.schema import Target
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.page import table, text, track

__all__ = ["confusion_section"]

_MAX_MATRIX = 20


def confusion_section(target: Target, counts: np.ndarray) -> str:
    """Which class is taken for which."""
    totals = counts.sum(axis=1)
    title = f"<section><h2>{text(target.name)}: what is taken for what?</h2>"
    if len(target.classes) > _MAX_MATRIX:
        off = counts.copy()
        np.fill_diagonal(off, 0)
        order = [int(i) for i in np.argsort(-off, axis=None, kind="stable")[:20] if off.flat[i] > 0]
        rows = []
        for i in order:
            true, predicted = divmod(i, len(target.classes))
            share = Interval(counts[true, predicted] / totals[true])
            bar = track(share, (0.0, 1.0), kind="bad", label=f"{100 * share.value:.0f}%")
            cells = [text(target.classes[predicted]), bar, f"{off[true, predicted]:,} of {totals[true]:,}"]
            rows.append([text(target.classes[true]), *cells])
        note = f"The most frequent confusions among {len(target.classes)} classes."
        body = table(["is", "was taken for", "share of its rows", ""], rows, classes=["", "", "track", "n"])
        return (
            f'{title}<p class="mute small">{note}</p>{body if rows else "<p>No row was misclassified.</p>"}</section>'
        )
    long = any(len(name) > 4 for name in target.classes)
    heads = "".join(
        f'<th scope="col" title="{text(name)}"{" class=long" if long else ""}><span>{text(name)}</span></th>'
        for name in target.classes
    )
    body = ""
    for i, name in enumerate(target.classes):
        row = ""
        for j, other in enumerate(target.classes):
            part = counts[i, j] / totals[i] if totals[i] else 0.0
            # White on the strong colours, ink on the weak ones: at 0.55 both have a contrast above 4.5.
            kinds = " ".join(kind for kind, on in (("on", part > 0.55), ("miss", i != j)) if on)
            shown = f"{100 * part:.0f}" if counts[i, j] else ""
            tip = f"{counts[i, j]:,} of {totals[i]:,} {text(name)} taken for {text(other)}"
            row += f'<td class="{kinds}" style="--p:{part:.3f}" title="{tip}">{shown}</td>'
        body += (
            f'<tr><th scope="row" title="{text(name)}">{text(name)}</th>{row}<td class="rows">{totals[i]:,}</td></tr>'
        )
    note = "Rows are the true classes, columns the predicted ones; percent of the row. The last column counts its rows."
    return (
        f'{title}<p class="mute small">{note}</p><table class="matrix"><thead><tr><td class="rows"></td>{heads}'
        f'<th scope="col">rows</th></tr></thead><tbody>{body}</tbody></table></section>'
    )
