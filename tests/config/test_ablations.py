"""What each row of the papers' component studies sets, by hand from their captions: names that are easily confused."""

import pytest

from mbjax import config, errors, models
from mbjax.config import ablations

COPF = {
    # Table 3: "no pre" P, "no in" A, "no post" D, both F, strict pre and in C, strict pre B, strict in H
    "wo_cogcn": {"backbone.start": "base", "backbone.graph": "own"},
    "wo_cogcn_lightgcn": {"backbone.name": "lightgcn", "backbone.pairs": "own"},
    "copf_p": {"backbone.start": "base"},
    "copf_a": {"backbone.graph": "all"},
    "copf_d": {"backbone.decouple": False, "head.name": "bilinear", "contrastive.weight": 0.0},
    "copf_f": {"backbone.start": "base", "backbone.graph": "all"},
    "copf_c": {"backbone.start": "strict", "backbone.graph": "own"},
    "copf_b": {"backbone.start": "strict"},
    "copf_h": {"backbone.graph": "own"},
    "wo_dfme": {"head.name": "bilinear", "contrastive.weight": 0.0},
    "wo_con": {"contrastive.weight": 0.0},
    "wo_for": {"head.fit": False, "head.stop_gradient": "target"},
    "wo_back": {},
    "all_sg": {"head.stop_gradient": "all"},
    "wo_fit": {"head.fit": False},
    "target_sg": {"head.stop_gradient": "target"},
    # Table 4, with the contrastive term
    "no_aggregation": {"head.name": "inner_product"},
    "summation": {"head.name": "aggregation", "head.scheme": "summation"},
    "linear": {"head.name": "aggregation", "head.scheme": "linear"},
    "vanilla_fusion": {"head.name": "aggregation", "head.scheme": "vanilla"},
    "projection": {"head.name": "pme"},
    # Table 5, without
    **{
        name: {"head.name": name, "contrastive.weight": 0.0}
        for name in ("shared_bottom", "mmoe", "ple", "bilinear", "mesi", "pme")
    },
    "bilinear_con": {"head.name": "bilinear"},
    # Table 6
    "with_lightgcn_m": {"backbone.name": "lightgcn_m"},
    "with_mbcgcn": {"backbone.name": "mbcgcn"},
    "with_crgcn": {"backbone.name": "crgcn"},
    "with_cigf": {"backbone.name": "cigf"},
    "with_pkf": {"backbone.name": "pkf", "parallel_weight": 0.0},
    "paper_weight": {},
    "paper_graph": {"backbone.cum_graph": "sum_of_normalized"},
    "paper_relation": {"head.relation_on_self": True},
    "paper_layers": {"head.output": "last"},
    "paper_slots": {"head.gate_slots": "behavior"},
    "paper_scale": {"head.expert_scale": 1.0},
    "as_printed": {
        "backbone.cum_graph": "sum_of_normalized",
        "head.relation_on_self": True,
        "head.output": "last",
        "head.expert_scale": 1.0,
        "head.gate_slots": "behavior",
        "head.stop_gradient": "target",
        "head.stop_gradient_gate": True,
        "contrastive.reduction": "all_nodes",
        "contrastive.similarity": "inner_product",
        "score_scale": 1 / 64,
        "loss_factor": 1.0,
        "mean_over": "nothing",
        "l2_on": "parameters",
    },
}
CASCADE = {"backbone.fusion": "none", "backbone.parallel": False}
PKEF = {
    # Table 3
    "base": CASCADE | {"head.name": "bilinear", "unique.weight": 0.0},
    "wo_pkf": CASCADE,
    "wo_pme": {"head.name": "bilinear", "unique.weight": 0.0},
    # Table 4
    "summation": {"backbone.fusion": "summation"},
    "linear": {"backbone.fusion": "linear"},
    "vanilla_fusion": {"backbone.fusion": "vanilla"},
    # Table 5
    **{name: {"head.name": name, "unique.weight": 0.0} for name in ("shared_bottom", "bilinear", "mmoe", "ple")},
    "paper_projection": {
        "backbone.proj_scale": 1.0,
        "backbone.proj_source": "message",
        "backbone.self_loops": True,
    },
    "paper_unique": {"unique.direction": "paper"},
    "paper_experts": {"head.level": "product"},
    "paper_coefficient": {"head.coefficient": "cosine", "unique.coefficient": "cosine"},
    "paper_slots": {"head.gate_slots": "behavior"},
    "as_printed": {
        "backbone.proj_scale": 1.0,
        "backbone.proj_source": "message",
        "backbone.self_loops": True,
        "head.level": "product",
        "head.coefficient": "cosine",
        "head.gate_slots": "behavior",
        "head.shared_gate": False,
        "unique.direction": "paper",
        "unique.coefficient": "cosine",
        "unique.scale": 1.0,
        "score_scale": 1.0,
        "loss_factor": 1.0,
        "mean_over": "nothing",
        "l2_on": "parameters",
        "users_per_epoch": 0,
    },
}


