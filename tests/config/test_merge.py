from __future__ import annotations

from typing import Literal

import pydantic
import pytest

from mbjax import config, errors
from mbjax.config import files


class ToyConfig(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    size: int = pydantic.Field(4, ge=1)
    gate: Literal["open", "shut"] = "open"
    weights: tuple[float, ...] | None = None
    is_deep: bool = False
    rate: Literal["auto"] | pydantic.PositiveFloat = "auto"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of configurations with one model and one data set."""
    (tmp_path / "models").mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "models" / "toy.yaml").write_text(
        "summary: a toy\n"
        "model: {size: 1}\n"
        "train: {epochs: 1, learning_rate: 1e-3}\n"
        "evaluate: {ks: [1]}\n"
        "datasets: {tiny: {size: 3, train.epochs: 3, evaluate.ks: [3]}}\n"
        "protocols: {paper: {train.epochs: 4, data: {valid: none}}}\n"
        "ablations: {wide: {train.epochs: 5, model: {size: 50}}}\n"
    )
    (tmp_path / "datasets" / "tiny.yaml").write_text("data: {valid: file}\nevaluate: {ks: [2]}\ntrain: {epochs: 2}\n")
    monkeypatch.setattr(files, "config_dir", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)  # where no other data sets are found
    monkeypatch.delenv("MBJAX_DATA", raising=False)
    return tmp_path


def load(**given):
    given = {"model_name": "toy", "dataset": "tiny", "model_class": ToyConfig} | given
    return config.load(given.pop("model_name"), given.pop("dataset"), given.pop("model_class"), **given)


def test_later_layers_win(folder):
    (folder / "datasets" / "bare.yaml").write_text("")
    assert load(dataset="bare").train.epochs == 1
    (folder / "datasets" / "bare.yaml").write_text("train: {epochs: 2}")
    assert load(dataset="bare").train.epochs == 2
    assert load().train.epochs == 3
    assert load(protocol="paper").train.epochs == 4
    assert load(protocol="paper", ablation="wide").train.epochs == 5
    assert load(protocol="paper", ablation="wide", overrides={"epochs": "6"}).train.epochs == 6


def test_layers_leave_other_fields_alone(folder):
    made = load(protocol="paper", ablation="wide", overrides={"gate": "shut"}, seed=7, devices=2)
    assert made.model == ToyConfig(size=50, gate="shut")
    assert made.data.valid == "none"
    assert made.evaluate.ks == (3,)
    assert made.train.learning_rate == 1e-3  # which YAML itself takes for a text
    assert (made.seed, made.devices) == (7, 2)
    assert made.overrides == {"model.gate": "shut"}


def test_a_path_is_a_data_set(folder, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("")
    made = load(dataset=str(log), overrides={"log.behaviors": "view,buy", "log.separator": r"\t"})
    assert made.dataset == str(log)
    assert made.data.valid is None
    assert (made.data.log.behaviors, made.data.log.separator) == (("view", "buy"), "\t")


def test_values_of_any_type(folder):
    made = load(overrides={"weights": [1, 2.5], "is_deep": "yes", "evaluate.ks": (7,), "learning_rate": "2e-4"})
    assert made.model == ToyConfig(size=3, weights=(1.0, 2.5), is_deep=True)
    assert made.overrides["model.weights"] == (1.0, 2.5)
    assert (made.evaluate.ks, made.train.learning_rate) == ((7,), 2e-4)


def test_shares_of_behaviors(folder):
    made = load(overrides={"data.subsample": "view=0.5,2=1"})
    assert made.data.subsample == made.overrides["data.subsample"] == {"view": 0.5, "2": 1.0}
    assert config.parse(config.dump(made), ToyConfig) == made
    assert config.command(made).endswith(" --data.subsample=view=0.5,2=1.0")
    other = config.override(made, {"data.subsample": {"view": 0.25}})
    assert config.difference(made, other) == ["data.subsample: view=0.5,2=1.0 -> view=0.25"]


def test_a_preset_of_a_log_is_recorded_and_not_contradicted(folder):
    made = config.override(load(), {"log.preset": "bvae_jd", "data.log.deduplicate": "true"})
    log = made.data.log
    assert (log.split, log.min_item_count, log.min_user_count) == ("time_80_10_10", 20, 5)
    assert "split: time_80_10_10" in config.dump(made) and config.parse(config.dump(made), ToyConfig) == made
    with pytest.raises(errors.ConfigError) as caught:
        config.override(load(), {"log.preset": "bvae", "log.split": "leave_one_out", "log.deduplicate": "false"})
    assert str(caught.value) == (
        "data.log.split=leave_one_out: data.log.preset=bvae sets split=time_80_10_10. Leave out one of the two."
    )
    with pytest.raises(
        errors.ConfigError, match="data.log.min_item_count=5: data.log.preset=bvae_jd sets min_item_coun"
    ):
        config.override(made, {"log.min_item_count": 5})
    with pytest.raises(errors.ConfigError, match="data.log.deduplicate=maybe: must be true or false"):
        config.override(load(), {"log.preset": "bvae", "log.deduplicate": "maybe"})


def test_override_keeps_what_is_set(folder):
    first = load(overrides={"gate": "shut"}, ablation="wide")
    second = config.override(first, {"train.epochs": "9"}, seed=3)
    assert second.overrides == {"model.gate": "shut", "train.epochs": 9}
    assert config.difference(first, second) == ["seed: 0 -> 3", "train.epochs: 5 -> 9"]
    assert first.train.epochs == 5


def test_defaults_without_a_data_set(folder):
    values = config.defaults("toy", None, ToyConfig)
    assert values["train.epochs"] == 1
    assert values["data.valid"] is None
    assert config.defaults("toy", "tiny", ToyConfig, ablation="wide")["model.size"] == 50


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model_name": "toi"}, "unknown model 'toi'. Did you mean 'toy'? Known: toy."),
        ({"dataset": "tyni"}, "unknown data set 'tyni'. Did you mean 'tiny'? Known: tiny."),
        ({"dataset": "no/such.csv"}, "data set 'no/such.csv': no such file or folder. Known names: tiny."),
        ({"ablation": "wied"}, "unknown ablation of toy 'wied'. Did you mean 'wide'? Known: wide."),
        ({"protocol": "papr"}, "protocol=papr: must be 'honest' or 'paper'. Did you mean 'paper'?"),
        ({"seed": -1}, "seed=-1: must be greater than or equal to 0."),
        ({"devices": 0}, "devices=0: must be greater than or equal to 1."),
    ],
)
def test_wrong_names(folder, given, message):
    with pytest.raises(errors.ConfigError) as caught:
        load(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sise", "1", "unknown option 'sise'. Did you mean 'model.size'?"),
        ("size", "x", "model.size=x: must be a whole number."),
        ("size", "2.5", "model.size=2.5: must be a whole number."),
        ("size", "0", "model.size=0: must be greater than or equal to 1."),
        ("gate", "opne", "model.gate=opne: must be 'open' or 'shut'. Did you mean 'open'?"),
        ("weights", "1,b", "model.weights=b: must be a number."),
        ("rate", "0", "model.rate=0: must be 'auto' or greater than 0."),
        ("rate", "atuo", "model.rate=atuo: must be 'auto' or a number. Did you mean 'auto'?"),
        ("is_deep", "perhaps", "model.is_deep=perhaps: must be true or false."),
        *(
            ("data.subsample", text, f"data.subsample={shown}: must be BEHAVIOR=SHARE, such as view=0.5, with shares "
             "above 0 and at most 1.")
            for text, shown in (("view=2", "view=2"), ("view", "view"), ("0.5", "0.5"), ("[1,2]", "[1,2]"))
        ),
        ("learning_rate", "nan", "train.learning_rate=nan: must be a finite number."),
        ("learning_rate", "fast", "train.learning_rate=fast: must be a number."),
        ("ks", "()", "evaluate.ks=(): needs at least one value."),
        ("ks", "5,5", "evaluate.ks=5,5: must be different whole numbers from 1 upwards."),
        ("groups", "5,3", "evaluate.groups=5,3: must be ascending whole numbers from 1 upwards."),
        ("monitor", "ndgc", "train.monitor=ndgc: must be BEHAVIOR:METRIC or BEHAVIOR:METRIC@K, such as mean:ndcg or "
         "buy:hr@10."),
        ("monitor", "buy:hr@9", "train.monitor=buy:hr@9 needs 9 among evaluate.ks=3."),
        ("log.separator", "ab", r"data.log.separator=ab: must be one character, \t for a tab."),
        ("selections", "best_test", "evaluate.selections=best_test looks at the test split during training; that needs "
         "--protocol=paper."),
    ],
)  # fmt: skip
def test_wrong_values_are_one_line(folder, key, value, message):
    with pytest.raises(errors.ConfigError) as caught:
        load(overrides={key: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {size: 1}", "configs/models/toy.yaml: unknown key 'modle'. Did you mean 'model'?"),
        ("train: {epoch: 1}", "configs/models/toy.yaml: unknown option 'train.epoch'. Did you mean 'train.epochs'?"),
        ("train: {learning_rate: fast}", "train.learning_rate=fast (configs/models/toy.yaml): must be a number."),
        ("ablations: {wide: {size: 0}}", "model.size=0 (configs/models/toy.yaml, ablations.wide): must be greater"),
        ("a: [", "configs/models/toy.yaml is not valid YAML: "),
        ("- 1", "configs/models/toy.yaml must hold keys and values, not a list."),
    ],
)
def test_mistakes_in_files_name_the_file(folder, text, message):
    (folder / "models" / "toy.yaml").write_text(text)
    with pytest.raises(errors.ConfigError) as caught:
        load(ablation="wide" if "wide" in text else None)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_model_without_ablations(folder):
    (folder / "models" / "toy.yaml").write_text("summary: bare\n")
    with pytest.raises(errors.ConfigError, match="model 'toy' has no ablations; leave out --ablation=wide"):
        load(ablation="wide")
