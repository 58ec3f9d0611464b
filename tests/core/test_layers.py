"""The rules that hold the layers together, read from the sources. Each message names the fix."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "glassloop"

# What a layer may import, besides itself and what is not glassloop's. Downwards only.
BELOW = {
    "_sys": set(),
    "_core": {"_sys"},
    "_io": {"_core", "_sys"},
}
# The rest of the package lies above; loop.py and files.py may use all of these.
ENGINE = set(BELOW)

# Everything that reads a clock, in Python or in C.
CLOCKS = re.compile(
    r"\b(clock_gettime|gettimeofday|clock_getres|rdtsc|cntvct_el0"
    r"|time\.(time|monotonic|perf_counter|process_time|thread_time)(_ns)?\b"
    r"|from time import|import time\b|datetime)"
)

STATE_WRITERS = re.compile(r"\b(?:run_state|cause)\s*=(?!=)")


def engine_files() -> Iterator[Path]:
    for layer in sorted(BELOW):
        yield from sorted(
            path for path in (SOURCES / layer).iterdir() if path.suffix in {".py", ".pxd", ".h"}
        )


def without_comments(path: Path) -> str:
    """The source without comments and docstrings, with its lines in place."""
    text = path.read_text()
    text = (
        re.sub(r'""".*?"""', lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)
        if path.suffix == ".py"
        else text
    )
    if path.suffix == ".h":
        return re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    return re.sub(r"#(?!include|define|if|el|end).*", "", text)


def imported_layers(path: Path) -> Iterator[tuple[int, str]]:
    """(line, layer) for each part of glassloop that this file imports, by ``import`` or ``cimport``."""
    pattern = re.compile(
        r"^\s*(?:from|import|cimport)\s+(?:cython\.cimports\.)?glassloop(?:\.(\w+))?\b(?:.*\bimport\s+(\w+))?"
    )
    for number, line in enumerate(without_comments(path).splitlines(), 1):
        if found := pattern.match(line):
            yield number, found[1] or found[2] or "glassloop"


@pytest.mark.parametrize("path", list(engine_files()), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_run_downwards(path: Path) -> None:
    layer = path.parent.name
    for line, imported in imported_layers(path):
        assert imported in BELOW[layer] | {layer}, (
            f"{path.name}:{line} imports glassloop.{imported}, which lies above {layer}. Move what both need "
            "down, or pass it in as an argument; "
            f"{layer} may import {sorted(BELOW[layer]) or 'nothing of glassloop'}."
        )


def test_the_import_check_sees_imports(tmp_path: Path) -> None:
    """The rule above would be worth nothing if it read no import."""
    found = [layer for path in engine_files() for _, layer in imported_layers(path)]
    assert found.count("_core") > 50 and found.count("_sys") > 10 and found.count("_io") > 10
    probe = tmp_path / "probe.py"
    probe.write_text(
        "from glassloop import cli\nimport glassloop.glass.reader\n"
        "    from cython.cimports.glassloop._io.poller import EpollCore\n"
        "from glassloop.top.model import Model\n"
    )
    assert [layer for _, layer in imported_layers(probe)] == ["cli", "glass", "_io", "top"]


def test_only_the_clock_reads_the_time() -> None:
    offenders = [
        f"{path.relative_to(SOURCES)}:{number}: {line.strip()}"
        for path in [*engine_files(), SOURCES / "loop.py"]
        if path.stem != "clock"
        for number, line in enumerate(without_comments(path).splitlines(), 1)
        if CLOCKS.search(line)
    ]
    assert offenders == [], (
        "Only _core/clock may read the time, so that a test can hand a loop its own: ask the loop's Clock "
        f"(or ticks() of _core/clock.pxd) instead. {offenders}"
    )


def test_the_clock_check_sees_clocks() -> None:
    assert CLOCKS.search(without_comments(SOURCES / "_sys" / "clock.h"))
    for line in (
        "import time",
        "time.monotonic()",
        "time.perf_counter_ns()",
        "clock_gettime(CLOCK_MONOTONIC, &t)",
    ):
        assert CLOCKS.search(line)
    assert not CLOCKS.search("from asyncio import timeouts") and not CLOCKS.search("loop.time()")


def test_one_file_writes_a_task_s_state() -> None:
    writers = {
        str(path.relative_to(SOURCES))
        for path in engine_files()
        if STATE_WRITERS.search(without_comments(path))
    }
    assert writers == {"_core/task_state.pxd"}, (
        "A task's run_state and cause are written by the transitions of _core/task_state.pxd, nowhere else: "
        f"call one of those, or add one there. Written in {sorted(writers)}."
    )


def test_becoming_ready_always_has_a_cause() -> None:
    """In each transition that writes READY, the cause is written too."""
    text = without_comments(SOURCES / "_core" / "task_state.pxd")
    transitions = re.split(r"^cdef inline ", text, flags=re.MULTILINE)[1:]
    ready = [transition for transition in transitions if re.search(r"run_state\s*=.*\bREADY\b", transition)]
    assert len(ready) >= 2
    for transition in ready:
        assert re.search(r"\bcause\s*=", transition), (
            f"{transition.split('(')[0]} makes a task READY without a cause: write tail.cause as well."
        )


def test_the_run_states_agree_with_their_names() -> None:
    """The names that Python sees come from a tuple, the values from an enum."""
    state = without_comments(SOURCES / "_core" / "task_state.pxd")
    task = without_comments(SOURCES / "_core" / "task.py")
    for enum, names in (("TaskState", "RUN_STATES"), ("Cause", "CAUSES")):
        body = re.search(rf"cdef enum {enum}:\n((?:    .*\n)+)", state)
        shown = re.search(rf"{names} = cython\.declare\(tuple, (\(.*?\))\)", task)
        assert body and shown
        values = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", body[1])}
        assert list(ast.literal_eval(shown[1])) == sorted(values, key=values.__getitem__), (
            f"{names} in _core/task.py must list {enum} of _core/task_state.pxd in the order of its values."
        )


def function_body(path: Path, name: str) -> str:
    """The source of one function or method of a compiled module."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return "\n".join(
                ast.unparse(statement) for statement in node.body if not _is_docstring(statement)
            )
    raise AssertionError(f"{path.name} has no function {name}")


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_a_turn_reads_as_the_list_of_its_phases() -> None:
    body = function_body(SOURCES / "_core" / "scheduler.py", "run_turn")
    phases = re.findall(r"self\.(\w+)\(\)", body)
    assert phases == ["poll", "fire_timers", "run_ready"] and len(body.splitlines()) <= 10, (
        "Scheduler.run_turn is the list of a turn's phases, in asyncio's order: put the rest into the phases."
    )


