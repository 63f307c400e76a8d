"""Results files made up for tests of tables, and the cells of what comes out."""

from __future__ import annotations

PARTS = {"visited": (6, 0.3), "unvisited": (2, 0.1)}


def record(model, dataset="taobao", hr=0.1, *, epochs=10, protocol="honest", selection="valid", parts=None, **changes):
    metrics = {"users": 9, "hr@10": hr, "ndcg@10": hr / 2}
    metrics |= {part: {"pairs": pairs, "hr@10": value} for part, (pairs, value) in (parts or {}).items()}
    return {
        "model": model, "dataset": dataset, "ablation": None, "overrides": {}, "seed": 0, "epochs": epochs,
        "protocol": {"name": protocol}, "behaviors": ["view", "buy"], "selection": {selection: {"buy": metrics}},
    } | changes  # fmt: skip


def anchor(model, dataset, hr, **options):
    return record(model, dataset, hr, epochs=0, selection="last", **options)


def cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
