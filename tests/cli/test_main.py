"""The command line as a whole: its two names, versions, help and usage errors."""

import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest

import glassloop
from glassloop import cli

SCRIPT = Path(sysconfig.get_path("scripts")) / "glassloop"


def test_both_names_are_the_same_command() -> None:
    answers = {
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        for command in ([str(SCRIPT), "--version"], [sys.executable, "-m", "glassloop", "--version"])
    }
    assert answers == {f"glassloop {glassloop.__version__}\n"}


def test_the_script_runs_programs(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import sys\nprint(sys.argv)\nsys.exit(3)\n")
    done = subprocess.run(
        [str(SCRIPT), "run", "program.py", "-x"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("['program.py', '-x']\n", "", 3)


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for verb in cli.VERBS:
        module = import_module(f"glassloop.cli.{verb}")
        assert module.__doc__ is not None
        assert f"{verb}  " in text
        assert module.__doc__.partition("\n")[0] in " ".join(text.split())


@pytest.mark.parametrize("verb", cli.VERBS)
def test_a_verbs_docstring_is_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    module = import_module(f"glassloop.cli.{verb}")
    assert (module.__doc__ or "absent").strip() in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["--fly"], ["run"], ["run", "--fly", "x.py"], ["doctor", "now"]], ids=str
)
def test_a_wrong_command_line_is_told_with_the_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: glassloop")
