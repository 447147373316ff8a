"""Writes the recipes in examples/, as `polysense new` gives them: python scripts/make_examples.py DATA [NAME ...]

DATA is a folder of public data sets, by name (avdigits, coco_captions, ...). Tables that are made of others, or of
nothing, come from benchmarks/tables.py. A recipe is written for a table of any place: data.table is null in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polysense
from polysense.cli.commands.train import parse_columns

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A recipe and the table that it is for.

    Attributes:
        source: The table, relative to the folder of data sets; None if it is generated.
        target: What is predicted.
        columns: `-c` options.
        made: What benchmarks/tables.py does with the source, or what it generates; empty if the source is taken as it
            is.
        table: The made table's name.
    """

    source: str | None
    target: str
    columns: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    table: str = ""

    @property
    def name(self) -> str:
        """The table's own name, which the recipe's first lines use."""
        return self.table or Path(self.source or "").name

    def make(self, data: Path | None, folder: Path, *, num_rows: int | None = None) -> Path:
        """The table, made in `folder` if it has to be made.

        Args:
            data: The folder of data sets; not needed if the table is generated.
            folder: For a table that is made.
            num_rows: Fewer rows than usual of a generated table.
        """
        if self.source is not None:
            assert data is not None, "this table is no generated one"
            if not self.made:
                return data / self.source
            _tables().main([*self.made, str(data / self.source), str(folder / self.table)])
        else:
            rows = [] if num_rows is None else ["--rows", str(num_rows)]
            _tables().main([*self.made, str(folder), *rows])
        return folder / self.table

    def text(self, table: Path) -> str:
        """The recipe's text.

        Args:
            table: The table.
        """
        # What a machine has at hand is no part of an example.
        found = polysense.new(table, self.target, columns=parse_columns(self.columns), pretrained="off")
        found = re.sub(r"^  table: .*", "  table: null", found, count=1, flags=re.MULTILINE)
        lines = [f"# Written by: polysense new {self.name} --target {self.target}{self._options()}"]
        if self.made:
            source = [] if self.source is None else [f"PATH/TO/{Path(self.source).name}"]
            output = [self.table] if self.source is not None else ["FOLDER"]
            lines.append(f"# Its table:  python benchmarks/tables.py {' '.join([*self.made, *source, *output])}")
        lines.append(f"# Train it:   polysense train THIS_FILE data.table=PATH/TO/{self.name} -o RUN")
        return re.sub(r"^# Train it:.*", "\n".join(lines), found, count=1, flags=re.MULTILINE)

    def _options(self) -> str:
        return "".join(f" -c {column}" for column in self.columns) + " --pretrained off"


def _ignored(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}=ignored" for name in names)


EXAMPLES = {
    "avdigits": Example(source="avdigits/data.csv", target="label", columns=_ignored("image", "speaker")),
    "avdigits_pictures": Example(
        source="avdigits/data.csv",
        target="image",
        columns=("label=category", *_ignored("image_deg", "audio", "speaker", "recording_index")),
    ),
    "coco_captions": Example(
        source="coco_captions/data.jsonl", target="captions", columns=_ignored("image_id", "image_licence", "objects")
    ),
    "covid_cxr": Example(
        source="covid_cxr/data.csv",
        target="label_covid",
        columns=_ignored(
            "notes", "location", "view", "image_licence", "survival", "went_icu", "intubated"
        ),
    ),
    "digit_words": Example(
        source="avdigits/data.csv",
        target="transcript",
        columns=("transcript=generation", *_ignored("speaker")),
        made=("words",),
        table="words.csv",
    ),
    "easy_vqa": Example(
        source="easy_vqa/data.jsonl", target="answer", columns=("answer=generation", *_ignored("kind"))
    ),
    "emoji": Example(
        source="emoji/data.jsonl", target="group", columns=_ignored("emoji", "family", "caption")
    ),
    "emoji_names": Example(
        source="emoji/data.jsonl",
        target="name",
        columns=(
            "name=generation",
            *_ignored("keywords", "group", "style", "emoji", "family", "caption"),
        ),
    ),
    "emoji_pictures": Example(
        source="emoji/data.jsonl",
        target="image",
        columns=_ignored("keywords", "group", "emoji", "family", "caption"),
    ),
    "grid_av": Example(
        source="grid_av/data.jsonl",
        target="text",
        columns=_ignored(
            "clip", "command", "colour", "preposition", "letter", "digit", "adverb", "n_frames", "seconds"
        ),
    ),
    "grid_lips": Example(
        source="grid_av/data.jsonl",
        target="text",
        columns=_ignored(
            "audio", "command", "colour", "preposition", "letter", "digit", "adverb", "n_frames", "seconds"
        ),
    ),
    "grocery": Example(source="grocery/data.csv", target="label"),
    "meld": Example(
        source="meld/data.jsonl",
        target="emotion",
        columns=_ignored("sentiment", "season", "episode", "start", "end"),
    ),
    "meld_context": Example(
        source="meld/data.jsonl", target="emotion", made=("dialogue",), table="dialogue.jsonl"
    ),
    "meld_replies": Example(
        source="meld/data.jsonl",
        target="text",
        columns=_ignored("emotion"),
        made=("dialogue",),
        table="dialogue.jsonl",
    ),
    "service": Example(source=None, target="reply", made=("service",), table="service.csv"),
    "spoken_numbers": Example(source=None, target="greek", made=("spoken-numbers",), table="spoken_numbers.csv"),
}  # fmt: skip


def _tables():  # type: ignore[no-untyped-def]
    sys.path.insert(0, str(ROOT / "benchmarks"))  # its toys lie beside it
    spec = importlib.util.spec_from_file_location("example_tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, if none is named: {', '.join(EXAMPLES)}")
    requested = parser.parse_args(arguments)
    for name in requested.names or EXAMPLES:
        example = EXAMPLES[name]
        with tempfile.TemporaryDirectory() as folder:
            text = example.text(example.make(requested.data, Path(folder)))
        (ROOT / "examples" / f"{name}.yaml").write_text(text, encoding="utf-8")
        print(f"wrote examples/{name}.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
