"""All options and fields with all modes: each is read, so that something changes, or refused with who reads it."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import typing

import pytest

from mbjax import cli, clusters, config, errors, explain, models
from mbjax.bench import __main__ as bench
from mbjax.bench import whole
from mbjax.cli import options, reading
from mbjax.config import sections
from mbjax.data import __main__ as data
from mbjax.data import loading
from mbjax.reporting import report, results
from mbjax.reporting.compare import __main__ as compare
from mbjax.reporting.compare import sources
from mbjax.reporting.figures import __main__ as figures
from mbjax.sweep import __main__ as sweep
from mbjax.sweep import going, proposals

BVAE = models.MODELS["bvae"].config
FIELDS = config.known_fields(BVAE)
PROGRAMS = {
    "train": cli.train_main,
    "resume": cli.train_main,
    "retrain": cli.train_main,
    "sweep": sweep.main,
    "eval": cli.eval_main,
    "recommend": cli.recommend_main,
    "explain": explain.main,
    "data": data.main,
    "compare": compare.main,
    "figures": figures.main,
    "bench": bench.main,
    "results": results.main,
}
VALUES = {
    "ablation": "wo_tff",
    "available": "stock.csv",
    "behavior": "buy",
    "behaviors": "click",
    "checkpoint": "last",
    "coordinator": "node0:1234",
    "data-dir": "elsewhere",
    "dataset": "demo",
    "devices": "2",
    "exclude": "train",
    "for": "new.csv",
    "grid": "train.epochs=1,2",
    "groups": "5,20",
    "host": "0",
    "hosts": "2",
    "item": "4",
    "jobs": "auto",
    "json": "x.json",
    "ks": "1,2",
    "list": "discover",
    "mask": "all_behaviors",
    "max-per-group": "2",
    "metric": "hr@5",
    "minutes": "2",
    "model": "popularity",
    "models": "ease",
    "out": "lists",
    "per-user": "users.parquet",
    "protocol": "paper",
    "record": "r.json",
    "repeat": "2",
    "results": "elsewhere",
    "search": "3",
    "seconds": "7",
    "seed": "3",
    "seeds": "3,4",
    "selection": "last",
    "shown": "5",
    "space": "train.learning_rate=0.1..0.2",
    "split": "valid",
    "top-k": "5",
    "user": "18",
    "users": "17",
    "width": "6",
    "write": "shop",
    "workdir": "elsewhere",
}
SWITCHES = {
    *("allow-new-data", "check", "clear-cache", "help", "memory", "no-anchors", "no-tests"),
    *("recommend", "resume", "retrain"),
}
OTHERS = {
    "data.valid": "random_one",
    "data.subsample": "click=0.5",
    "data.log.preset": "bvae",
    "data.log.separator": ";",
    "evaluate.anchors": "popularity",
    "evaluate.behaviors": "click",
    "evaluate.groups": "5,20",
    "evaluate.ks": "5,7",
    "evaluate.selections": "best_test",
    "model.behavior_weights": "1,2,3,4",
    "train.monitor": "mean:hr",
}
"""Values of fields that none can be made up for."""


class Stop(Exception):
    """Ends a program at the place where the work would begin."""


@pytest.fixture
def handed(experiment, run, monkeypatch, tmp_path):
    """``handed(mode, words)``: what the program hands to those who do the work, as a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(run / "config.yaml", tmp_path / "elsewhere")
    (tmp_path / "page.md").write_text("")
    made = []

    def stop(*args, **options):
        made.append((args, {name: value for name, value in options.items() if name != "say"}))
        raise Stop

    def joined(cluster):
        experiment.calls.extend([] if cluster is None else [cluster])
        return contextlib.nullcontext()

    monkeypatch.setattr(loading, "load", stop)
    monkeypatch.setattr(loading, "read", stop)
    monkeypatch.setattr(sources, "read", stop)
    monkeypatch.setattr(going, "go", stop)
    monkeypatch.setattr(proposals, "library", lambda: None)
    monkeypatch.setattr(whole, "measure", lambda *args: made.append(args) or ({}, None, None))
    monkeypatch.setattr(whole, "products", stop)
    monkeypatch.setattr(report, "read", stop)
    monkeypatch.setattr(clusters, "joined", joined)
    monkeypatch.setattr(bench.settings, "virtual_devices", lambda count: None)
    base = {
        "train": ["--model=bvae", "--dataset=jd"],
        "resume": ["--resume", f"--workdir={run}"],
        "retrain": ["--model=bvae", "--dataset=jd", "--retrain"],
        "sweep": ["--models=bvae", "--dataset=jd", "--grid=seed=0,1"],
        "eval": [f"--workdir={run}"],
        "recommend": [f"--workdir={run}"],
        "explain": [str(run), "--user=17", "--item=3"],
        "data": ["jd"],
        "compare": ["one.json"],
        "figures": ["histogram", "jd"],
        "bench": ["bvae", "jd"],
        "results": ["page.md"],
    }

    def call(mode, *words):
        made.clear()
        experiment.calls.clear()
        code = None
        try:
            code = PROGRAMS[mode]([*base[mode], *words])
        except Stop:
            code = 0
        return code, repr(experiment.calls or made)

    return call


