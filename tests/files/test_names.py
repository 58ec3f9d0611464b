"""The functions for files are found in glassloop itself, and cost nothing where nobody uses them."""

import subprocess
import sys

import pytest

import glassloop
from glassloop import files


def test_what_files_has_glassloop_has() -> None:
    assert set(files.__all__) == glassloop._FILES
    for name in files.__all__:
        assert getattr(glassloop, name) is getattr(files, name)
        assert name in dir(glassloop)


def run_program(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_a_star_import_leaves_open_alone() -> None:
    program = "import builtins; from glassloop import *; print(open is builtins.open, 'stat' in globals())"
    assert run_program(program) == "True False\n"


@pytest.mark.parametrize("program", ["pass", "glassloop.new_event_loop().close()"])
def test_who_uses_no_files_imports_nothing_for_them(program: str) -> None:
    told = "print([name for name in sys.modules if 'file_' in name or 'glassloop.files' in name])"
    assert run_program(f"import sys, glassloop; {program}; {told}") == "[]\n"
