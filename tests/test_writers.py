"""Every file that polysense writes is whole or not there: no module writes but through `core.files`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "polysense"

# The writer itself; a log that grows, a lock, and streams of the terminal, which are no such files.
OWN = {"core/files.py", "core/log_file.py", "core/lock.py", "cli/console.py"}

# Methods and functions that write a file, by name; the file is the first argument, or what they are a method of.
OF_PATHS = {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "link_to"}
WRITERS = {
    "write_csv", "write_parquet", "write_ipc", "write_ndjson", "write_avro", "write_excel", "sink_csv", "sink_parquet",
    "sink_ipc", "sink_ndjson", "to_csv", "to_parquet", "to_pickle", "to_feather", "to_excel", "savez",
    "savez_compressed", "savetxt", "tofile", "save_file", "copyfile", "copy2", "copyfileobj", "copytree", "write_table",
    "imsave",
}  # fmt: skip
OF_MODULES = {
    "np.save", "numpy.save", "torch.save", "soundfile.write", "pickle.dump", "json.dump", "shutil.copy", "shutil.move",
    "os.write",
}  # fmt: skip
OPENERS = {"open", "fdopen"}
# What a file that is written may be: inside of `replacing`, or in memory.
BINDERS = {"replacing", "replacing_folder", "frame_file"}  # the last one asks the first
IN_MEMORY = {"BytesIO", "StringIO"}


def root(node: ast.expr) -> str:
    """The name that an expression starts from: `part` of `part / "a"`, of `part.x` and of `str(part)`."""
    match node:
        case ast.Name():
            return node.id
        case ast.BinOp():
            return root(node.left)
        case ast.Attribute() | ast.Subscript():
            return root(node.value)
        case ast.Call(func=ast.Attribute(value=file)) if all(isinstance(value, ast.Constant) for value in node.args):
            return root(file)
        case ast.Call() if node.args:
            return root(node.args[0])
    return ""


def name_of(call: ast.Call) -> tuple[str, str]:
    """`write_text` and `path.write_text`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr, ast.unparse(call.func)
    return ast.unparse(call.func), ast.unparse(call.func)


def safe_names(function: ast.AST) -> set[str]:
    """Names that stand for a part that `replacing` puts in place, or for a file in memory."""
    names = {
        argument.arg
        for node in ast.walk(function) if isinstance(node, (ast.FunctionDef, ast.Lambda))
        for argument in node.args.args if argument.arg == "part"
    }  # fmt: skip
    for _ in range(2):  # a stream of a part is opened by another `with`
        for node in ast.walk(function):
            if isinstance(node, ast.withitem) and isinstance(node.context_expr, ast.Call) and node.optional_vars:
                name, _whole = name_of(node.context_expr)
                if name in BINDERS | IN_MEMORY or (name in OPENERS and root(node.context_expr) in names):
                    names.add(root(node.optional_vars))
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if name_of(node.value)[0] in IN_MEMORY:
                    names |= {root(target) for target in targets}
    return names


def mode_of(call: ast.Call, *, is_method: bool) -> str:
    """How a file is opened; os.open by its flags."""
    whole = name_of(call)[1]
    if whole == "os.open":
        flags = ast.unparse(call.args[1])
        return "w" if any(flag in flags for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND")) else "r"
    position = 0 if is_method else 1
    mode = next((key.value for key in call.keywords if key.arg == "mode"), None)
    mode = mode if mode is not None else call.args[position] if len(call.args) > position else None
    return str(mode.value) if isinstance(mode, ast.Constant) else "r"


def writes(tree: ast.Module) -> Iterator[str]:
    """Each call that writes a file past `core.files`."""
    is_drawn = any(isinstance(node, ast.ImportFrom) and node.module == "PIL" for node in ast.walk(tree))
    outer = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    functions = [part for node in outer for part in (node.body if isinstance(node, ast.ClassDef) else [node])]
    for function in [*functions, *(node for node in tree.body if node not in outer)]:
        names = safe_names(function)
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
            name, whole = name_of(call)
            is_method = isinstance(call.func, ast.Attribute)
            first = root(call.args[0]) if call.args else ""
            last = root(call.args[1]) if len(call.args) > 1 else ""
            if name in OPENERS:
                # gzip.open, io.open and tarfile.open have the file first; a path's own open has the mode first.
                of_module = whole in {"io.open", "gzip.open", "bz2.open", "lzma.open", "os.open", "os.fdopen"}
                mode = mode_of(call, is_method=is_method and not of_module)
                target = root(call.func.value) if is_method and not of_module else first  # type: ignore[attr-defined]
                is_bad = bool(set("wax+") & set(mode)) and target not in names
            elif name in OF_PATHS:
                is_bad = is_method and root(call.func.value) not in names  # type: ignore[attr-defined]
            elif whole in OF_MODULES or name in WRITERS or (name == "save" and is_drawn and root(call.func) != "self"):
                is_bad = bool(call.args) and not names & {first, last}
            else:
                is_bad = False
            if is_bad and "devnull" not in ast.unparse(call):
                yield f"line {call.lineno}: {ast.unparse(call)[:100]}"


@pytest.mark.parametrize(
    ("code", "is_bad"),
    [
        ("path.write_text(text)", True),
        ("write_text(path, text)", False),
        ("path.touch()", True),
        ("open(path, 'w')", True),
        ("open(path)", False),
        ("path.open('ab')", True),
        ("path.open(mode='x')", True),
        ("path.open('rb')", False),
        ("os.open(path, os.O_RDWR | os.O_CREAT)", True),
        ("os.open(path, os.O_RDONLY)", False),
        ("gzip.open(path, 'wb')", True),
        ("frame.write_csv(path)", True),
        ("np.savez(path, a=1)", True),
        ("shutil.copyfile(a, b)", True),
        ("with replacing(path) as part:\n        shutil.copyfile(a, part)", False),
        ("with replacing(path) as part:\n        shutil.copyfile(a, path)", True),
        ("with replacing(path) as part, part.open('wb') as stream:\n        np.savez(stream, a=1)", False),
        ("with replacing_folder(path) as part:\n        (part / 'a').write_text('b')", False),
        ("file = BytesIO()\n    Image.new('RGB', (1, 1)).save(file, 'PNG')", False),
        ("Image.new('RGB', (1, 1)).save(path)", True),
    ],
)
def test_the_check(code: str, is_bad: bool) -> None:
    tree = ast.parse(f"from PIL import Image\ndef f():\n    {code}\n")
    assert bool(list(writes(tree))) == is_bad


def test_no_module_writes_a_file_but_through_the_one_writer() -> None:
    results = [
        f"{path.relative_to(SOURCE)}, {place}"
        for path in sorted(SOURCE.rglob("*.py"))
        if str(path.relative_to(SOURCE)) not in OWN
        for place in writes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not results, "\n".join(results)