def message(capsys):
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def test_every_option_has_a_value_here():
    assert {option.name for option in options.OPTIONS} == VALUES.keys() | SWITCHES
    assert all(set(option.modes) <= set(options.MODES) for option in options.OPTIONS)
    for mode in options.MODES:
        names = [option.name for option in options.OPTIONS if mode in option.modes]
        assert len(names) == len(set(names))


TOGETHER = {
    ("recommend", "groups"): "--max-per-group=2",
    ("recommend", "max-per-group"): "--groups=brands.csv",
    ("sweep", "space"): "--search=3",
}
for _mode in options.TRAINING:
    TOGETHER[_mode, "hosts"] = "--coordinator=node0:1 --host=1"
    TOGETHER[_mode, "host"] = "--coordinator=node0:1 --hosts=2"
    TOGETHER[_mode, "coordinator"] = "--hosts=2 --host=0"
"""Read with another one."""
AGAIN = {("resume", "resume"), ("retrain", "retrain"), ("recommend", "recommend")}
"""Said twice."""
AFTERWARDS = {
    ("data", "json"),
    ("data", "no-anchors"),
    ("data", "split"),
    ("data", "write"),
    ("bench", "json"),
    ("explain", "shown"),
    ("compare", "behavior"),
    ("compare", "out"),
    ("figures", "out"),
}
"""Read once the work is done; the tests of these programs look at what becomes of them."""
SETTLED = {
    *(("retrain", "protocol"), ("retrain", "model"), ("resume", "model"), ("resume", "seeds")),
    *(("sweep", "model"), ("sweep", "seed"), ("sweep", "resume"), ("data", "clear-cache")),
    *(("figures", "metric"), ("figures", "groups")),
}
"""Read, to be refused for what they say here: nothing to retrain by, a model with nothing to train, half a run, a
run that is alone; a model beside models, a seed beside seeds; a data set beside the wish to empty the cache; groups of
users in a figure that has none."""


@pytest.mark.parametrize("mode", options.MODES)
def test_an_option_changes_something_or_is_refused(mode, handed, capsys):
    code, before = handed(mode)
    assert code == 0 and before != "[]"
    capsys.readouterr()
    for name in sorted(VALUES.keys() | SWITCHES - {"help", "check"}):
        option = options.of(mode).get(name)
        meant = options.of(*(options.RUNS if mode in options.RUNS else (mode,))).get(
            name
        )  # these two are read together
        value = "" if name in SWITCHES or (meant and not meant.value) else f"={VALUES[name]}"
        with_it = TOGETHER.get((mode, name))
        code, after = handed(mode, f"--{name}{value}", *(with_it.split() if with_it else []))
        if code == 0:
            capsys.readouterr()
            assert after != before or (mode, name) in AGAIN | AFTERWARDS, f"--{name} is accepted and changes nothing"
            continue
        line = message(capsys)
        assert code == 2 and (name in line.replace("_", "-") or (mode, name) in SETTLED)
        assert option is None or (mode, name) in SETTLED, line
        if option is None and mode != "resume" and "does not read it" not in line:
            # It is no option here, but is near a field: one that needs its section, or another value.
            assert any(path.rsplit(".", 1)[-1] == name.replace("-", "_") for path in FIELDS), line


