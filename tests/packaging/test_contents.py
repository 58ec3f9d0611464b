"""What is installed: each Python file of the source, each compiled module with its stub, and nothing else."""

import importlib
import importlib.machinery
import importlib.metadata
from pathlib import Path

import pytest

import glassloop

SOURCE = Path(__file__).parents[2] / "src" / "glassloop"
INSTALLED = Path(glassloop.__file__).parent
EXTENSIONS = tuple(importlib.machinery.EXTENSION_SUFFIXES)

# A module with a stub beside it is compiled.
COMPILED = sorted(path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.pyi"))
PURE = sorted(
    path.relative_to(SOURCE)
    for path in SOURCE.rglob("*.py")
    if path.relative_to(SOURCE).with_suffix("") not in COMPILED
)


def compiled_name(path: Path) -> Path | None:
    """Return the name of the compiled module that an installed file is, without its suffix."""
    return path.with_name(path.name.partition(".")[0]) if path.name.endswith(EXTENSIONS) else None


def installed_files() -> set[Path]:
    """Return the files of the installed package, relative to it."""
    files = (path.relative_to(INSTALLED) for path in INSTALLED.rglob("*") if path.is_file())
    return {path for path in files if "__pycache__" not in path.parts}


def test_the_source_has_both_kinds_of_modules() -> None:
    assert len(COMPILED) > 10
    assert len(PURE) > 10


@pytest.mark.parametrize("module", COMPILED, ids=str)
def test_compiled_module_has_its_stub(module: Path) -> None:
    files = installed_files()
    assert module in {compiled_name(path) for path in files}, f"{module} is not in meson.build's `compiled`"
    assert module.with_suffix(".pyi") in files
    assert module.with_suffix(".py") not in files, "the compiled module is what must be imported"
    loaded = importlib.import_module(".".join((glassloop.__name__, *module.parts)))
    assert loaded.__spec__ is not None
    assert isinstance(loaded.__spec__.loader, importlib.machinery.ExtensionFileLoader)


@pytest.mark.parametrize("file", PURE, ids=str)
def test_python_file_is_installed(file: Path) -> None:
    assert file in installed_files(), f"{file} is not in meson.build's `python_sources`"
    assert (INSTALLED / file).read_bytes() == (SOURCE / file).read_bytes(), "another version is installed"


def test_nothing_else_is_installed() -> None:
    stray = {
        path
        for path in installed_files()
        if compiled_name(path) not in COMPILED and not (SOURCE / path).is_file()
    }
    assert not stray, "not in the source tree; a file that was renamed, or one that the build left behind"


def test_the_package_says_that_it_is_typed() -> None:
    assert (INSTALLED / "py.typed").read_bytes() == b""


def test_the_metadata_agree_with_the_package() -> None:
    metadata = importlib.metadata.metadata("glassloop")
    assert metadata["Version"] == glassloop.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    required = importlib.metadata.requires("glassloop") or []
    assert all("extra ==" in requirement for requirement in required), "glassloop needs nothing but Python"
