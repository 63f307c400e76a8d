"""Logs, settings and modes at random: each ends in the right result, by an oracle of its own, or in one line.

``make test`` tries a few of each; ``MBJAX_FUZZ=10000 python -m pytest tests/test_fuzz.py`` as many as it says.
"""

from __future__ import annotations

import os
import sys
import urllib.parse
import warnings

import commands
import fuzz
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mbjax
from mbjax import cli, config, data, errors, models
from mbjax.cli import options

CASES = int(os.environ.get("MBJAX_FUZZ", "0"))


def cases(few: int, share: float = 1.0):
    """Settings of a test: ``few`` examples in the suite, a share of MBJAX_FUZZ where that is set."""
    return settings(
        max_examples=max(few, round(CASES * share)),
        deadline=None,
        derandomize=not CASES,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def raw_pairs(ready, split: str) -> dict[str, set]:
    """Behavior -> pairs of raw ids of a split; behaviors without pairs are left out."""
    users, items = ready.users.ids.tolist(), ready.items.ids.tolist()
    found = {}
    for behavior, matrix in getattr(ready, split).items():
        rows = matrix.tocoo()
        found[behavior] = {(users[u], items[i]) for u, i in zip(rows.row.tolist(), rows.col.tolist(), strict=True)}
    return {behavior: pairs for behavior, pairs in found.items() if pairs}


def filled(by_behavior: dict[str, set]) -> dict[str, set]:
    return {behavior: pairs for behavior, pairs in by_behavior.items() if pairs}


def is_one_line(error: Exception) -> bool:
    text = str(error)
    return bool(text) and "\n" not in text and "Traceback" not in text and len(text) < 1000


@cases(150)
@given(log=fuzz.logs())
def test_any_log_is_read_as_the_recipe_says(tmp_path, log):
    path, options = fuzz.write(log, tmp_path)
    wanted = fuzz.expected(log)
    choice = data.Options(valid="none", log=data.LogOptions(**options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)
        try:
            ready = data.load(path, choice)
        except errors.MbjaxError as error:
            assert isinstance(wanted, str) and wanted in str(error) and is_one_line(error), (wanted, error)
            return
    assert not isinstance(wanted, str), wanted
    assert ready.users.ids.tolist() == wanted.users and ready.items.ids.tolist() == wanted.items
    for split, by_behavior in (("train", wanted.train), ("test", wanted.test)):
        of = {b: pairs for b, pairs in by_behavior.items() if b in ready.info.behaviors}
        assert raw_pairs(ready, split) == filled(of)


def run(capsys, *words: str) -> tuple[int, str]:
    """Runs the program in this process; what it must never do is end in anything but a code and at most one error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.MbjaxWarning)  # each is a line on stderr for a user
        code = cli.main(list(words))
    captured = capsys.readouterr()
    problems = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in captured.err and code in (0, 1, 2, 3, 4, 5, 6), (words, code, captured.err)
    assert len(problems) == (code != 0), (words, code, captured.err)
    return code, captured.err


def written(value: object) -> str:
    """A value of an option; a name in a list that begins as if the list were in brackets stands in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(f'"{name}"' if name[0] in "([" else name for name in value)
    return str(value)


MODES = st.fixed_dictionaries(
    {
        "exclude": st.sampled_from(["known", "train", "none"]),
        "mask": st.sampled_from(["same_behavior", "all_behaviors"]),
        "top_k": st.sampled_from([1, 2, 5, 10**9]),
    }
)


@cases(5, 0.05)
@given(log=fuzz.logs(), mode=MODES)
def test_any_log_gives_the_lists_that_its_counts_say(tmp_path_factory, capsys, log, mode):
    folder = tmp_path_factory.mktemp("case")
    path, options = fuzz.write(log, folder)
    wanted = fuzz.expected(log)
    fields = [f"--data.log.{name}={written(value)}" for name, value in options.items()]
    out, workdir = folder / "lists", folder / "run"
    common = ["--data.valid=none", f"--evaluate.mask={mode['mask']}", "--evaluate.ks=1,3", "--evaluate.anchors=none"]
    code, err = run(
        capsys, "train", "--model=popularity", f"--dataset={path}", f"--workdir={workdir}", *fields, *common
    )
    if isinstance(wanted, str):
        assert code and wanted in err, (wanted, err)
        return
    used = [b for b in log.behaviors if wanted.train[b]]
    if not any(wanted.test[b] for b in used):
        assert code and "test" in err, err
        return
    assert not code, err
    code, err = run(
        capsys,
        "recommend",
        f"--workdir={workdir}",
        f"--out={out}",
        f"--top-k={mode['top_k']}",
        f"--exclude={mode['exclude']}",
    )
    assert not code, err
    found = {urllib.parse.unquote(file.stem): file for file in out.iterdir()}
    assert set(found) == set(used)
    for behavior in used:
        frame = pl.read_parquet(found[behavior])
        lists = {user: frame.filter(pl.col("user") == user).sort("rank")["item"].to_list() for user in wanted.users}
        assert frame.height == sum(map(len, lists.values()))
        for user in wanted.users:
            seen = fuzz.seen(wanted, behavior, used, user, **{k: mode[k] for k in ("exclude", "mask")})
            assert lists[user] == fuzz.ranking(wanted.train[behavior], wanted.items, seen, mode["top_k"]), (
                behavior,
                user,
            )


NAMES = sorted(
    {option.name for option in options.OPTIONS} - {"help"} | set(config.known_fields(models.entry("copf").config))
)
TEXTS = """
0 1 -1 3.5 1e3 nan none true maybe 5,10 5,,10 buy view,buy (a,b) ] = a=1 view=0.5,cart=2 honest paper
bvae copf popularity demo jd nowhere.csv ~nobody/x ~/x / . mean:ndcg@5 a:b:hr купить best test test,valid
known adam 2,2,2 🙂
"""
VALUES = st.sampled_from(["", "\x00", "a\nb", "x" * 300, "2" * 30, *TEXTS.split()])
WORDS = st.one_of(
    st.builds("--{}={}".format, st.sampled_from(NAMES), VALUES),
    st.builds("--{}".format, st.sampled_from(NAMES)),
    st.builds("--{}={}".format, st.sampled_from([f"{name[:-1]}" for name in NAMES]), VALUES),
    VALUES,
)
STARTS = """train --model=popularity --dataset=LOG
train --model=copf --dataset=LOG --log.behaviors=view,buy
train --resume --workdir=RUN
eval --workdir=RUN
recommend --workdir=RUN
data LOG --log.behaviors=view,buy
compare
results
train
eval --recommend
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A small log and the run folder of a model that was not trained on it, each under the word that stands for it."""
    folder = tmp_path_factory.mktemp("places")
    rows = [f"u{u},i{i},{b},{u + i}" for u in range(4) for i in range(5) for b in ("view", "buy") if (u + i) % 3]
    (folder / "log.csv").write_text("\n".join(["user,item,behavior,time", *rows]) + "\n")
    (folder / "run").mkdir()
    made = config.load(
        "popularity",
        str(folder / "log.csv"),
        models.entry("popularity").config,
        overrides={"log.behaviors": "view,buy"},
    )
    (folder / "run" / "config.yaml").write_text(config.dump(made))
    return {"LOG": str(folder / "log.csv"), "RUN": str(folder / "run")}


@cases(200, 1.0)
@given(start=st.sampled_from(STARTS.split("\n")), rest=st.lists(WORDS, max_size=5))
def test_any_command_line_is_done_or_refused_in_one_line(places, capsys, monkeypatch, tmp_path, start, rest):
    recorder = commands.Recorder()
    monkeypatch.setitem(sys.modules, "mbjax.experiment", recorder)
    monkeypatch.setattr(mbjax, "experiment", recorder, raising=False)
    monkeypatch.chdir(tmp_path)
    words = [word.replace("LOG", places["LOG"]).replace("RUN", places["RUN"]) for word in start.split()]
    if "bench" not in [*words, *rest]:
        run(capsys, *words, *rest)