def values(model, **options):
    """Fields of the model and training on Beibei, where the default is the published one."""
    return config.load(model, "beibei", models.MODELS[model].config, **options).values()


@pytest.mark.parametrize(("model", "rows"), [("copf", COPF), ("pkef", PKEF)])
def test_each_row_changes_this_and_nothing_else(model, rows):
    assert list(rows) == list(config.model_file(model)["ablations"])
    default = values(model)
    for name, expected in rows.items():
        made = values(model, ablation=name)
        changed = {path for path in made.keys() | default.keys() if made.get(path) != default.get(path)}
        for path, value in expected.items():
            assert made[f"model.{path}"] == value, (name, path)
        # A section of another name has its own defaults below it.
        other = {path.split(".")[0] for path in expected if path.endswith(".name")}
        rest = {path for path in changed if path.split(".")[1] not in other}
        assert rest == {f"model.{path}" for path in expected if path.split(".")[0] not in other}, name


def test_all_that_the_slides_of_bvae_print_is_each_of_it():
    printed = [name for name in config.model_file("bvae")["ablations"] if name.startswith("printed_")]
    assert of("bvae", "as_printed").model == of("bvae", ",".join(["behavior_softmax", *printed])).model


def of(model, ablation):
    return config.load(model, "demo", models.entry(model).config, ablation=ablation)


def test_several_at_once_are_all_there_and_have_one_name():
    both = of("funnel", "constant_gate, linear")
    assert both.ablation == "linear+constant_gate" == of("funnel", "linear+constant_gate").ablation
    one, other = of("funnel", "linear"), of("funnel", "constant_gate")
    wanted = config.override(of("funnel", None), {"model.gate": "constant", "model.hidden": 0, "model.hidden_new": 0})
    assert both.model == wanted.model and not both.overrides
    assert one.model != both.model != other.model


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("funnel", "wo_ease,wo_near", "wo_ease sets model.features=.* and wo_near sets model.features=.*Name one"),
        ("funnel", "linear,linear", "--ablation=linear,linear: linear is named twice"),
        ("funnel", "linear,nope", "unknown ablation of funnel 'nope'"),
        ("funnel", "linear,", "unknown ablation of funnel ''"),
        ("popularity", "a,b", "has no ablations; leave out --ablation=a,b"),
    ],
)
def test_what_does_not_go_together_is_refused(model, given, message):
    with pytest.raises(errors.ConfigError, match=message):
        of(model, given)


def test_a_section_that_one_chooses_and_another_changes():
    known = ["model.head.name", "model.head.alpha", "model.embedding_size"]
    chosen = {"pme": {"model.head.name": "pme"}, "flat": {"model.head.alpha": 0}}
    with pytest.raises(errors.ConfigError, match="pme chooses model.head.name=pme, and flat sets model.head.alpha of"):
        ablations.check_together(chosen, known)
    chosen["flat"]["model.head.name"] = "pme"
    ablations.check_together(chosen, known)
    ablations.check_together({"pme": chosen["pme"], "small": {"model.embedding_size": 2}}, known)
