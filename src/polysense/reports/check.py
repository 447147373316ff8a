"""Show what a check of a table found out, without training: columns, classes, splits, unreadable cells, problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len

from polysense.core.sample import Unreadable
from polysense.core.wrapping import shortened, wrapped
from polysense.escaping import joined, preformatted, visible

__all__ = ["Check"]

_NAME_WIDTH = 30
_MOST = 20  # warnings and names that are listed for people


@dataclass(frozen=True, kw_only=True, repr=False)
class Check:
    """The result of a check.

    Attributes:
        table: Its name.
        num_rows: Its rows.
        columns: Per column: name, role, type, missing (share), reason.
        classes: Per classification target its classes' counts.
        splits: Rows in each split.
        unreadable: Cells that can't be read, of the rows tried.
        num_tried: Rows whose cells were tried.
        problems: What would stop training.
        warnings: What training would run with, but should be known.
        cautions: Those of them that the columns' reasons give, by column.
    """

    table: str
    num_rows: int
    columns: list[dict[str, Any]]
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    num_tried: int = 0
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cautions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether training could run."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return {
            "ok": self.ok,
            "table": self.table,
            "num_rows": self.num_rows,
            "columns": self.columns,
            "classes": {name: dict(counts) for name, counts in self.classes.items()},
            "splits": dict(self.splits),
            "unreadable": [cell.as_dict() for cell in self.unreadable],
            "num_tried": self.num_tried,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        verdict = "it can be trained on" if self.ok else f"{len(self.problems)} problems"
        return visible(f"Check({self.table!r}: {self.num_rows:,} rows, {len(self.columns)} columns; {verdict})")

    def _repr_html_(self) -> str:
        return preformatted(self.text())

    def text(self) -> str:
        """For people, in lines of 80 characters."""
        lines = [*wrapped(f"{self.table}: {self.num_rows:,} rows, {len(self.columns)} columns"), ""]
        names = [shortened(column["name"], _NAME_WIDTH) for column in self.columns]
        width = max(map(cell_len, names), default=0)
        for column, name in zip(self.columns, names, strict=True):
            missing = f"{100 * column['missing']:.0f}% missing" if column["missing"] else ""
            kind = column["type"] or ""
            head = f"  {name}{' ' * (width - cell_len(name))}  {column['role']:<8} {kind:<14} {missing}"
            lines.append(head.rstrip())
            reason = column["reason"].removeprefix(f"{column['type'] or column['role']}: ")  # which stands above
            lines += wrapped(reason, indent="      ") if reason else []
        for target, counts in self.classes.items():
            total = sum(counts.values())
            lines += ["", *wrapped(f"Classes of {target}:")]
            listed = sorted(counts.items(), key=lambda pair: -pair[1])
            for name, count in listed[:20]:
                bar = "█" * round(25 * count / total)
                short = shortened(name, _NAME_WIDTH)
                pad = " " * (_NAME_WIDTH - cell_len(short))
                lines.append(f"  {short}{pad} {count:>8,}  {100 * count / total:5.1f}%  {bar}")
            if len(listed) > 20:
                lines.append(f"  ... and {len(listed) - 20} more, down to {listed[-1][1]:,} rows")
        if self.splits:
            lines += ["", *wrapped("Split: " + ", ".join(f"{count:,} {name}" for name, count in self.splits.items()))]
        if self.num_tried:
            lines += ["", f"Unreadable cells in the {self.num_tried:,} rows tried: {len(self.unreadable)}"]
            lines += [line for cell in self.unreadable[:20] for line in wrapped(str(cell), indent="  ", hanging="    ")]
        lines += self._cautions()
        given = {f"{name}: {text}" for name, texts in self.cautions.items() for text in texts}
        warnings = [warning for warning in self.warnings if warning not in given]
        for title, remarks in (("Warning", warnings), ("Problem", list(self.problems))):
            lines += [line for remark in remarks[:_MOST] for line in ("", *wrapped(f"{title}: {remark}"))]
            if len(remarks) > _MOST:
                lines += ["", f"... and {len(remarks) - _MOST:,} more; --json lists all"]
        if self.ok and self.num_tried:
            lines += ["", "Ready to train."]
        return joined(lines)

    def _cautions(self) -> list[str]:
        """Which columns have warnings; these stand in their reasons, so they are not said again."""
        names = [name for name, texts in self.cautions.items() if texts]
        if not names:
            return []
        have = "1 column has a warning" if len(names) == 1 else f"{len(names):,} columns have warnings"
        more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
        return ["", *wrapped(f"Warning: {have}, which the list above gives: {', '.join(names[:_MOST])}{more}")]
