"""The stubs of compiled modules say what their sources define.

stubtest, in `make types`, compares the stubs with what can be imported. But a compiled function does not tell
its parameters: those are compared here, with the source.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "glassloop"
STUBS = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.pyi"))

# Made in C (_sys/fast_methods.h), so that a call makes no tuple of its arguments.
MADE_IN_C = {
    f"_core/scheduler.pyi: Scheduler.{name}"
    for name in ("call_soon", "call_soon_threadsafe", "call_later", "call_at")
}


class Signature(NamedTuple):
    """A function as far as its callers must know it, without its types."""

    positional: tuple[str, ...]
    optional: int  # how many of them, from the right, have a default
    rest: str | None
    keywords: frozenset[str]
    optional_keywords: frozenset[str]
    more_keywords: bool


def signature(function: ast.FunctionDef) -> Signature:
    arguments = function.args
    return Signature(
        positional=tuple(argument.arg for argument in arguments.posonlyargs + arguments.args),
        optional=len(arguments.defaults),
        rest=None if arguments.vararg is None else arguments.vararg.arg,
        keywords=frozenset(argument.arg for argument in arguments.kwonlyargs),
        optional_keywords=frozenset(
            argument.arg
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        ),
        more_keywords=arguments.kwarg is not None,
    )


def decorators(node: ast.FunctionDef) -> set[str]:
    return {ast.unparse(decorator) for decorator in node.decorator_list}


def functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield each function that Python sees, by its qualified name; a property's setter as ``name.setter``."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{owner}{node.name}.")
        elif isinstance(node, ast.If):  # a stub's differences between versions of Python
            yield from functions(node.body, owner)
            yield from functions(node.orelse, owner)
        elif isinstance(node, ast.FunctionDef) and "cython.cfunc" not in decorators(node):
            setter = f"{node.name}.setter" in decorators(node)
            yield f"{owner}{node.name}{'.setter' if setter else ''}", node


def fields(pxd: str) -> Iterator[tuple[str, bool]]:
    """Yield each field of a C class that Python sees, by its qualified name, and whether it is writable."""
    owner = ""
    for line in pxd.splitlines():
        if line.startswith("cdef class "):
            owner = line.split()[2].partition("(")[0].rstrip(":")
        elif match := re.match(r" +cdef (public|readonly) [\w ]*?(\w+(?:, \w+)*) *(?:#.*)?$", line):
            yield from ((f"{owner}.{name}", match[1] == "public") for name in match[2].split(", "))


def read(path: Path) -> list[ast.stmt]:
    return ast.parse((SOURCE / path).read_text(encoding="utf-8")).body


def test_there_are_stubs() -> None:
    assert len(STUBS) > 10


@pytest.mark.parametrize("stub", STUBS, ids=str)
def test_functions_are_stubbed_as_they_are(stub: Path) -> None:
    defined = dict(functions(read(stub.with_suffix(".py"))))
    writable = dict(fields((SOURCE / stub).with_suffix(".pxd").read_text(encoding="utf-8")))
    for name, stubbed in functions(read(stub)):
        if f"{stub}: {name}" in MADE_IN_C:
            assert name not in defined, f"{name} is compiled from Python: take it out of MADE_IN_C"
            continue
        if name in writable:
            assert "property" in decorators(stubbed), name
            assert not writable[name], f"{name} is public in the .pxd: a variable in its stub"
            continue
        assert name in defined, f"{stub} has {name}, and the module has not"
        function = defined[name]
        assert ("property" in decorators(stubbed)) == ("property" in decorators(function)), name
        said, true = signature(stubbed), signature(function)
        if true.more_keywords:
            # The stub may name those that asyncio takes.
            true = true._replace(more_keywords=said.more_keywords)
            said = said._replace(
                keywords=said.keywords & true.keywords,
                optional_keywords=said.optional_keywords & true.optional_keywords,
            )
        assert said == true, f"{stub}: {name}"


@pytest.mark.parametrize("stub", STUBS, ids=str)
def test_public_names_are_stubbed(stub: Path) -> None:
    stubbed = dict(functions(read(stub)))
    readable = dict(fields((SOURCE / stub).with_suffix(".pxd").read_text(encoding="utf-8")))
    for name in readable | dict(functions(read(stub.with_suffix(".py")))):
        if not any(part.startswith("_") for part in name.split(".")):
            assert name in stubbed, f"{stub} does not have {name}"
