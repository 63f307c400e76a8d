"""Tables of anchors that are kept: the same in every bit, and measured anew when anything else is asked."""

import dataclasses

import pytest
import toy
import trial

from mbjax import evaluate
from mbjax.data import log_cache
from mbjax.experiment import anchor_cache, anchors, references, wiring

ASKED = {"model": "popularity", "split": "test", "ks": (1, 5)}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder of the cache, which keeps whatever took any time."""
    monkeypatch.setenv(log_cache.VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setattr(anchor_cache, "LEAST_SECONDS", 0.0)
    return tmp_path / "kept"


def measure(source, counted):
    def made():
        counted.append(source)
        return anchors.measure(
            anchors.build("popularity", source.info), source, evaluate.Evaluator(source, "test", ks=(1, 5))
        )

    return made


def test_a_table_is_measured_once_and_is_the_same_in_every_bit(kept):
    source, counted, said = toy.dataset(2), [], []
    first, second = (anchor_cache.recalled(source, ASKED, measure(source, counted), say=said.append) for _ in range(2))
    assert first == second and len(counted) == 1 and first["buy"]["ndcg@5"] > 0
    (line,) = said
    assert line.startswith("popularity: as measured on 2") and "--data.cache=false" in line
    anchor_cache.recalled(source, ASKED, measure(source, counted), use=False)
    assert len(counted) == 2


def test_anything_else_is_another_table(kept):
    source, counted = toy.dataset(2), []
    fewer = {name: matrix.copy() for name, matrix in source.train.items()}
    fewer["buy"].data[0] = 0
    fewer["buy"].eliminate_zeros()
    tested = source.test | {"buy": source.test["buy"][::-1]}
    others = [
        (source, ASKED),
        (source, ASKED | {"split": "valid"}),
        (source, ASKED | {"ks": (1,)}),
        (dataclasses.replace(source, train=fewer), ASKED),
        (dataclasses.replace(source, test=tested), ASKED),
        (dataclasses.replace(source, mask_valid=not source.mask_valid), ASKED),
    ]
    for other, asked in others * 2:
        anchor_cache.recalled(other, asked, measure(other, counted))
    assert len(counted) == len(others) == len(list(kept.iterdir()))


def test_what_is_damaged_or_took_no_time_is_measured_anew(kept, monkeypatch):
    source, counted = toy.dataset(2), []
    table = anchor_cache.recalled(source, ASKED, measure(source, counted))
    (entry,) = kept.iterdir()
    text = entry.read_text()
    for damaged in (text[:-9], text.replace('"users": ', '"users": 1'), "[]", ""):
        entry.write_text(damaged)
        assert anchor_cache.recalled(source, ASKED, measure(source, counted)) == table
    assert len(counted) == 5 and entry.read_text() == text
    assert log_cache.clear() == (0, len(text.encode())) and not list(kept.iterdir())
    monkeypatch.setattr(anchor_cache, "LEAST_SECONDS", 60.0)
    anchor_cache.recalled(source, ASKED, measure(source, counted))
    assert not list(kept.iterdir())


def test_a_run_shows_what_was_kept_and_evaluates_nothing(kept, folder, monkeypatch, capsys):
    config = trial.config(folder, model="itemknn")
    made = wiring.plan(config)
    shown = references.measured(made, "test", ("view", "buy"))
    assert list(shown) == ["popularity", "own_items"]
    calls = []
    monkeypatch.setattr(wiring.Experiment, "evaluator", lambda self, *given, **options: calls.append(given))
    assert references.measured(made, "test", ("view", "buy")) == shown and not calls
    assert capsys.readouterr().err.count("as measured on") == 2
