"""Broken and hostile tables: by hand those that are known to hurt, by chance thousands of damaged ones.

Each is a file's name and content. Sizes are those that made earlier readers run out of memory or time, at a tenth where
the test is bounded.
"""

from __future__ import annotations

import datetime
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["by_chance", "by_hand"]

ROWS = b"x,label\n" + b"".join(b"%d,%c\n" % (i * 7 % 11, b"ab"[i % 2]) for i in range(40))


def by_hand(scale: int = 1) -> Iterator[tuple[str, bytes]]:
    """Tables that are broken on purpose.

    Args:
        scale: By how much the large ones are enlarged; 10 are the sizes that were met.
    """
    yield from _delimited(scale)
    yield from _compressed(scale)
    yield from _json(scale)
    yield from _parquet(scale)
    yield from _arrow(scale)


def _delimited(scale: int) -> Iterator[tuple[str, bytes]]:
    million = 100_000 * scale
    yield "empty.csv", b""
    yield "mark_alone.csv", b"\xef\xbb\xbf"
    yield "utf16_mark_alone.csv", b"\xff\xfe"
    yield "utf32_mark_alone.csv", b"\xff\xfe\x00\x00"
    yield "newlines.csv", b"\n" * million
    yield "returns.csv", b"\r" * million
    yield "spaces.csv", b" " * million
    yield "quotes.csv", b'"' * million
    yield "odd_quotes.csv", b'"' * (million + 1)
    yield "commas.csv", b"," * million
    yield "tabs.tsv", b"\t" * million
    yield "separator_line_alone.csv", b"sep=;"
    yield "separator_line_twice.csv", b"sep=;\nsep=,\n1;2\n"
    yield "header_alone.csv", b"a,b,label"
    yield "header_of_quotes.csv", b'"",""\n1,2\n'
    yield "one_row.csv", b"a,label\n1,x\n"
    yield "nul.csv", b"a,label\n1,\x00\n" * 30
    yield "nul_header.csv", b"a\x00,label\n1,2\n"
    yield "nuls.csv", b"\x00" * 10_000
    yield "end_of_file_mark.csv", ROWS + b"\x1a"
    yield "no_end_of_line.csv", ROWS.rstrip(b"\n")
    yield "quote_never_closed.csv", b'a,label\n"1,2\n' + b"3,4\n" * million
    yield "quote_never_closed.tsv", b'a\tlabel\n"1\t2\n' + b"3\t4\n" * million
    yield "quote_in_the_middle.csv", b'a,label\n1"2"3,x\n' * 30
    yield "wide_row.csv", ROWS + b"1," * 10 * million + b"\n"
    yield "narrow_row.csv", ROWS + b"1\n" + ROWS
    yield "wide_header.csv", b",".join(b"c%d" % i for i in range(million)) + b"\n"
    yield "wide_table.csv", _wide(12_000) * 3
    yield "header_without_names.csv", b"," * 15_000 + b"\n" + b"," * 15_000 + b"\n"
    yield "header_of_one_name.csv", b"a," * 15_000 + b"a\n" + b"1," * 15_000 + b"1\n"
    yield "long_name.csv", b"a" * million * 10 + b",label\n1,2\n"
    yield "long_cell.csv", b"a,label\n" + b"x" * 2_000_000 * scale + b",1\n2,2\n"
    yield "long_number.csv", b"a,label\n" + b"9" * million + b",1\n2,2\n" * 30
    yield "long_list.csv", b'a,label\n"[' + b"1," * million + b'1]",1\n2,2\n'
    yield "deep_list.csv", b'a,label\n"' + b"[" * million + b"]" * million + b'",1\n2,2\n'
    yield "mixed_line_ends.csv", b"a,label\r\n1,x\n2,y\r3,x\r\n4,y\n\r5,x\n" * 9
    yield "latin1.csv", "größe,label\nä,x\nö,y\n".encode("latin-1") * 20
    yield "no_encoding.csv", b"a,label\n\x81\x8d\x8f,1\n" * 20
    yield "cut_character.csv", ROWS + "1,ä".encode()[:-1]
    yield "surrogates_in_utf8.csv", b"a,label\n\xed\xa0\xbd,1\n" * 20
    yield "utf16.csv", ROWS.decode().encode("utf-16")
    yield "utf16_odd.csv", ROWS.decode().encode("utf-16") + b"\x00"
    yield "utf16_lone_surrogate.csv", ROWS.decode().encode("utf-16") + b"\x3d\xd8\x2c\x00\x31\x00\x0a\x00"
    yield "utf16_without_mark.csv", ROWS.decode().encode("utf-16-be")
    yield "utf32.csv", ROWS.decode().encode("utf-32")
    yield "utf32_beyond.csv", b"\xff\xfe\x00\x00" + b"\xff\xff\xff\x7f" * 50
    yield "mark_in_the_middle.csv", ROWS + b"\xef\xbb\xbf" + ROWS
    yield "control_names.csv", b"a\x1b[31mred\x07,b\x08,label\n1,2,x\n" * 9
    yield "line_in_name.csv", b'"a\nERROR: forged",label\n1,x\n' * 9
    yield "formulas.csv", b'=cmd|"/c calc"!A1,label\n@SUM(1),x\n' * 9
    yield "binary.csv", bytes(range(256)) * 400
    yield "html.csv", b"<!DOCTYPE html><html><body>404, not found</body></html>\n" * 20
    yield "pointer.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 132\n"
    for magic in (
        b"PK\x03\x04",
        b"\xd0\xcf\x11\xe0",
        b"BZh91AY",
        b"\xfd7zXZ\x00",
        b"\x28\xb5\x2f\xfd",
        b"7z\xbc\xaf'\x1c",
    ):
        yield f"archive_{magic[:2].hex()}.csv", magic + bytes(random.Random(0).randbytes(2_000))


