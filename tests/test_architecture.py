"""House laws that ruff cannot see: a law without a checker is only a wish."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("models", "search", "service")
SOURCES = sorted(path for room in (*ROOMS, "benchmarks") for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
UNSAFE_CALLS = {
    "eval",
    "exec",
    "__import__",
    "pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "joblib.load",
    "torch.hub.load",
    "loadmat",  # SciPy's reader crashes on broken files; search.data.reading.mat_files does not
    "scipy.io.loadmat",
}
# The export checks the file it has just written itself, in the same call.
SELF_CHECKS = {"search/export.py": {"torch.export.load"}}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def name_of(path: Path) -> str:
    """Return the path of a file as seen from the root of the project."""
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> str:
    """Return the name of what is called or read, such as "os.environ"."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value)}.{name}"
    return "?"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a file with the name of what is called."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def public_definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """Yield the public classes and functions of a body, and those inside the classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def loaded_modules(statement: str) -> set[str]:
    """Return the modules that a fresh Python has loaded after a statement."""
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


def test_the_laws_see_the_project() -> None:
    """The lists of files that the laws below go through are not empty."""
    assert {path.parent.name for path in SOURCES} >= {*ROOMS, "benchmarks"}
    assert len(TESTS) > 10


def test_init_files_are_empty() -> None:
    """Every __init__.py is empty: a name is imported from the file that defines it."""
    assert [name_of(path) for path in SOURCES if path.name == "__init__.py" and path.read_bytes()] == []


def test_the_top_level_is_no_package() -> None:
    """Neither docker, whose name is that of a package on PyPI, nor the tests and benchmarks are packages."""
    found = [folder for folder in ("docker", "tests", "benchmarks") for _ in (ROOT / folder).rglob("__init__.py")]
    assert found == []


def test_no_file_has_a_vague_name() -> None:
    """No file or folder is called utils, common, helpers or misc."""
    assert [name_of(path) for path in (*SOURCES, *TESTS) if VAGUE_NAMES & {path.stem, path.parent.name}] == []


def test_only_the_settings_read_the_environment() -> None:
    """Of the rooms, service/settings.py alone reads the environment."""
    readers = {
        name_of(path)
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in ROOMS  # a benchmark is a process of its own
        for node in ast.walk(parse(path))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & _names(node))
    }
    assert readers == {"service/settings.py"}


def test_files_are_read_without_running_what_is_in_them() -> None:
    """Nothing unpickles, evaluates or loads a program; torch.load only ever reads weights."""
    for path in SOURCES:
        allowed = SELF_CHECKS.get(name_of(path), set())
        for name, call in calls(path):
            words = {keyword.arg: keyword.value for keyword in call.keywords}
            assert name not in UNSAFE_CALLS | {"torch.export.load"} - allowed, f"{name_of(path)}:{call.lineno} {name}"
            assert _is_constant(words.get("allow_pickle"), None, False), f"{name_of(path)}:{call.lineno} allow_pickle"
            if name == "torch.load":
                assert _is_constant(words.get("weights_only"), True), f"{name_of(path)}:{call.lineno} weights_only"


def test_nothing_imports_a_loader_of_programs() -> None:
    """No file imports pickle, marshal, shelve, dill or cloudpickle, but for the name of an error."""
    banned = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    found = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Import | ast.ImportFrom) and banned & {name.split(".")[0] for name in _names(node)}
        if not (isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == ["UnpicklingError"])
    }
    assert found == set()


def test_public_names_say_what_they_are() -> None:
    """Every module, public class and public function of the rooms has a sentence for a docstring."""
    silent = []
    for path in SOURCES:
        tree = parse(path)
        if path.name != "__init__.py" and not ast.get_docstring(tree):
            silent.append(name_of(path))
        silent += [
            f"{name_of(path)}:{node.lineno} {node.name}"
            for node in public_definitions(tree.body)
            if not re.match(r"[A-Z`'\"(\d].*[.:]", (ast.get_docstring(node) or "").split("\n\n")[0], re.DOTALL)
        ]
    assert silent == []


def test_our_own_code_is_not_patched() -> None:
    """No test uses mock: ports have in-memory twins."""
    found = [
        name_of(path)
        for path in TESTS
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Import | ast.ImportFrom) and any("mock" in name for name in _names(node))
    ]
    assert found == []


def test_tests_are_sentences() -> None:
    """Every test function says in its docstring which behaviour it shows."""
    silent = [
        f"{name_of(path)} {node.name}"
        for path in TESTS
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("statement", ["import service.cli", "from service.cli import main; main(['--help'])"])
def test_help_needs_nothing_heavy(statement: str) -> None:
    """The command line and its help come without torch, pydantic, numpy, rich and jinja2: they answer at once."""
    loaded = loaded_modules(statement)
    assert "service.cli" in loaded
    assert loaded & {"torch", "pydantic", "numpy", "scipy", "sklearn", "rich", "jinja2", "fvcore"} == set()


@pytest.mark.parametrize("module", ["search.spec", "search.presets", "search.ports", "search.data.catalogue"])
def test_a_job_is_validated_without_torch(module: str) -> None:
    """What a web process needs of the method loads no torch, not even indirectly."""
    assert "torch" not in loaded_modules(f"import {module}")


def _names(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the modules and names that an import statement mentions."""
    names = {alias.name for alias in node.names}
    return names | {node.module or ""} if isinstance(node, ast.ImportFrom) else names


def _is_constant(node: ast.expr | None, *allowed: bool | None) -> bool:
    """Return whether an argument is one of these constants, None standing for one that is not given."""
    return (None if node is None else getattr(node, "value", "no constant")) in allowed
