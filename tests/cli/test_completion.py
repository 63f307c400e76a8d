"""The TAB key in a real bash."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from commands import failure

from mbjax import cli, config, program

ASK = """
ask() { COMP_LINE="$1"; COMP_POINT=${#1}; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  [[ "$1" == *" " ]] && COMP_CWORD=$((COMP_CWORD + 1)); COMPREPLY=(); _mbjax; echo "${COMPREPLY[*]}"; }
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_words_that_fit(capsys, tmp_path):
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    (tmp_path / "runs").mkdir()
    lines = [
        "mbjax ",
        "mbjax re",
        "mbjax com",
        "mbjax completion ",
        "mbjax figures h",
        "mbjax figures histogram j",
        "mbjax compare --selection=b",
        "mbjax train --log.beh",
        "mbjax train --mod",
        "mbjax train --model=cop",
        "mbjax train --protocol=",
        "mbjax train --train.ep",
        "mbjax train --train.optimizer=a",
        "mbjax recommend --k",
        "mbjax recommend --workdir=r",
        "mbjax recommend --list=",
        "mbjax recommend --rep",
        "mbjax eval --checkpoint=b",
        "mbjax data ret",
        "mbjax bench popu",
        "mbjax compare r",
    ]
    asked = "\n".join(f"ask '{line}'" for line in lines)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script + ASK + asked], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stderr == "" and done.returncode == 0
    assert dict(zip(lines, done.stdout.splitlines(), strict=True)) == {
        "mbjax ": " ".join((*program.COMMANDS, "completion", "--help", "--version")),
        "mbjax re": "recommend results",
        "mbjax com": "compare completion",
        "mbjax completion ": "bash --help",
        "mbjax figures h": "histogram",
        "mbjax figures histogram j": "jd",
        "mbjax compare --selection=b": "best_test best_test_late",
        "mbjax train --log.beh": "--log.behavior= --log.behaviors=",
        "mbjax train --mod": " ".join(f"--model={name}" for name in config.model_names()),
        "mbjax train --model=cop": "copf",
        "mbjax train --protocol=": "honest paper",
        "mbjax train --train.ep": "--train.epochs=",
        "mbjax train --train.optimizer=a": "adam adagrad",
        "mbjax recommend --k": "",
        "mbjax recommend --workdir=r": "runs",
        "mbjax recommend --list=": "blended continue discover",
        "mbjax recommend --rep": "--repeat",
        "mbjax eval --checkpoint=b": "best",
        "mbjax data ret": "retail_rocket",
        "mbjax bench popu": "popularity",
        "mbjax compare r": "runs",
    }


def test_another_shell(capsys):
    assert failure(capsys, cli.main, "completion", "fish") == "unknown shell 'fish'. Did you mean 'bash'? Known: bash."
    assert cli.main(["completion", "--help"]) == 0
    assert "source <(mbjax completion bash)" in capsys.readouterr().out
