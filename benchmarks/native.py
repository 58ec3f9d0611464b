"""The parts in C (load generator, limits), compiled once for a run."""

import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent / "native"


@dataclass(frozen=True)
class Native:
    """The compiled programs, and why they are missing where they are."""

    load: str
    echo: str
    drive: str
    tls_load: str
    programs_missing: str | None
    drive_missing: str | None
    tls_missing: str | None


def compile_native(folder: Path) -> Native:
    """Compile all into a folder. Without Python's headers only the limits of the scheduling are missing."""
    load, echo, drive, tls_load = (folder / name for name in ("load", "echo", "drive.so", "tls_load"))
    headers = sysconfig.get_path("include")
    return Native(
        load=str(load),
        echo=str(echo),
        drive=str(drive),
        tls_load=str(tls_load),
        programs_missing=_compile(load, "load.c") or _compile(echo, "echo.c"),
        drive_missing=_compile(drive, "drive.c", "-shared", "-fPIC", f"-I{headers}"),
        tls_missing=_compile(tls_load, "tls_load.c", libraries=("-lssl", "-lcrypto")),
    )


def _compile(target: Path, source: str, *options: str, libraries: tuple[str, ...] = ()) -> str | None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return "no C compiler (gcc or cc) on the PATH"
    command = [compiler, "-O2", *options, "-o", str(target), str(_SOURCES / source), *libraries]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode == 0:
        return None
    return f"{source} does not compile: {result.stderr.strip().splitlines()[0]}"