def _wide(columns: int) -> bytes:
    return b",".join(b"c%d" % i for i in range(columns)) + b"\n"


def _compressed(scale: int) -> Iterator[tuple[str, bytes]]:
    size = 40_000_000 * scale
    yield "bomb_of_one_cell.csv.gz", _bomb(b"a,label\n", b"x", size)
    yield "bomb_of_rows.csv.gz", _bomb(b"a,label\n", b"1,2\n" * 64, size)
    yield "bomb_of_blank_rows.csv.gz", _bomb(b"a\n1\n", b"\n", size)
    yield "bomb_of_commas.csv.gz", _bomb(b"", b",", size)
    yield "bomb_of_nuls.csv.gz", _bomb(b"a,label\n", b"\x00", size)
    yield "bomb_of_lists.json.gz", _bomb(b"[", b"[],", size)
    yield "bomb_of_brackets.json.gz", _bomb(b"", b"[", size)
    yield "bomb_of_objects.json.gz", _bomb(b"[", b"{},", size)
    yield "bomb_of_rows.jsonl.gz", _bomb(b"", b"{}\n", size)
    yield "bomb_of_one_line.jsonl.gz", _bomb(b'{"a": "', b"x", size)
    yield "bomb_of_spaces.jsonl.gz", _bomb(b"", b" ", size)
    whole = gzip.compress(ROWS)
    yield "cut.csv.gz", whole[:-9]
    yield "cut_in_the_header.csv.gz", whole[:5]
    yield "no_gzip.csv.gz", ROWS
    yield "nothing.csv.gz", gzip.compress(b"")
    yield "empty.csv.gz", b""
    yield "twice.csv.gz", gzip.compress(whole)
    yield "two_members.csv.gz", whole + gzip.compress(b"9,a\n")
    yield "rest.csv.gz", whole + b"rest"
    yield "wrong_sum.csv.gz", whole[:-8] + b"\x00" * 8


