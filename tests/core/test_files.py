"""Files are there whole or not at all, whatever ends the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from polysense.core import files
from polysense.core.files import replacing, replacing_folder, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_halfway(path: Path, *, is_folder: bool = False) -> None:
    def write() -> None:
        with (replacing_folder if is_folder else replacing)(path) as part:
            (part / "new.txt" if is_folder else part).write_text("ne")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write()


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "été\r\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "été\r\n".encode()
    assert names(tmp_path / "a") == ["b.txt"]


def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    fail_halfway(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        events.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        sync(descriptor)

    def noted_replace(source: Path, target: Path) -> Path:
        events.append("rename")
        return replace(source, target)

    monkeypatch.setattr(files.os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_text(tmp_path / "a.txt", "1")
    write_text(tmp_path / "a.txt", "2", durable=False)
    assert events[:3] == (["file", "rename", "folder"] if sys.platform == "linux" else ["file", "rename", "file"])
    assert events[3:] == ["rename"]


def test_a_message_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "file" / "a.txt", "x")
    assert ".part" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "folder", "x")
    assert caught.value.filename == str(tmp_path / "folder")
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / ("n" * 300), "x")
    assert ".part" not in str(caught.value)


def test_a_name_of_any_length_that_the_disk_takes_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "x")
    assert names(tmp_path) == ["n" * 255]


def test_permissions_are_the_older_files_or_the_umasks(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as part:
        part.write_text("x")
        part.chmod(0o600)  # as safetensors does
    (tmp_path / "b.txt").touch()
    assert path.stat().st_mode == (tmp_path / "b.txt").stat().st_mode
    path.chmod(0o640)
    write_text(path, "y")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_links_target_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    write_text(tmp_path / "there" / "a.txt", "old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "there" / "a.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there" / "a.txt").read_text() == "new"


def test_a_pipe_is_written_to() -> None:
    program = "from pathlib import Path; from polysense.core.files import write_text; write_text(Path(%r), 'text')"
    for name in ("/dev/stdout", "/dev/fd/1"):
        done = subprocess.run([sys.executable, "-c", program % name], capture_output=True, check=True, text=True)
        assert done.stdout == "text"


def test_writers_of_one_file_never_mix(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.txt", [str(digit) * 50_000 for digit in range(4)]
    write_text(path, texts[0])
    done = threading.Event()

    def write(text: str) -> None:
        while not done.is_set():
            write_text(path, text, durable=False)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    seen = {path.read_text() for _ in range(200)}
    done.set()
    for thread in threads:
        thread.join()
    assert seen <= set(texts)
    assert names(tmp_path) == ["a.txt"]


def test_a_killed_writer_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = (
        "import sys, time; from pathlib import Path; from polysense.core.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert path.read_text() == "old"
    (left,) = [entry for entry in tmp_path.iterdir() if entry != path]
    # It is removed by a later process, but only when it is surely no living writer's.
    files._swept.discard(tmp_path.resolve())
    write_text(path, "new")
    assert left.exists()
    os.utime(left, (time.time() - 7200,) * 2)
    files._swept.discard(tmp_path.resolve())
    write_text(path, "new")
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_the_older_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "parts"
    with replacing_folder(folder) as part:
        write_text(part / "below" / "old.txt", "old")
    assert names(folder) == ["below"]
    fail_halfway(folder, is_folder=True)
    assert names(folder) == ["below"]
    with replacing_folder(folder) as part:
        write_bytes(part / "new.txt", b"new")
    assert names(folder) == ["new.txt"]
    assert names(tmp_path / "a") == ["parts"]


def test_a_text_that_utf8_cannot_hold_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / "name", "table: \udcd1\udc86.csv\n")
    assert (tmp_path / "name").read_text(encoding="utf-8") == "table: ц.csv\n", "as the system has it"
    write_text(tmp_path / "half", "cut \ud83d, whole \ud83d\ude00")
    assert (tmp_path / "half").read_text(encoding="utf-8") == "cut \ufffd, whole \U0001f600"
