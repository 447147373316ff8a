"""Tables in which each group (a speaker, a patient, a site) is the test once, and the next one the validation.

One unseen group is a hard and variable test: whether it resembles the others decides more than the model does. The mean
over all of them is the figure to trust.

    python benchmarks/rotate_groups.py TABLE.csv COLUMN OUT      # OUT/GROUP.csv, with a column `split`
    polysense train RECIPE data.table=OUT/GROUP.csv data.root=FOLDER_OF_THE_TABLE ...
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path


def rotate(table: Path, column: str, output: Path) -> list[Path]:
    """Writes a table per group; the split column of the original, if any, is replaced."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    groups = sorted({row[column] for row in rows})
    output.mkdir(parents=True, exist_ok=True)
    generated = []
    for position, test in enumerate(groups):
        validation = groups[(position + 1) % len(groups)]
        path = output / f"{test}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*(name for name in rows[0] if name != "split"), "split"])
            writer.writeheader()
            for row in rows:
                split = {test: "test", validation: "validation"}.get(row[column], "train")
                writer.writerow({**row, "split": split})
        generated.append(path)
    return generated


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("column")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    for generated in rotate(arguments.table, arguments.column, arguments.output):
        print(generated)