def _bomb(head: bytes, block: bytes, size: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        file.write(head)
        chunk = block * (1_000_000 // len(block))
        for _ in range(size // len(chunk)):
            file.write(chunk)
    return buffer.getvalue()


def _json(scale: int) -> Iterator[tuple[str, bytes]]:
    million = 100_000 * scale
    rows = [{"x": i * 7 % 11, "label": "ab"[i % 2]} for i in range(40)]
    for text in (
        b"",
        b"null",
        b"1",
        b'"a"',
        b"[]",
        b"{}",
        b"[{}]",
        b"[[]]",
        b"[null]",
        b'{"a": 1}',
        b'{"a": []}',
        b'{"a": [1], "b": [1, 2]}',
        b'{"a": {"b": [1]}}',
        b"[1, 2",
        b"{]",
        b"\x00",
        b"\xff\xfe",
        b"NaN",
    ):
        yield f"odd_{text.hex()[:12]}.json", text
        yield f"odd_{text.hex()[:12]}.jsonl", text
    yield "marked.json", b"\xef\xbb\xbf" + json.dumps(rows).encode()
    yield "utf16.json", json.dumps(rows).encode("utf-16")
    yield "utf16.jsonl", "\n".join(map(json.dumps, rows)).encode("utf-16")
    yield "objects_in_a_row.jsonl", b"".join(json.dumps(row).encode() for row in rows)
    yield "trailing_comma.json", json.dumps(rows).encode()[:-1] + b",]"
    yield "not_finite.json", b'[{"a": NaN, "label": 1}, {"a": Infinity, "label": 2}, {"a": -Infinity, "label": 1}]'
    yield "too_large.json", b'[{"a": 1e999, "label": 1}, {"a": -1e999, "label": 2}]'
    yield "many_digits.json", b'[{"a": ' + b"7" * 10 * million + b', "label": 1}]'
    yield "many_decimals.json", b'[{"a": 0.' + b"7" * 10 * million + b', "label": 1}]'
    yield "many_digits.jsonl", b'{"a": 1, "label": 1}\n{"a": ' + b"7" * 10 * million + b', "label": 1}\n'
    yield "large_whole_numbers.json", b'[{"a": 99999999999999999999999, "label": 1}, {"a": 1, "label": 2}]'
    yield "same_keys.json", b'[{"a": 1, "a": 2}]'
    yield "empty_key.json", b'[{"": 1, "label": 2}, {"": 2, "label": 1}]'
    yield "half_characters.json", b'[{"a\\ud83d": "x\\ud83d", "label": "\\udc00"}, {"label": "b"}]'
    yield "nul_characters.json", b'[{"a\\u0000": "x\\u0000y", "label": "\\u0000"}, {"label": "b"}]'
    yield "controls.json", b'[{"a": "x\ny", "label": 1}]'
    for depth in (50, 64, 66, 200, 900, million):
        for one, other in ((b"[", b"]"), (b'{"a":', b"}")):
            cell = one * depth + b"1" + other * depth
            yield f"deep_{depth}_{len(one)}.json", b'[{"a": ' + cell + b', "label": 1}, {"label": 2}]'
            yield f"deep_{depth}_{len(one)}.jsonl", b'{"a": ' + cell + b', "label": 1}\n{"label": 2}\n'
    yield "keys_of_its_own.jsonl", b"".join(b'{"k%d": 1}\n' % i for i in range(million // 5))
    yield "keys_of_its_own.json", b"[" + b",".join(b'{"k%d": 1}' % i for i in range(million // 5)) + b"]"
    yield "many_keys.jsonl", json.dumps({f"k{i}": i for i in range(million)}).encode() + b"\n{}\n"
    yield "many_rows_of_many_keys.jsonl", json.dumps({f"k{i}": i for i in range(10_000)}).encode() + b"\n{}" * million
    yield "many_columns.json", json.dumps({f"k{i}": [1] for i in range(million)}).encode()
    yield "empty_lists.json", b'[{"a": [' + b"[]," * million + b'[]], "label": 1}]'
    yield "shapes.json", json.dumps([{"a": shape} for shape in ([1], "x", {"b": 1}, [[2]], 3.5, None, True)]).encode()
    yield "structures.json", json.dumps([{"a": {f"k{i}": i}, "label": i % 2} for i in range(2_000)]).encode()
    yield "rows_of_structures.json", json.dumps([{"a": [{f"k{i}": i}], "label": 1} for i in range(500)]).encode()
    yield "cut.json", json.dumps(rows).encode()[:-20]
    yield "cut.jsonl", "\n".join(map(json.dumps, rows)).encode()[:-5]


def _parquet(scale: int) -> Iterator[tuple[str, bytes]]:
    rows = 5_000_000 * scale
    few = rows // 5
    constant = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), few), pa.array(["x" * 100_000]))
    yield "constant_numbers.parquet", _written(pa.table({"a": pa.repeat(1.5, rows)}))
    yield "nulls.parquet", _written(pa.table({"a": pa.nulls(rows, pa.float64()), "label": pa.nulls(rows, pa.string())}))
    yield "no_type.parquet", _written(pa.table({"a": pa.nulls(rows)}))
    yield "one_long_text.parquet", _written(pa.table({"a": constant}))
    wide = pa.table({f"c{i}": pa.nulls(few, pa.int8()) for i in range(40)})
    yield "wide_nulls.parquet", _written(wide)
    yield "one_long_list.parquet", _written(pa.table({"a": pa.array([[0] * few * 2]), "label": [1]}))
    yield "many_columns.parquet", _written(pa.table({f"c{i}": [1] for i in range(2_500 * scale)}))
    yield "no_columns.parquet", _written(pa.table({"a": [1, 2]}).select([]))
    yield "no_rows.parquet", _written(pa.table({"a": pa.array([], pa.int64()), "label": pa.array([], pa.string())}))
    yield "deep.parquet", _written(pa.table({"a": [_nested(90)], "label": [1]}))
    yield "decimals.parquet", _written(pa.table({"a": pa.nulls(few, pa.decimal256(60, 2))}))
    yield "no_parquet.parquet", ROWS
    yield "marks.parquet", b"PAR1PAR1"
    yield "footer_beyond.parquet", b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1"


def _arrow(scale: int) -> Iterator[tuple[str, bytes]]:
    rows = 5_000_000 * scale
    zeros = pa.table({"a": pa.repeat(0, rows)})
    yield "zeros.arrow", _streamed(zeros, "zstd", whole=True)
    yield "zeros_stream.arrow", _streamed(zeros, "zstd", whole=False)
    yield "zeros_lz4.feather", _streamed(zeros, "lz4", whole=True)
    yield "no_type.arrow", _streamed(pa.table({"a": pa.nulls(10**9)}), None, whole=True)
    ends = pa.array([2**31 - 1], pa.int32())
    yield (
        "run.arrow",
        _streamed(pa.table({"a": pa.RunEndEncodedArray.from_arrays(ends, pa.array(["x" * 100]))}), None, whole=True),
    )
    few = rows // 5
    constant = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), few), pa.array(["x" * 100_000]))
    yield "one_long_text.arrow", _streamed(pa.table({"a": constant}), "zstd", whole=True)
    views = pa.ListViewArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), 50_000),
        pa.repeat(pa.scalar(50_000, pa.int32()), 50_000),
        pa.repeat(1, 50_000),
    )
    yield "one_list_in_all_views.arrow", _streamed(pa.table({"a": views}), None, whole=False)
    buffer = io.BytesIO()
    text = pl.Series("a", ["x" * 1_000_000]).new_from_index(0, 5_000)
    text.to_frame().write_ipc(buffer, compat_level=pl.CompatLevel.newest())
    yield "one_text_in_all_views.arrow", buffer.getvalue()
    no_items = pa.table({"a": pa.array([[]] * 10, pa.list_(pa.int8(), 0))})
    yield "lists_of_no_items.arrow", _streamed(no_items, None, whole=True)
    yield "deep.arrow", _streamed(pa.table({"a": [_nested(60)], "label": [1]}), None, whole=True)
    yield (
        "same_names.arrow",
        _streamed(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), None, whole=True),
    )
    yield "no_name.arrow", _streamed(pa.table({"": [1, 2], "label": ["a", "b"]}), None, whole=True)
    yield "no_batches.arrow", _streamed(pa.table({"a": pa.array([], pa.int64())}), None, whole=False)
    yield "feather_1.feather", b"FEA1" + bytes(100) + b"FEA1"
    yield "marks.arrow", b"ARROW1\x00\x00ARROW1"
    yield "no_arrow.arrow", ROWS
    yield "ones.arrow", b"\xff" * 1_000
    yield "empty.arrow", b""


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def _written(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 30)
    return buffer.getvalue()


