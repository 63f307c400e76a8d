"""What the texts say is true where it can be checked: who wrote what, what differs, and numbers of results files."""

from __future__ import annotations

import ast
import json
import re
import statistics
from pathlib import Path

import pytest

from mbjax.reporting import literature

ROOT = Path(__file__).resolve().parent.parent
HEADERS = sorted((ROOT / "configs" / "models").glob("*.yaml"))
MEANING = (ROOT / "docs" / "what_these_numbers_mean.md").read_text(encoding="utf-8")

# Of every text that people read beside the code; what `mbjax compare` and `mbjax results` write is made, not said.
TEXTS = [
    *sorted((ROOT / "mbjax").rglob("*.py")),
    *sorted((ROOT / "configs").rglob("*.yaml")),
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*.*")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
# First author and venue of every paper that is named with "et al.".
PAPERS = {
    ("Zhai", "KDD 2025"),  # COPF
    ("Meng", "CIKM 2023"),  # PKEF
    ("Rao", "RecSys 2023"),  # BVAE
    ("Gao", "ICDE 2019"),  # NMTR
    ("Guo", "WWW 2023"),  # CIGF
    ("Cheng", "WWW 2023"),  # MB-CGCN
    ("Yan", "TOIS 2023"),  # CRGCN
    ("He", "SIGIR 2020"),  # LightGCN
    ("He", "WWW 2017"),  # neural collaborative filtering
    ("Liang", "WWW 2018"),  # Mult-VAE
    ("Rendle", "UAI 2009"),  # BPR
    ("Vancura", "RecSys 2022"),  # ELSA
    ("Rendle", "RecSys 2022"),  # penalties that grow with frequency
    ("Loni", "RecSys 2016"),  # multi-channel BPR
    ("Zhao", "WWW 2015"),  # factorization of behaviors
    ("Chen", "AAAI 2021"),  # GHCF
    ("Chen", "AAAI 2020"),  # EHCF
    ("Wang", "SIGIR 2019"),  # NGCF
    ("Ma", "WSDM 2022"),  # VAE++
    ("Wei", "WSDM 2022"),  # CML
    ("Xuan", "WSDM 2023"),  # KMCLR
    ("Yan", "SIGIR 2024"),  # BCIPM
    ("Jin", "SIGIR 2020"),  # MBGCN
    ("Schlichtkrull", "ESWC 2018"),  # R-GCN
    ("Xia", "ICDE 2021"),  # GNMR
    ("Gu", "IJCAI 2022"),  # S-MBRec
    ("Ma", "KDD 2018"),  # MMOE
    ("Tang", "RecSys 2020"),  # PLE
    ("Kim", "CIKM 2025"),  # MEMBER
    ("Ren", "AAAI 2019"),  # RepeatNet
    ("Li", "TOIS 2023"),  # next baskets, repeated and explored
    ("Li", "SIGIR 2024"),  # BPMR
    ("Ma", "SIGIR 2018"),  # ESMM
}
VENUE = re.compile(r"(?:KDD|CIKM|RecSys|ICDE|WWW|TOIS|SIGIR|UAI|AAAI|WSDM|IJCAI|ESWC) \d{4}")
# Model -> how the first line of its file in configs/models goes on after the colon, and the venue and year.
HEADER_OF = {
    "als": ("Hu, Koren, Volinsky,", "RecSys 2022"),
    "bigel": ("Lai, Pan, Ming,", "arXiv 2601.07294"),
    "bpr_mf": ("Rendle, Freudenthaler, Gantner, Schmidt-Thieme,", "UAI 2009"),
    "bvae": ("Rao, Liu, Pan, Ming,", "RecSys 2023"),
    "cascading_rank": ("Ko, Jeon, Jung,", "arXiv 2502.11335"),
    "cigf": ("Guo et al.,", "WWW 2023"),
    "bcipm": ("Yan, Liu, Sun, Sun, Cheng, Han,", "SIGIR 2024"),
    "cml": ("Wei, Huang, Xia, Xu, Zhao, Yin,", "WSDM 2022"),
    "kmclr": ("Xuan, Liu, Li, Yin,", "WSDM 2023"),
    "cmf": ("Singh and Gordon,", "KDD 2008"),
    "copf": ("Zhai, Meng, Yang, Zhang, Zhao, Li,", "KDD 2025"),
    "crgcn": ("Yan et al.,", "TOIS 2023"),
    "gmf": ("He et al.,", "WWW 2017"),
    "ease": ("Steck,", "WWW 2019"),
    "ehcf": ("Chen, Zhang, Zhang, Ma, Liu, Ma,", "AAAI 2020"),
    "ghcf": ("Chen, Ma, Zhang, Wang, Zhang, Liu, Ma,", "AAAI 2021"),
    "ngcf": ("Wang, He, Wang, Feng, Chua,", "SIGIR 2019"),
    "gnmr": ("Xia, Huang, Xu, Dai, Lu, Bo,", "ICDE 2021"),
    "itemknn": ("Deshpande, Karypis,", "(2004)"),
    "lightgcn": ("He, Deng, Wang, Li, Zhang, Wang,", "SIGIR 2020"),
    "lightgcn_m": ('LightGCN "enhanced with the multi-behavioral graph"', "KDD 2025"),
    "mbcgcn": ("Cheng et al.,", "WWW 2023"),
    **{f"mc_{name}": ("the levels of Loni et al.,", "RecSys 2016") for name in ("bpr", "gmf", "mlp", "neumf")},
    "mbgcn": ("Jin, Gao, He, Jin, Li,", "SIGIR 2020"),
    "mlp": ("He et al.,", "WWW 2017"),
    "multivae": ("Liang, Krishnan, Hoffman, Jebara,", "WWW 2018"),
    "neumf": ("He et al.,", "WWW 2017"),
    "nmtr": ("Gao et al.,", "ICDE 2019"),
    "pkef": ("Meng et al.,", "CIKM 2023"),
    "vaepp": ("Ma, Chen, Pan, Ming,", "WSDM 2022"),
    "smbrec": ("Gu, Wang, Shi, Xiao,", "IJCAI 2022"),
    "rgcn": ("Schlichtkrull, Kipf, Bloem, van den Berg, Titov, Welling,", "ESWC 2018"),
}
WITHOUT_PAPER = {"cross_occurrence", "funnel", "own_items", "popularity"}
# Modules that hold no model of a paper: what several share, and what a frame is.
SHARED = {
    "funnel_config",
    "funnel_experts",
    "funnel_findings",
    "funnel_foresight",
    "funnel_tables",
    "__init__",
    "base",
    "cml_weights",
    "compose",
    "compose_config",
    "composed",
    "ease_penalty",
    "ease_shares",
    "multiplicity",
    "ncf_units",
    "objectives",
    "pointwise",
    "untrained",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_authors_and_venues_belong_together(path):
    """``Zhai et al., KDD 2025``: the next venue after an author is that of a paper of theirs."""
    text = re.sub(r"\n#? *", " ", path.read_text(encoding="utf-8"))
    for found in re.finditer(r"([A-Z][a-z]+) et al\b", text):
        venue = VENUE.search(text[found.end() : found.end() + 200])
        assert (found[1], venue and venue[0]) in PAPERS, text[found.start() : found.end() + 60]


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_what_was_not_at_hand_is_not_called_unpublished(path):
    """BiGEL's text is public, its equations were not available to us, and it is no "bidirectional graph learning"."""
    text = " ".join(path.read_text(encoding="utf-8").split()).lower()
    assert "bidirectional graph learning" not in text
    for place in re.finditer(r"\bbigel\b", text):
        assert "not public" not in text[max(0, place.start() - 200) : place.end() + 200]
    if path.stem == "bigel":
        assert "reconstructed from the abstract" in text and "equations were not available to us" in text


BRITISH = re.compile(
    r"\w*(?:ormalis|egularis|nitialis|actoris|ectoris|andomis|inimis|aximis|ecognis|ptimis[ei]|ummaris|eneralis)\w*"
    r"|\w*(?:ehaviour|eighbour|olour)\w*|\b[Aa]fterwards\b|\b[Tt]owards\b"
)


def test_spelling_is_american():
    found = {str(path.relative_to(ROOT)): BRITISH.findall(path.read_text(encoding="utf-8")) for path in TEXTS}
    assert not {name: words for name, words in found.items() if words}


def test_the_header_of_every_configuration_names_the_authors():
    assert {path.stem for path in HEADERS} == set(HEADER_OF) | WITHOUT_PAPER
    for path in HEADERS:
        if path.stem in HEADER_OF:
            comment = " ".join(re.findall(r"^# (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)[:4])
            authors, venue = HEADER_OF[path.stem]
            assert comment.partition(": ")[2].startswith(authors), path.name
            assert venue in comment, path.name


@pytest.mark.parametrize("layer", ["models", "backbones", "heads"])
def test_every_module_of_a_paper_says_what_differs(layer):
    modules = [path for path in (ROOT / "mbjax" / layer).glob("*.py") if path.stem not in SHARED]
    assert modules
    for path in modules:
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert re.search(r"^Differences:", told, re.MULTILINE), path.name


# Rows of the three tables of docs/what_these_numbers_mean.md -> results file, and selection where it is not the last
# epoch (Taobao) or the one that validation chose (the others).
TAOBAO = {
    "`own_items`, by conversion": "own_items-taobao-paper-conversion",
    "`cross_occurrence`": "cross_occurrence-taobao-paper",
    "`cascading_rank`": "cascading_rank-taobao-paper",
    "`own_items`": "own_items-taobao-paper",
    "COPF": "copf-taobao-paper",
    "COGCN + PME, 100 epochs": "copf-taobao-paper-pme-layers_2-2-2-epochs_100-eval_every_5",
    "COPF (contrastive term as in the paper), 85 epochs": "copf-taobao-paper-paper_weight-epochs_85-eval_every_5",
    "PKEF": "pkef-taobao-paper",
    "COPF (likewise; layers 4, 1, 1; temperature 0.1), 100 epochs": (
        "copf-taobao-paper-paper_weight-layers_4-1-1-temperature_0.1-epochs_100"
    ),
    "`itemknn`, all behaviors": "itemknn-taobao-paper",
    "CRGCN, 180 epochs": "crgcn-taobao-paper-epochs_200-eval_every_5",
    "CIGF, 25 epochs, rising": "cigf-taobao-paper-epochs_25-eval_every_5",
    "MB-CGCN from the tables of LightGCN, views; 40 epochs, rising": (
        "mbcgcn-taobao-paper-epochs_40-eval_every_5-init_from_runs_lightgcn-taobao-view"
    ),
    "`itemknn`, purchases": "itemknn-taobao-paper-behavior",
    "LightGCN, views only, 20 epochs, rising": (
        "lightgcn-taobao-paper-target_view-behaviors_buy-num_layers_1-epochs_20-eval_every_1"
    ),
    "LightGCN, purchases, 300 epochs": "lightgcn-taobao-paper-epochs_300",
    "LightGCN_M, 100 epochs, still rising": "lightgcn_m-taobao-paper-epochs_100-eval_every_10",
    "BPR-MF, purchases, 300 epochs": "bpr_mf-taobao-paper-epochs_300",
    "NeuMF, purchases": "neumf-taobao-paper-eval_every_5",
    "MB-CGCN, 55 epochs": "mbcgcn-taobao-paper-epochs_60-eval_every_5",
    "NMTR-GMF": "nmtr-taobao-paper-eval_every_10",
    "`popularity`": "popularity-taobao-paper",
    "NMTR-MLP": "nmtr-taobao-paper-mlp-eval_every_10",
    "NMTR-NeuMF": "nmtr-taobao-paper-neumf-eval_every_15",
}
RETAIL_ROCKET = {
    "`cross_occurrence`": "cross_occurrence-retail_rocket",
    "`own_items`, by conversion": "own_items-retail_rocket-conversion",
    "`itemknn`, all behaviors": "itemknn-retail_rocket",
    "BVAE, 60 epochs": "bvae-retail_rocket-epochs_60-eval_every_5",
    "BiGEL (reconstructed), 100 epochs": "bigel-retail_rocket-batch_size_256-epochs_100-learning_rate_0.01",
    "`popularity`": "popularity-retail_rocket",
    "NeuMF, purchases, 20 epochs": "neumf-retail_rocket-eval_every_5",
    "NMTR-GMF, 10 epochs": "nmtr-retail_rocket-epochs_10-eval_every_5",
    "`own_items`": "own_items-retail_rocket",
    "NMTR-NeuMF, 10 epochs": "nmtr-retail_rocket-neumf-epochs_10-eval_every_5",
    "NMTR-MLP, 10 epochs": "nmtr-retail_rocket-mlp-epochs_10-eval_every_5",
    "`cascading_rank`": "cascading_rank-retail_rocket",
    "`itemknn`, purchases": "itemknn-retail_rocket-behavior",
    "LightGCN, purchases": "lightgcn-retail_rocket",
    "BPR-MF, purchases": "bpr_mf-retail_rocket",
    "PKEF, 30 epochs": "pkef-retail_rocket-decay_rate_0.8729-decay_steps_39-epochs_30-eval_every_5",
    "COPF, 30 epochs": "copf-retail_rocket-decay_rate_0.7614-epochs_30-eval_every_5",
}
JD = {
    "`cross_occurrence`": "cross_occurrence-jd",
    "`own_items`, by conversion": "own_items-jd-conversion",
    "BVAE, 200 epochs": "bvae-jd-epochs_200-patience_100",
    "`itemknn`, the behavior alone": "itemknn-jd-behavior",
    "LightGCN, purchases, 441 epochs": "lightgcn-jd-epochs_441",
    "BiGEL (reconstructed), 100 epochs": "bigel-jd-batch_size_512-epochs_100-learning_rate_0.01",
    "`itemknn`, all behaviors": "itemknn-jd",
    "BPR-MF, purchases": "bpr_mf-jd",
    "PKEF, 30 epochs": "pkef-jd-decay_rate_0.8729-epochs_30",
    "`cascading_rank`": "cascading_rank-jd",
    "NeuMF, purchases, 20 epochs": "neumf-jd-eval_every_5",
    "`own_items`": "own_items-jd",
    "COPF, 25 epochs": "copf-jd-epochs_25-eval_every_5",
    "NMTR-GMF, 15 epochs": "nmtr-jd-epochs_15-eval_every_5",
    "NMTR-NeuMF, 10 epochs": "nmtr-jd-neumf-epochs_10-eval_every_10",
    "NMTR-MLP, 10 epochs": "nmtr-jd-mlp-epochs_10-eval_every_10",
    "`popularity`": "popularity-jd",
}


def record(name: str) -> dict:
    return json.loads((ROOT / "results" / f"{name}-seed0.json").read_text(encoding="utf-8"))


def result(name: str, selection: str) -> dict:
    """Behavior -> metrics of a results file; the last epoch where nothing is selected."""
    chosen = record(name)["selection"]
    return chosen.get(selection, chosen["last"])


def rows(section: str, page: str = MEANING) -> dict[str, list[str]]:
    """First cell -> the others, of the tables of a section."""
    text = page[page.index(section) :].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def agrees(said: str, value: float | None) -> bool:
    """Whether a share as texts print it, four digits without the zero before the point, is a value of six digits."""
    if value is None or not said:
        return value is None and not said
    return re.fullmatch(r"\.\d{4}", said) is not None and abs(float(said) - value) < 0.5e-4 + 0.6e-6


def test_the_table_of_taobao():
    table = rows("## 4. Taobao")
    assert set(table) == set(TAOBAO)
    for label, name in TAOBAO.items():
        found = result(name, "last")["buy"]
        parts = [found["visited"], found["unvisited"]]
        hits = [part["hr@10"] * part["pairs"] for part in parts]
        hr, paper, visited, unvisited, share = table[label]
        for said, row in zip((hr, visited, unvisited), (found, *parts), strict=True):
            assert agrees(said, row["hr@10"]), label
        row = literature.find_of(record(name)).get("buy")
        assert agrees(paper, row and row["metrics"]["hr@10"]), label
        assert share == f"{100 * hits[0] / sum(hits):.0f} %", label


def test_the_table_of_retail_rocket():
    table = rows("## 5. Retail Rocket")
    assert set(table) == set(RETAIL_ROCKET)
    for label, name in RETAIL_ROCKET.items():
        found = result(name, "valid")["buy"]
        hr, ndcg = table[label]
        assert agrees(hr, found["hr@10"]) and agrees(ndcg, found["ndcg@10"]), label


def test_the_table_of_jd():
    table = rows("## 6. JD")
    assert set(table) == set(JD)
    for label, name in JD.items():
        found = result(name, "valid")
        purchase = found["purchase"]
        expected = [purchase, purchase["visited"], purchase["unvisited"], found.get("click"), found.get("favourite")]
        for said, row in zip(table[label], expected, strict=True):
            assert agrees(said, row and row["ndcg@5"]), label


NEIGHBORS_1000 = {
    "itemknn-taobao-paper-behavior-neighbors_1000": " for purchases alone",
    "cross_occurrence-taobao-paper-neighbors_1000-weights__cart_0.0": " for purchases with a tenth of views",
}


@pytest.mark.parametrize("name", NEIGHBORS_1000)
def test_what_more_neighbors_reach(name):
    (said,) = re.findall(rf"(\.\d{{4}}){NEIGHBORS_1000[name]}", " ".join(MEANING.split()))
    assert agrees(said, result(name, "last")["buy"]["unvisited"]["hr@10"])


def test_cross_occurrence_of_all_pairs_of_retail_rocket():
    found = result("cross_occurrence-retail_rocket-paper", "last")["buy"]
    hr, ndcg = re.search(r"`cross_occurrence` has (\.\d{4}) / (\.\d{4})", MEANING).groups()
    assert agrees(hr, found["hr@10"]) and agrees(ndcg, found["ndcg@10"])


COPF_PAGE = (ROOT / "docs" / "copf_on_taobao.md").read_text(encoding="utf-8")
# (section, first cell, column, results file, selection): HR@10 / NDCG@10 of docs/copf_on_taobao.md.
COPF_CELLS = [
    *(
        ("## Other heads", label, column, f"copf-taobao-paper-{name}-eval_every_5", "last")
        for label, column, name in (
            ("bilinear", 2, "bilinear-epochs_25"),
            ("MESI", 2, "mesi-epochs_25"),
            ("MMOE", 2, "mmoe-epochs_25"),
            ("PLE", 2, "ple-epochs_25"),
            ("shared bottom, one linear unit (as in the program of CIGF)", 2, "shared_bottom-epochs_25"),
            ("shared bottom with a hidden layer of 64", 1, "shared_bottom-hidden_64-epochs_15"),
            ("bilinear, with the contrastive term, weight 0.1", 1, "bilinear_con-epochs_15"),
        )
    ),
    *(
        ("## With a validation split", label, 2, name, "valid")
        for label, name in (
            ("COGCN + PME, no term", "copf-taobao-layers_2-2-2-weight_0.0-name_pme-epochs_60-eval_every_5"),
            ("COPF, temperature 0.5, weight 0.1", "copf-taobao-eval_every_5"),
            ("PKEF", "pkef-taobao-epochs_100-eval_every_5"),
        )
    ),
    *(
        ("## Other backbones", label, column, f"{name}-taobao-paper-{rest}", selection)
        for label, name, rest in (
            ("LightGCN_M", "lightgcn_m", "epochs_100-eval_every_10"),
            ("MB-CGCN, layers 1, 5, 3, full graphs", "mbcgcn", "epochs_60-eval_every_5"),
            ("CRGCN, one layer", "crgcn", "epochs_200-eval_every_5"),
            ("CIGF, layers 2, published schedule", "cigf", "epochs_25-eval_every_5"),
        )
        for column, selection in ((1, "best_test"), (2, "last"))
    ),
]


@pytest.mark.parametrize(("section", "label", "column", "name", "selection"), COPF_CELLS)
def test_cells_of_the_page_on_copf(section, label, column, name, selection):
    page = COPF_PAGE.partition("With DFME, in COPF's regime")[0]  # the table below it has rows of the same names
    hr, ndcg = rows(section, page)[label][column].split(" / ")
    found = record(name)["selection"][selection]["buy"]
    assert agrees(hr, found["hr@10"]) and agrees(ndcg, found["ndcg@10"])


# "#   --flag ..." in one or more lines, then, behind them or below, what came of the run.
ENTRY = re.compile(r"^#   (?P<flags>--dataset\S+(?:(?: |\n#   )--\S+)*)(?P<said>.*(?:\n#       .*)*)", re.MULTILINE)
SAID = re.compile(r"(last|best on test|chosen on validation) (\.\d{4}) / (\.\d{4})")
SELECTIONS = {"last": "last", "best on test": "best_test", "chosen on validation": "valid"}


def measured(path: Path) -> list[tuple[set[str], list[tuple[str, str, str]]]]:
    """Of each run that a header reports: its flags, and (how the epoch was chosen, HR@10, NDCG@10)."""
    text = path.read_text(encoding="utf-8").partition("\nsummary:")[0].partition("# Measured")[2]
    found = [(re.findall(r"--\S+", entry["flags"]), SAID.findall(entry["said"])) for entry in ENTRY.finditer(text)]
    return [({_short(flag) for flag in flags}, said) for flags, said in found]


def _short(flag: str) -> str:
    return flag.replace("--model.", "--")


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: path.stem)
def test_what_a_header_says_was_measured_is_in_a_results_file(path):
    records = [json.loads(file.read_text()) for file in (ROOT / "results").glob(f"{path.stem}-*.json")]
    for flags, said in measured(path):
        assert said, sorted(flags)
        fits = [r for r in records if flags == {_short(flag) for flag in r["command"].split()[3:]}]
        assert len(fits) == 1, sorted(flags)
        for kind, hr, ndcg in said:
            row = fits[0]["selection"][SELECTIONS[kind]]["buy"]
            assert agrees(hr, row["hr@10"]) and agrees(ndcg, row["ndcg@10"]), (sorted(flags), kind)


def test_most_headers_of_trained_models_report_a_run():
    """Else the test above holds of nothing."""
    assert sum(len(measured(path)) for path in HEADERS) >= 18


# (header, what it says, model and ablation, selection): three numbers of JD, of purchase, click, favourite.
JD_LINES = [
    ("bvae", "seeds    .0742 .0548 .0825", "bvae-jd-paper-eval_every_5", "test_per_behavior"),
    ("bvae", "one seed                     .0706 .0516 .0699", "bvae-jd-epochs_200-patience_100", "valid"),
    ("bvae", ".0719 .0517\n# .0803", "bvae-jd-paper-wo_sdwl-epochs_60-eval_every_5", "test_per_behavior"),
    ("bvae", ".0700 .0499 .0801", "bvae-jd-paper-epochs_60-eval_every_5", "test_per_behavior"),
]


@pytest.mark.parametrize(("header", "said", "name", "selection"), JD_LINES)
def test_three_numbers_of_jd(header, said, name, selection):
    assert said in (ROOT / "configs" / "models" / f"{header}.yaml").read_text(encoding="utf-8")
    files = (ROOT / "results").glob(f"{name}-seed?.json")
    tables = [json.loads(file.read_text())["selection"][selection] for file in files]
    for number, behavior in zip(re.findall(r"\.\d{4}", said), ("purchase", "click", "favourite"), strict=True):
        assert agrees(number, statistics.fmean(table[behavior]["ndcg@5"] for table in tables))


def test_both_autoencoders_of_jd():
    """T. / U. of each behavior; the sentence below them says how far these are from the published ones."""
    text = (ROOT / "configs" / "models" / "multivae.yaml").read_text(encoding="utf-8")
    published, ours = (line for line in text.splitlines() if line.startswith("#   jd "))
    union = result("multivae-jd-paper-union-epochs_60-eval_every_5", "test_per_behavior")
    off = {"T.": [], "U.": []}
    for behavior in ("purchase", "click", "favourite"):
        own = result(f"multivae-jd-paper-target_{behavior}-epochs_60-eval_every_5", "test_per_behavior")[behavior]
        of_paper, of_ours = (
            re.search(rf"{behavior} (\.\d{{4}}) / (\.\d{{4}})", line).groups() for line in (published, ours)
        )
        assert agrees(of_ours[0], own["ndcg@5"]) and agrees(of_ours[1], union[behavior]["ndcg@5"])
        for kind, paper, here in zip(off, of_paper, of_ours, strict=True):
            off[kind].append(round(100 * (float(here) / float(paper) - 1)))
    assert f"{min(off['U.'])} to {max(off['U.'])} % above the paper's" in text
    assert f"VAE(T.) is {-max(off['T.'])} to {-min(off['T.'])} % below" in text