@pytest.mark.parametrize(
    ("mode", "word", "others"),
    [
        ("recommend", "--ks=3", "mbjax eval does"),
        ("eval", "--max-per-group=5", "mbjax recommend does"),
        ("recommend", "--evaluate.anchors=none", "mbjax train, mbjax sweep and mbjax eval do"),
        ("recommend", "--evaluate.ks=3", "mbjax train, mbjax sweep, mbjax eval and mbjax bench do"),
        ("eval", "--top-k=3", "mbjax recommend does"),
        ("eval", "--exclude=none", "mbjax recommend does"),
        ("explain", "--devices=2", "mbjax train, mbjax sweep, mbjax eval, mbjax recommend and mbjax bench do"),
        ("eval", "--evaluate.selections=best_test", "mbjax train and mbjax sweep do"),
        ("eval", "--log.user=x", "mbjax train, mbjax sweep, mbjax data, mbjax figures and mbjax bench do"),
        ("train", "--per-user=x", "mbjax eval does"),
        ("data", "--model=bvae", "mbjax train and mbjax sweep do"),
        ("data", "--train.epochs=3", "mbjax train and mbjax sweep do"),
        ("compare", "--workdir=x", "mbjax train, mbjax sweep, mbjax eval and mbjax recommend do"),
        ("compare", "--data.valid=none", "mbjax train, mbjax sweep, mbjax data, mbjax figures and mbjax bench do"),
        ("bench", "--train.epochs=3", "mbjax train and mbjax sweep do"),
        ("bench", "--init_from=x", "mbjax train and mbjax sweep do"),
        ("results", "--json", "mbjax data and mbjax bench do"),
        ("train", "--grid=train.epochs=1,2", "mbjax sweep does"),
    ],
)
def test_who_reads_it_is_said(mode, word, others, handed, capsys):
    assert handed(mode, word)[0] == 2
    name = word.partition("=")[0]
    assert message(capsys) == f"error: {name}: mbjax {mode} does not read it; {others}.\n"


def other_value(path, now):
    """A value of a field that is not the one that it has."""
    if path in OTHERS:
        return OTHERS[path]
    for kind in sections.members(FIELDS[path].annotation):
        if kind is bool:
            return "false" if now else "true"
        if typing.get_origin(kind) is typing.Literal:
            return next(str(name) for name in typing.get_args(kind) if name != now)
        if kind is int:
            return str((now or 0) + 1)
        if kind is float:
            return str((now or 1.0) / 2)
    return "other"


@pytest.mark.parametrize("mode", options.MODES)
def test_a_field_changes_something_or_is_refused(mode, handed, capsys):
    _, before = handed(mode)
    capsys.readouterr()
    values = config.load("bvae", "jd", BVAE).values()
    for path in FIELDS:
        code, after = handed(mode, f"--{path}={other_value(path, values.get(path))}")
        is_of_logs = path.startswith("data.log.")  # the data set is none
        if options.reads(mode, path) and not is_of_logs and path != "evaluate.selections":
            assert code == 0 and after != before, f"{path} changes nothing"
        else:
            assert code == 2, f"{path} is accepted"
            assert path in message(capsys)
        capsys.readouterr()


class Watched:
    """Passes attributes on and remembers which were asked for."""

    def __init__(self, section, seen, prefix):
        self._section, self._seen, self._prefix = section, seen, prefix

    def __getattr__(self, name):
        self._seen.add(f"{self._prefix}.{name}")
        value = getattr(self._section, name)
        return Watched(value, self._seen, f"{self._prefix}.{name}") if isinstance(value, config.Section) else value