def _streamed(table: pa.Table, compression: str | None, *, whole: bool) -> bytes:
    buffer = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    make: Callable[..., pa.RecordBatchStreamWriter] = pa.ipc.new_file if whole else pa.ipc.new_stream
    with make(buffer, table.schema, options=options) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def by_chance(number: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Tables of every format with some bytes flipped, set, taken out or put in; reproducible."""
    sources = list(_sound_tables())
    for i in range(number):
        name, content = sources[i % len(sources)]
        yield f"{i}_{name}", _damaged(content, random.Random(f"{seed}/{i}"))


def _sound_tables() -> Iterator[tuple[str, bytes]]:
    rows = 120
    table = pa.table({
        "real": [i / 7 for i in range(rows)],
        "whole": list(range(rows)),
        "text": [f"text {i % 7}, longer than a view's own bytes" for i in range(rows)],
        "kind": pa.array(["ab"[i % 2] for i in range(rows)]).dictionary_encode(),
        "list": [[1, 2, 3][: i % 4] for i in range(rows)],
        "file": [{"bytes": b"12345" * (i % 5), "path": None} for i in range(rows)],
        "day": [datetime.date(2020, 1, 1)] * rows,
        "sparse": [None if i % 3 else 1.5 for i in range(rows)],
        "label": ["ab"[i % 2] for i in range(rows)],
    })  # fmt: skip
    for compression in ("none", "zstd"):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression=compression, row_group_size=50)
        yield f"{compression}.parquet", buffer.getvalue()
        yield f"{compression}.arrow", _streamed(table, None if compression == "none" else compression, whole=True)
        yield f"{compression}.feather", _streamed(table, None if compression == "none" else compression, whole=False)
    plain = [
        {"x": i / 7, "text": f'say "{i}", é', "list": [i, None], "in": {"a": i}, "label": i % 2} for i in range(rows)
    ]
    yield "rows.json", json.dumps(plain, ensure_ascii=False).encode()
    yield "rows.jsonl", "\n".join(map(json.dumps, plain)).encode()
    cells = "".join(f'{i / 7},"say ""{i}"", é",{i % 2}\n' for i in range(rows))
    yield "rows.csv", f"x,text,label\n{cells}".encode()
    yield "rows.csv.gz", gzip.compress(f"x,text,label\n{cells}".encode())
    yield "utf16.csv", f"x,text,label\n{cells}".encode("utf-16")


def _damaged(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    zone = chance.random()
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        start = max(0, len(data) - 4_000) if zone < 0.4 else 0
        at = chance.randrange(start, min(len(data), 600) if 0.4 <= zone < 0.6 else len(data))
        match chance.randrange(5):
            case 0 | 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                data[at] = chance.choice([0, 255, 127, 128, 1, ord('"'), ord("\n"), ord("[")])
            case 3:
                del data[at : at + chance.choice([1, 4, 100])]
            case _:
                data[at:at] = chance.randbytes(chance.choice([1, 4, 8]))
    return bytes(data)