@pytest.mark.parametrize("path", sorted((SOURCES / "_io").glob("*poller*.py")), ids=lambda path: path.name)
def test_a_poller_runs_no_callback(path: Path) -> None:
    text = without_comments(path)
    calls = re.findall(
        r"\b(?:source|handle|key\.data)\w*(?:\.\w+)*\.(run|_run|on_readable|on_writable)\(", text
    )
    assert calls == [], "A poller fills a batch and runs nothing: push the source onto the ready queue."


def test_every_compiled_module_has_its_three_files() -> None:
    """And is built: meson.build names it, so no wheel lacks it."""
    meson = (SOURCES.parents[1] / "meson.build").read_text()
    compiled = re.search(r"^compiled = \{(.*?)^\}", meson, re.DOTALL | re.MULTILINE)
    assert compiled
    for layer in ("_core", "_io"):
        listed = re.search(rf"'{layer}': \[(.*?)\]", compiled[1], re.DOTALL)
        assert listed
        built = set(re.findall(r"'(\w+)'", listed[1]))
        modules = {path.stem for path in (SOURCES / layer).glob("*.py")} - {"__init__"}
        assert built == modules, f"meson.build's `compiled` must name every module of {layer}"
        for module in modules:
            for suffix in (".pxd", ".pyi"):
                assert (SOURCES / layer / module).with_suffix(suffix).exists(), (
                    f"{layer}/{module}.py is compiled: it needs {module}{suffix} beside it"
                )


def test_every_python_file_is_installed() -> None:
    meson = (SOURCES.parents[1] / "meson.build").read_text()
    for path in sorted(SOURCES.rglob("*.py")):
        if path.parent.name in ("_core", "_io") and path.name != "__init__.py":
            continue
        assert f"'{path.name}'" in meson, (
            f"meson.build does not install {path.relative_to(SOURCES)}: name it there"
        )
