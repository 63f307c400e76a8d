"""Counts of figures of a data set, by hand."""

import numpy as np
import toy
from scipy import sparse

from mbjax.reporting.figures import drawing, of_data


def test_histogram(tmp_path):
    source = toy.dataset(2)
    view = sparse.csr_array(np.arange(31)[None, :] < np.array([0, 1, 2, 3, 4, 7, 8, *[31] * 16])[:, None])
    source.train["view"] = view.astype(np.uint8)
    drawn = of_data.histogram(source)
    found = drawn.table.filter(drawn.table["behavior"] == "view")
    assert found["items"].to_list() == ["0", "1", "2 to 3", "4 to 7", "8 to 15", "16 to 31"]
    assert found["users"].to_list() == [1, 1, 2, 2, 1, 16]
    assert [path.name for path in drawing.write(drawn, tmp_path, "histogram")] == ["histogram.csv", "histogram.png"]
    assert (tmp_path / "histogram.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "histogram.csv").read_text().startswith("behavior,items,from,to,users\nview,0,0,0,1\n")


def test_patterns_are_shares_of_all_pairs():
    source = toy.dataset(2)
    drawn = of_data.patterns(source)
    met = {b: sum(part[b].toarray() for part in (source.train, source.valid, source.test) if b in part) > 0
           for b in ("view", "buy")}  # fmt: skip
    wanted = {
        "view + buy": (met["view"] & met["buy"]).sum(),
        "view": (met["view"] & ~met["buy"]).sum(),
        "buy": (~met["view"] & met["buy"]).sum(),
    }
    assert dict(zip(drawn.table["behaviors"], drawn.table["pairs"], strict=True)) == {
        k: v for k, v in wanted.items() if v
    }
    assert abs(drawn.table["share"].sum() - 1) < 1e-12
