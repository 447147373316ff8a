"""A journal that is cut anywhere, by a kill or a full disk, gives every decision that was confirmed, once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.editor import EditorRequest
from polysense.core.log_file import DurableLog
from polysense.data.editors import ChoiceEditor
from polysense.errors import ConfigError, LockedError
from polysense.workflows.labeling.decisions import Decision, Decisions, line_of, record_of
from polysense.workflows.labeling.store import JOURNAL, JournalHeader, LabelStore, read_header

EDITOR = ChoiceEditor(EditorRequest(target="mood", classes=["good", "bad"]))
HEADER = JournalHeader(target="mood", task="classification", classes=("good", "bad"))


def decision(number: int, **changes: object) -> Decision:
    plain = {"id": f"decision {number}", "key": f"row {number}", "row": number, "kind": "label", "value": "good"}
    return Decision(**{**plain, "annotator": "ann", "time": "2026-01-01T00:00:00.000+00:00", **changes})  # type: ignore[arg-type]


def test_every_cut_of_a_journal_gives_the_decisions_that_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polysense.core.log_file.os.fsync", lambda descriptor: None)  # a thousand would take seconds
    with LabelStore.opened(tmp_path / "whole", HEADER, EDITOR) as store:
        for number in range(3):
            store.append(decision(number, value="bad" if number else "good", annotator="Zoë \u202e"))
    content = (tmp_path / "whole" / JOURNAL).read_bytes()
    ends = [at for at, byte in enumerate(content) if byte == ord("\n")]
    folder = tmp_path / "cut"
    folder.mkdir()
    for cut in range(len(content) + 1):
        (folder / JOURNAL).write_bytes(content[:cut])
        with LabelStore.opened(folder, HEADER, EDITOR) as store:
            confirmed = max(0, sum(end < cut for end in ends) - 1)
            assert [each.row for each in store.decisions.records] == list(range(confirmed)), cut
            assert store.num_damaged == 0
            store.append(decision(9))
        assert [each.row for each in LabelStore.read(folder, HEADER, EDITOR).decisions.records] == [
            *range(confirmed),
            9,
        ]


def test_a_decision_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    with LabelStore.opened(tmp_path, HEADER, EDITOR) as store:
        assert store.append(decision(1))
        assert not store.append(decision(1, value="bad"))
        size = (tmp_path / JOURNAL).stat().st_size
    with LabelStore.opened(tmp_path, HEADER, EDITOR) as store:
        assert not store.append(decision(1))
    assert (tmp_path / JOURNAL).stat().st_size == size
    assert read_header(tmp_path) == HEADER


def test_a_damaged_line_is_left_alone_and_told(tmp_path: Path) -> None:
    with LabelStore.opened(tmp_path, HEADER, EDITOR) as store:
        for number in range(3):
            store.append(decision(number))
    content = (tmp_path / JOURNAL).read_bytes().replace(b'"row": 1', b'"row": 7')
    (tmp_path / JOURNAL).write_bytes(content)
    with LabelStore.opened(tmp_path, HEADER, EDITOR) as store:
        assert [each.row for each in store.decisions.records] == [0, 2]
        assert store.num_damaged == 1
    assert (tmp_path / JOURNAL).read_bytes() == content


def test_what_a_full_disk_takes_in_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = DurableLog(tmp_path / "log")
    log.recover()
    log.append(b"first")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("polysense.core.log_file.os.fsync", full)
        with pytest.raises(OSError, match="log"):
            log.append(b"second")
    log.append(b"third")
    log.close()
    assert DurableLog.lines(tmp_path / "log") == [b"first", b"third"]


def test_another_target_or_writer_is_refused(tmp_path: Path) -> None:
    with LabelStore.opened(tmp_path, HEADER, EDITOR) as store:
        store.append(decision(1))
        with pytest.raises(LockedError), LabelStore.opened(tmp_path, HEADER, EDITOR):
            pass
    other = JournalHeader(target="weather", task="classification")
    with pytest.raises(ConfigError, match="target 'mood', found 'weather'"), LabelStore.opened(tmp_path, other, EDITOR):
        pass


def test_a_killed_process_loses_nothing_that_it_confirmed(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from polysense.core.log_file import DurableLog\n"
        "log = DurableLog(Path(sys.argv[1]))\n"
        "log.recover()\n"
        "for number in range(10**6):\n"
        "    log.append(b'%d' % number * 50)\n"
        "    os.write(1, b'%d\\n' % number)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(40):
            process.stdout.readline()
        process.kill()
        confirmed = 40 + process.stdout.read().count(b"\n")
    log = DurableLog(tmp_path / "log")
    lines = log.recover()
    log.close()
    assert confirmed <= len(lines) <= confirmed + 1
    assert lines == [b"%d" % number * 50 for number in range(len(lines))]


json_values = st.none() | st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.text(), max_size=3)


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name != "crc"), json_values, max_size=5))
def test_a_line_gives_its_record_back(record: dict[str, object]) -> None:
    line = line_of(record)
    assert b"\n" not in line
    assert record_of(line) == record
    assert record_of(line[:-1]) is None


events = st.lists(
    st.tuples(
        st.sampled_from(["label", "skip", "unsure", "undo", "adjudicate"]),
        st.integers(0, 2),
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["good", "bad"]),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(events)
def test_undoing_everything_leaves_nothing_and_the_order_of_folding_is_the_journals(chosen: list[tuple]) -> None:
    decisions, records = Decisions(EDITOR), []
    for number, (kind, row, annotator, value, again) in enumerate(chosen):
        last = decisions.last(annotator)
        if kind == "undo" and last is None:
            continue
        record = decision(
            number,
            kind=kind,
            annotator=annotator,
            key=f"row {row}" if kind != "undo" else last.key,
            row=row if kind != "undo" else last.row,
            value=value if kind in ("label", "adjudicate") else None,
            undoes=last.id if kind == "undo" else None,
        )
        records += [record] * (1 + again)
        for each in records[-1 - again :]:
            decisions.add(each)
    replayed = Decisions(EDITOR)
    for record in records:
        replayed.add(record)
    for row in range(3):
        assert replayed.outcome(f"row {row}") == decisions.outcome(f"row {row}")
    number = len(chosen)
    for annotator in ("ann", "bob"):
        while (last := decisions.last(annotator)) is not None:
            number += 1
            decisions.add(decision(number, kind="undo", key=last.key, annotator=annotator, value=None, undoes=last.id))
    assert all(decisions.outcome(f"row {row}").state == "open" for row in range(3))
    assert list(decisions.keys) == []
