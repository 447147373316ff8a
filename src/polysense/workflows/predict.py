"""Predictions of a trained model: whole tables, and texts piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from polysense.bundle import Bundle, as_bundle
from polysense.data.exporting import exporters_of, opened_exports
from polysense.data.tables.predictions import Predictions
from polysense.nn.decoding.options import DecodingOptions
from polysense.workflows.stored_features import stored_of
from polysense.workflows.table_split import part_of

__all__ = ["predict", "stream"]


def predict(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    root: str | Path | None = None,
    decoding: DecodingOptions | None = None,
    keep: str | Sequence[str] = (),
    split: str | None = None,
    block_size: int | None = None,
    exact: bool | None = None,
    exports: Mapping[str | Path, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Predicts every row of a table, in order, or those of one part.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        root: The folder that media paths are relative to; by default the table's own.
        decoding: Another way to write texts than the recipe's: a type (`"beam"`), keys (`{"type": "sample", "top_p":
            0.9}`), or overrides (`["decoding.beam_size=8"]`). Overrides also set what heads let be changed after
            training: `["head.guidance=3"]`.
        keep: A column of the table, or several, that stand beside the predictions as they are; the model need not read
            them. The row's number in the table, from 0, stands there anyway, as `row`.
        split: Only the rows of one part, as the model's recipe splits the table: "test", "validation" or "train". By
            default, and with "all", all rows.
        block_size: Rows that are computed together, if not as many as the bundle says: 1, or a multiple of 32.
        exact: Whether neighbors must not change a row's last bits, if not as the bundle says.
        exports: Predictions in other formats beside, per path a type of exporter or its keys: `{"results.json":
            "coco", "pictures": {"type": "drawn_boxes", "target": "objects"}}`. Each is written whole or not at all.
        progress: Called with the rows that are done and the rows there are.

    Raises:
        UserError: The bundle or the table can't be read, or there is no such column, part, decoding, block or exporter.
    """
    loaded = as_bundle(bundle).with_blocks(block_size=block_size, exact=exact)
    kept = [keep] if isinstance(keep, str) else keep
    if split is not None:
        source, root = part_of(loaded, loaded.read(source, root=root, also=kept), split), None
    if isinstance(bundle, (str, Path)):  # what is loaded anew, for a whole table; nothing is added to the store
        loaded.stored = stored_of(loaded)
    sources = {name: column.source for name, column in loaded.processor.columns.items()}
    with opened_exports(exporters_of(exports or {}, loaded.schema), sources) as opened:
        loaded = replace(loaded, exports=opened) if opened else loaded
        return loaded.predict(source, root=root, decoding=decoding, keep=kept, progress=progress)


def stream(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    root: str | Path | None = None,
    target: str | None = None,
    decoding: DecodingOptions | None = None,
    block_size: int | None = None,
    exact: bool | None = None,
) -> Iterator[Iterator[str]]:
    """Writes every row's text, piece by piece: of each row an iterator, whose pieces make what `predict` gives.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        root: The folder that media paths are relative to; by default the table's own.
        target: Which text, where the model writes several.
        decoding: As in `predict`.
        block_size: As in `predict`.
        exact: As in `predict`.

    Raises:
        UserError: The bundle or the table can't be read, no text is written, or there is no such decoding or block.
    """
    loaded = as_bundle(bundle).with_decoding(decoding).with_blocks(block_size=block_size, exact=exact)
    name, table = loaded.streamed(target), loaded.dataset(source, root=root).table  # filled once, for all rows
    return (loaded.stream(table, row=row, target=name) for row in range(len(table)))