def test_the_data_fields_of_each_kind_of_data_set_are_read(tmp_path, monkeypatch):
    """Not only handed on: ``load`` asks for each of them."""
    log = tmp_path / "log.csv"
    log.write_text(
        "user,item,behavior,time\n" + "".join(f"u{n % 3},i{n},{('view', 'buy')[n % 2]},{n}\n" for n in range(24))
    )
    monkeypatch.setattr(loading.catalog, "fetch", lambda name, allow_download: 1 / 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MBJAX_DATA", raising=False)
    fields = [path for path in FIELDS if path.startswith("data.")]
    for dataset in ("demo", "jd", str(log)):
        seen = set()
        section = config.load(
            "bvae", dataset, BVAE, overrides={"log.behaviors": "view,buy"} if "log" in dataset else {}
        ).data
        watched = Watched(section.model_copy(update={"valid": "random_one"}), seen, "data")
        try:
            loading.load(dataset, watched)
        except ZeroDivisionError:
            seen |= {path for path in fields if path not in ("data.dirs", "data.download")}  # asked for once it is here
        for path in fields:
            try:
                config.check_read(dataset, (), [path])
            except errors.ConfigError as error:
                assert f"{path} is not read with data set" in str(error)
            else:
                assert path in seen, f"{path} is accepted with {dataset} and not read"


def test_words_that_are_too_few_or_too_many(capsys):
    for mode, words, text in (
        ("data", [], "error: DATASET is missing: mbjax data DATASET; see --help.\n"),
        ("bench", ["bvae"], "error: DATASET is missing: mbjax bench MODEL DATASET; see --help.\n"),
        ("results", [], "error: FILE is missing: mbjax results FILE ...; see --help.\n"),
        ("data", ["demo", "jd"], "error: unexpected 'jd'. Options are written --name=value; see --help.\n"),
        ("train", ["demo"], "error: unexpected 'demo'. Options are written --name=value; see --help.\n"),
    ):
        assert PROGRAMS[mode](words) == 2
        assert message(capsys) == text
    assert json.dumps(reading.read(["a", "--metric=x", "b"], "compare").words) == '["a", "b"]'


WORDS = [
    *(
        "",
        "none",
        "0",
        "-1",
        "1e3",
        "nan",
        "a,b",
        '"a,b"',
        "~",
        "~nobody/x",
        "x.csv",
        "jd",
        "demo",
        "bvae",
        "{",
        "a=b",
        "(",
    ),
    *("é", "\udcff", "\0", "5,10", "buy:hr@5", ":", "@", "best", "true", "()", "a" * 300, "/dev/null", "=", "--", " "),
]


def test_whatever_is_typed_ends_in_the_work_or_in_one_line(handed, capsys):
    rng = random.Random(0)
    fields = [*FIELDS, *config.known_fields(models.MODELS["copf"].config)]
    names = [*VALUES, *SWITCHES, *fields, *(path.rsplit(".", 1)[-1] for path in fields), "", "model.x", "log", "-"]
    codes = set()
    for _ in range(400):
        words = []
        for _ in range(rng.randint(1, 2)):
            name = rng.choice(names)
            words.append(rng.choice([f"--{name}={rng.choice(WORDS)}", f"--{name}", rng.choice(WORDS)]))
        code, _ = handed(rng.choice(options.MODES), *words)
        captured = capsys.readouterr()
        assert code == 0 or (captured.err.startswith("error: ") and captured.err.count("\n") == 1), words
        codes.add(code)
    assert {0, 2} <= codes <= {0, 1, 2}  # 1: what the system refuses, such as a name that is too long


def test_of_two_names_of_a_field_the_one_that_stands_last_counts():
    specs = config.known_fields(models.entry("bvae").config)

    def read(*argv):
        return reading.resolved(reading.read(list(argv), "train"), specs, "train")

    assert read("--epochs=5", "--train.epochs=3", "--epochs=7") == {"train.epochs": "7"}
    assert read("--data-dir=/a", "--data.dirs=/b")["data.dirs"] == "/b"
    assert read("--data.dirs=/b", "--data-dir=/a")["data.dirs"] == "/a"
