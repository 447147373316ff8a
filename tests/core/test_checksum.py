"""Files that are not what they were are named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from polysense.core.checksum import damages, file_checksum, folder_checksums, is_own_checksum, with_own_checksum
from polysense.core.json import read_json, write_json
from polysense.core.tensor_file import save_tensors, tensors_digest, unshared


def test_every_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("a.txt", "below/b.txt", "below/c.txt"):
        (tmp_path / name).write_text(name)
    checksums = folder_checksums(tmp_path)
    assert checksums["a.txt"] == hashlib.sha256(b"a.txt").hexdigest() == file_checksum(tmp_path / "a.txt")
    assert list(damages(tmp_path, checksums)) == []
    (tmp_path / "a.txt").write_text("b.txt")
    (tmp_path / "below/c.txt").unlink()
    first, second = damages(tmp_path, checksums)
    assert first.startswith("a.txt is not the file that was saved (SHA-256 ")
    assert second == "below/c.txt can't be read (No such file or directory)"


def test_the_digest_tells_names_types_shapes_and_values_apart() -> None:
    value = torch.arange(6, dtype=torch.int32)
    variants = [
        {"a": value}, {"b": value}, {"a": value.view(2, 3)}, {"a": value.view(torch.float32)}, {"a": value + 1},
        {"a": value, "c": value[:0]},
    ]  # fmt: skip
    assert len({tensors_digest(variant) for variant in variants}) == len(variants)
    assert tensors_digest({"a": value}) == tensors_digest({"a": value.clone()}) != tensors_digest({"a": value}, "text")


def test_tied_weights_become_copies_and_nothing_else_does(tmp_path: Path) -> None:
    tied, own, empty = torch.randn(4, 3), torch.randn(2), torch.empty(0)
    plain = unshared({"one": tied, "own": own, "two": tied, "row": tied[1], "empty": empty, "nothing": empty})
    assert plain["own"].data_ptr() == own.data_ptr()
    assert plain["one"].data_ptr() == tied.data_ptr()
    assert {plain[name].data_ptr() != tied.data_ptr() for name in ("two", "row")} == {True}
    save_tensors(tmp_path / "a.safetensors", plain)  # which refuses shared memory


# A file's name as a system without UTF-8 has it, one whose bytes are no UTF-8, half a character, and both at once.
@pytest.mark.parametrize("name", ["цены", "\udcd1\udc86.csv", "\udcff.csv", "\ud83d", "\udcff\ud83d"])
def test_a_file_that_holds_its_own_checksum_is_known_again(name: str, tmp_path: Path) -> None:
    facts = {"table": name, "values": [1, 0.1, None, {"b": True, "a": "x"}]}
    write_json(tmp_path / "a.json", with_own_checksum(facts))
    result = read_json(tmp_path / "a.json", dict)
    assert is_own_checksum(result)
    assert not is_own_checksum(result | {"values": [1, 0.1, None, {"b": True, "a": "y"}]})
    assert is_own_checksum(with_own_checksum(result | {"values": []}))
    assert is_own_checksum(facts) is None
