"""The models, by name. Adding one is a file beside this one, two lines here, and a YAML file in ``configs/models``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pydantic

from mbjax import errors, types
from mbjax.models import (
    als,
    bcipm,
    bigel,
    bpr_mf,
    bvae,
    cascading_rank,
    cigf,
    cmf,
    cml,
    copf,
    crgcn,
    cross_occurrence,
    ease,
    ehcf,
    funnel,
    funnel_config,
    ghcf,
    gnmr,
    itemknn,
    kmclr,
    lightgcn,
    lightgcn_m,
    mbcgcn,
    mbgcn,
    mc,
    multivae,
    ncf,
    ngcf,
    nmtr,
    own_items,
    pkef,
    popularity,
    rgcn,
    smbrec,
    vaepp,
)


class ModelEntry(NamedTuple):
    """What the rest of the library needs to offer a model.

    Attributes:
      config: the class of the configuration's section ``model``.
      build: ``(config, info, batch_size) -> types.Model``.
      summary: one line for ``--help`` and tables.
      rows: what ``train.batch_size`` counts, ``"users"`` or observed ``"pairs"``.
      chosen: what validation pairs choose of it: ``"epoch"``; the field of its section that is ``"auto"`` for that; "",
        nothing.
    """

    config: type[pydantic.BaseModel]
    build: Callable[[pydantic.BaseModel, types.DatasetInfo, int], types.Model]
    summary: str
    rows: str = "users"
    chosen: str = "epoch"


MODELS: dict[str, ModelEntry] = {
    "funnel": ModelEntry(
        funnel_config.FunnelConfig, funnel.build, "familiar and new items, an expert each, and a gate (ours)"
    ),
    "copf": ModelEntry(copf.CopfConfig, copf.build, "cascaded graph convolution with fitted experts (KDD 2025)"),
    "bvae": ModelEntry(bvae.BvaeConfig, bvae.build, "behavior-aware variational autoencoder (RecSys 2023)"),
    "multivae": ModelEntry(multivae.MultivaeConfig, multivae.build, "Mult-VAE of one behavior or the union (WWW 2018)"),
    "vaepp": ModelEntry(vaepp.VaeppConfig, vaepp.build, "autoencoder of a behavior, helped by the others (WSDM 2022)"),
    "bigel": ModelEntry(bigel.BigelConfig, bigel.build, "BiGEL (reconstructed), cascaded graphs and feedback (2026)"),
    "pkef": ModelEntry(pkef.PkefConfig, pkef.build, "parallel and cascaded graphs, projected experts (CIKM 2023)"),
    "bpr_mf": ModelEntry(bpr_mf.BprMfConfig, bpr_mf.build, "matrix factorization of one behavior (UAI 2009)"),
    "ngcf": ModelEntry(ngcf.NgcfConfig, ngcf.build, "graph convolution with weights of one behavior (SIGIR 2019)"),
    "ehcf": ModelEntry(ehcf.EhcfConfig, ehcf.build, "transferred vectors of behaviors, no sampling (AAAI 2020)"),
    "ghcf": ModelEntry(ghcf.GhcfConfig, ghcf.build, "EHCF on graphs of all behaviors (AAAI 2021)"),
    "lightgcn": ModelEntry(lightgcn.LightgcnConfig, lightgcn.build, "graph convolution of one behavior (SIGIR 2020)"),
    "lightgcn_m": ModelEntry(lightgcn_m.LightgcnMConfig, lightgcn_m.build, "LightGCN on the graph of all behaviors"),
    "mbcgcn": ModelEntry(mbcgcn.MbcgcnConfig, mbcgcn.build, "cascade of graph convolutions and maps (WWW 2023)"),
    "crgcn": ModelEntry(crgcn.CrgcnConfig, crgcn.build, "cascade of residual graph convolutions (TOIS 2023)"),
    "cml": ModelEntry(cml.CmlConfig, cml.build, "graphs of behaviors, a network that weighs losses (WSDM 2022)"),
    "kmclr": ModelEntry(kmclr.KmclrConfig, kmclr.build, "CML beside contrastive LightGCN, no knowledge graph (2023)"),
    "bcipm": ModelEntry(bcipm.BcipmConfig, bcipm.build, "preferences in the context of a behavior (SIGIR 2024)"),
    "mbgcn": ModelEntry(mbgcn.MbgcnConfig, mbgcn.build, "strengths of behaviors, related items (SIGIR 2020)"),
    "gnmr": ModelEntry(gnmr.GnmrConfig, gnmr.build, "channels, attention and gate of behaviors (ICDE 2021)"),
    "rgcn": ModelEntry(rgcn.RgcnConfig, rgcn.build, "R-GCN, behaviors as relations (ESWC 2018), reconstructed"),
    "smbrec": ModelEntry(smbrec.SmbrecConfig, smbrec.build, "what behaviors share and what differs (IJCAI 2022)"),
    "nmtr": ModelEntry(nmtr.NmtrConfig, nmtr.build, "neural multi-task cascade of behaviors (ICDE 2019)", "pairs"),
    "cmf": ModelEntry(cmf.CmfConfig, cmf.build, "matrices of all behaviors with shared factors (KDD 2008)", "pairs"),
    "gmf": ModelEntry(ncf.GmfConfig, ncf.build_gmf, "generalized matrix factorization (WWW 2017)", "pairs"),
    "mlp": ModelEntry(ncf.MlpConfig, ncf.build_mlp, "multi-layer perceptron of one behavior (WWW 2017)", "pairs"),
    "neumf": ModelEntry(ncf.NeumfConfig, ncf.build_neumf, "neural matrix factorization (WWW 2017)", "pairs"),
    "mc_bpr": ModelEntry(mc.McBprConfig, mc.build_bpr, "BPR with behaviors as levels (RecSys 2016)", "pairs"),
    "mc_gmf": ModelEntry(mc.McGmfConfig, mc.build_gmf, "GMF with negatives of weaker behaviors", "pairs"),
    "mc_mlp": ModelEntry(mc.McMlpConfig, mc.build_mlp, "MLP with negatives of weaker behaviors", "pairs"),
    "mc_neumf": ModelEntry(mc.McNeumfConfig, mc.build_neumf, "NeuMF with negatives of weaker behaviors", "pairs"),
    "cigf": ModelEntry(cigf.CigfConfig, cigf.build, "compressed interaction graphs, multi-expert head (WWW 2023)"),
    "popularity": ModelEntry(
        popularity.PopularityConfig, popularity.build, "training count of the behavior; untrained", chosen=""
    ),
    "own_items": ModelEntry(
        own_items.OwnItemsConfig, own_items.build, "items met by other behaviors; untrained", chosen=""
    ),
    "itemknn": ModelEntry(
        itemknn.ItemknnConfig, itemknn.build, "item-based nearest neighbors (TOIS 2004); untrained", chosen=""
    ),
    "cross_occurrence": ModelEntry(
        cross_occurrence.CrossOccurrenceConfig,
        cross_occurrence.build,
        "item neighbors across behaviors; untrained",
        chosen="",
    ),
    "ease": ModelEntry(
        ease.EaseConfig,
        ease.build,
        "ridge regressions on all behaviors in closed form (EASE, WWW 2019)",
        chosen="penalty",
    ),
    "als": ModelEntry(als.AlsConfig, als.build, "implicit ALS of all behaviors (iALS, RecSys 2022)", chosen=""),
    "cascading_rank": ModelEntry(
        cascading_rank.CascadingRankConfig, cascading_rank.build, "cascade of random walks (2025); untrained", chosen=""
    ),
}


def entry(name: str) -> ModelEntry:
    """Looks a model up; ConfigError with the nearest right name if there is none."""
    if name not in MODELS:
        raise errors.unknown("model", name, MODELS)
    return MODELS[name]


def check_chosen(name: str, section: pydantic.BaseModel, epochs: int) -> None:
    """Raises ConfigError where validation pairs choose nothing of a model, so that it cannot be trained again by them.

    Args:
      name: of the model.
      section: its configuration.
      epochs: that it is trained for.
    """
    chosen = entry(name).chosen
    if epochs if chosen == "epoch" else chosen and getattr(section, chosen) == "auto":
        return
    why = f"{name} has no epochs and no setting that they choose. Give"
    if chosen == "epoch":
        why = "train.epochs=0 leaves them no epoch to choose. Let it be 1 or more, or give"
    elif chosen:
        why = f"model.{chosen}={getattr(section, chosen)} was given. Let it be model.{chosen}=auto, or give"
    raise errors.ConfigError(
        f"--retrain trains again with what validation pairs chose, and {why} --data.valid=into_train in place of "
        "--retrain: validation pairs are training pairs then from the start."
    )
