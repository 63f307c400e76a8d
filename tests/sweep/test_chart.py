"""What is drawn: a panel for each field that varied, and in it the points."""

from __future__ import annotations

from mbjax.sweep import chart, records


def line(number, setting, *values, state="finished"):
    runs = [records.Record("m", number, seed, setting, state, "buy:ndcg@5", value) for seed, value in enumerate(values)]
    return records.lines(runs, range(len(values)))[0]


def test_a_line_for_each_combination_of_the_other_fields():
    found = chart.panels(
        [
            line(0, {"model.x": "1", "model.kind": "a"}, 0.1, 0.3),
            line(1, {"model.x": "0.1", "model.kind": "a"}, 0.4),
            line(2, {"model.x": "1", "model.kind": "b"}, 0.5),
        ]
    )
    first, second = found
    assert first.field == "model.x" and first.is_log and not first.labels
    assert {label: [(p.x, round(p.mean, 3)) for p in points] for label, points in first.curves.items()} == {
        "kind=a": [(0.1, 0.4), (1.0, 0.2)],
        "kind=b": [(1.0, 0.5)],
    }
    assert round(first.curves["kind=a"][1].deviation, 3) == 0.1
    assert second.labels == ("a", "b") and [p.x for p in second.curves["x=1"]] == [0, 1]


def test_what_was_given_up_is_shown_at_what_it_had_and_failures_are_not():
    found = chart.panels(
        [
            line(0, {"x": "1"}, 0.1),
            line(1, {"x": "2"}, 0.05, state="given up"),
            line(2, {"x": "3"}, None, state="failed"),
        ]
    )
    assert [(p.x, p.mean, p.is_whole) for p in found[0].curves[""]] == [(1.0, 0.1, True), (2.0, 0.05, False)]


def test_nothing_to_draw(tmp_path):
    assert not chart.draw([line(0, {"x": "1"}, 0.1)], tmp_path / "x.png", title="m")
    assert not (tmp_path / "x.png").exists()


def test_a_setting_that_leaves_a_field_as_it_is_stands_at_the_models_own_value():
    lines = [line(0, {}, 0.3), line(1, {"x": "2", "kind": "b"}, 0.1), line(2, {"x": "4", "kind": "b"}, 0.2)]
    first, second = chart.panels(lines, {"x": "1", "kind": "a"})
    assert sorted((p.x, p.number) for points in first.curves.values() for p in points) == [(1, 0), (2, 1), (4, 2)]
    assert second.labels == ("a", "b")
    # What has no value of its own is in no panel of that field.
    (alone,) = chart.panels(lines)
    assert alone.field == "x" and {p.number for points in alone.curves.values() for p in points} == {1, 2}
