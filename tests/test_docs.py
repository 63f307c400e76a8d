"""What the front page and the pages of docs/ say can be followed: links, tables, commands, programs."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import shlex
import sys
import types
from pathlib import Path

import pytest

import mbjax
from mbjax import clusters, config, errors, models
from mbjax.cli import commands, options, reading
from mbjax.reporting import results
from mbjax.sweep import going, plan, proposals

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MADE = ROOT / "docs" / "comparison"  # written by mbjax compare, not by hand
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if MADE not in page.parents),
    *sorted((ROOT / "examples").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_front_page_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_tables_are_made_from_the_results_files(capsys):
    with_tables = [page for page in PAGES if "<!-- results:" in page.read_text(encoding="utf-8")]
    assert README in with_tables and {page.stem for page in with_tables} >= {"jd", "taobao", "retail_rocket"}
    assert results.main([*map(str, with_tables), "--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "models.md"], ids=name_of)
def test_every_model_is_named(page):
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert set(config.model_names()) <= named


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        if page.name != "README.md" or page.parent != ROOT / "docs":
            assert f"({page.relative_to(ROOT / 'docs')})" in index


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def command_lines(page: Path) -> list[str]:
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


FOLLOWED = [page for page in PAGES if page.parent.name != "examples"]  # guides to what there is not yet
LINES = [pytest.param(line, id=f"{name_of(page)}: {line}") for page in FOLLOWED for line in command_lines(page)]
# What make runs: its variables stand for a folder.
for line in re.findall(r"^\t\$\(BIN\)/(mbjax .*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE):
    line = re.sub(r"\$\(if .*\)", "", line.replace("$(DEMO)", "runs/demo"))
    LINES.append(pytest.param(line, id=f"Makefile: {line}"))
SCRIPTS = {"train.py": ["train"], "eval.py": ["eval"]}


class Recorder:
    """Stands in for ``mbjax.experiment``: nothing is trained or written."""

    def __getattr__(self, name):
        return lambda *args, **given: types.SimpleNamespace(exit_code=0, reason="finished")


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """A folder with the files that the pages speak of, in which ``mbjax`` does no work and waits for nobody."""
    monkeypatch.setitem(sys.modules, "mbjax.experiment", Recorder())
    monkeypatch.setattr(mbjax, "experiment", Recorder(), raising=False)
    monkeypatch.setattr(sys, "argv", ["mbjax"])
    monkeypatch.setattr(clusters, "joined", lambda cluster: contextlib.nullcontext())
    monkeypatch.setattr(going, "go", lambda *args, **given: 0)
    monkeypatch.setattr(proposals, "library", lambda: None)
    monkeypatch.chdir(tmp_path)
    for name in ("log.csv", "new.csv", "archive/log.csv", "UserBehavior.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("user,item,behavior,time\na,x,view,1\na,x,cart,2\na,x,buy,3\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_the_program_reads_every_command_line(line, somewhere, capsys):
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert [word for word in words[1:] if "=" not in word][0] in targets
    elif words[0] == "python" and words[1] not in SCRIPTS:
        assert (ROOT / words[1]).is_file()
    elif words[0] in ("mbjax", "python"):
        follow(words[1:] if words[0] == "mbjax" else SCRIPTS[words[1]] + words[2:], somewhere)
    else:
        assert words[:2] == ["pip", "install"]


def follow(words: list[str], folder: Path) -> None:
    """Reads a command line as the program does, up to where the work begins; fails with what it says."""
    command, *rest = words
    if command in options.TRAINING + options.RUNS:
        for word in rest:
            if word.startswith("--workdir=") and (command != "train" or "--resume" in rest):
                run = folder / word.partition("=")[2]
                run.mkdir(parents=True, exist_ok=True)
                settings = config.load("bvae", "demo", models.entry("bvae").config)
                (run / "config.yaml").write_text(config.dump(settings), encoding="utf-8")
        assert commands.main(words) == 0
        return
    if command == "sweep":
        if "--resume" in rest:
            made = plan.Plan(("ease",), "demo", {}, search=1)
            run = folder / next(word.partition("=")[2] for word in rest if word.startswith("--workdir="))
            run.mkdir(parents=True, exist_ok=True)
            (run / "sweep.json").write_text(made.text(), encoding="utf-8")
        assert commands.main(words) == 0
        return
    given = reading.read(rest, command)
    reading.refuse_unread(given, command)
    section = models.entry(reading.words(given, command)[0]).config if command == "bench" else config.Section
    reading.resolved(given, config.known_fields(section), command)


def test_the_lines_are_found():
    """A pattern that finds nothing would let every page pass."""
    assert len(LINES) > 30 and sum("mbjax train" in param.values[0] for param in LINES) > 10
    assert sum(param.id.startswith("Makefile") for param in LINES) >= 2


@pytest.mark.parametrize("page", [page for page in FOLLOWED if page.parent.name != "benchmarks"], ids=name_of)
def test_options_and_commands_in_the_text_exist(page):
    text = re.sub(
        r"^```.*?^```|<!-- results:.*?/results -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M
    )
    for command in re.findall(r"`mbjax (\w+)", text):
        assert command in commands.COMMANDS
    for name in re.findall(r"`(?:[^`\n]* )?--([\w.-]+)[^`\n]*`", text):
        assert is_option(name), name


def is_option(name: str) -> bool:
    if any(name == option.name for option in options.OPTIONS):
        return True
    for model in ("copf", "pkef", "bvae", "nmtr", "itemknn", "ease", "funnel"):
        try:
            config.resolve(name, config.known_fields(models.entry(model).config), "--")
        except errors.ConfigError:
            continue
        return True
    return False


PROGRAMS = [
    *(pytest.param(text, id=name_of(page)) for page in FOLLOWED for text in blocks(page, "python")),
    *(
        pytest.param(file.read_text(encoding="utf-8"), id=name_of(file))
        for file in [*(ROOT / "examples").glob("*.py"), *(ROOT / "docs").glob("*.py")]
    ),
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_call_what_there_is_with_what_it_takes(program):
    calls = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call) and is_ours(node.func)]
    assert calls or "import mbjax" not in program  # a drawing alone
    for node in calls:
        given = {keyword.arg: None for keyword in node.keywords}
        inspect.signature(getattr(mbjax, node.func.attr)).bind(*[None] * len(node.args), **given)


def is_ours(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "mbjax"
