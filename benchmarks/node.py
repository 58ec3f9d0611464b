"""Node.js beside the loops: the same questions, where it has an answer, put to scripts in node/."""

import shutil
import subprocess
from pathlib import Path

_SCRIPTS = Path(__file__).parent / "node"


def missing_reason() -> str | None:
    """Return why Node cannot take part, or None where it can."""
    if shutil.which("node") is None:
        return "Node.js is not installed (Debian: apt-get install nodejs)"
    done = subprocess.run(["node", "--version"], capture_output=True, text=True)
    if done.returncode != 0:
        return f"`node --version` failed: {done.stderr.strip()[:200]}"
    return None


def version() -> str:
    """Return Node's version."""
    return subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()


def script(name: str, *words: str | int) -> list[str]:
    """Return the command that runs one of the scripts: server (its kind), timers, files."""
    return ["node", str(_SCRIPTS / f"{name}.mjs"), *map(str, words)]
