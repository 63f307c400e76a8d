"""What reading and splitting a log must give, worked out in plain Python; imports nothing of mbjax.

A log is a list of rows (user, item, behavior, time) in file order. Compare ``split_log`` with ``mbjax.data.log.read``.
"""

from __future__ import annotations

from collections import Counter


def split_log(
    rows,
    behaviors,
    *,
    split="leave_one_out",
    deduplicate=True,
    min_count=0,
    min_user_count=None,
    min_item_count=None,
    min_count_on="target",
    min_count_iterative=True,
    require_target_train=True,
):
    """Splits a log.

    Returns:
      "train", "valid", "test" -> {(user, item, behavior)}; "users", "items" -> sorted raw ids; "dropped" -> {("user" or
      "item", step): sorted raw ids}; "windows" -> rows of each split before users without a target go.
    """
    target = behaviors[-1]
    dropped: dict[tuple[str, str], list] = {}

    def keep(before, is_kept, step):
        after = [row for row in before if is_kept(row)]
        for what, at in (("user", 0), ("item", 1)):
            gone = {row[at] for row in before} - {row[at] for row in after}
            if gone:
                dropped[what, step] = sorted(gone)
        return after

    kept = keep(rows, lambda row: row[2] in behaviors, "behaviors")
    kept = sorted(kept, key=lambda row: row[3])  # stable: rows of one time stay in file order
    if deduplicate:
        seen, first = set(), []
        for row in kept:
            if row[:3] not in seen:
                first.append(row)
            seen.add(row[:3])
        kept = first

    least_user = min_count if min_user_count is None else min_user_count
    least_item = min_count if min_item_count is None else min_item_count
    before, count = kept, kept
    while True:
        pairs = {row[:2] for row in count if min_count_on == "union" or row[2] == target}
        of_user, of_item = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        rest = [row for row in count if of_user[row[0]] >= least_user and of_item[row[1]] >= least_item]
        if not min_count_iterative or rest == count:
            break
        count = rest
    left = {id(row) for row in rest}
    kept = keep(before, lambda row: id(row) in left, "min_count")

    part = {}
    if split == "leave_one_out":
        for row in kept:
            part[id(row)] = "train"
        last: dict = {}
        for row in kept:
            if row[2] == target:
                last.setdefault(row[0], []).append(row)
        for bought in last.values():
            if len(bought) >= 2:
                part[id(bought[-1])] = "test"
    elif kept:
        times = [row[3] for row in kept]
        cuts = [times[min(len(times) * share // 10, len(times) - 1)] for share in (8, 9)]
        for row in kept:
            part[id(row)] = "train" if row[3] < cuts[0] else "valid" if row[3] < cuts[1] else "test"
    windows = Counter(part.values())
    if require_target_train:
        buyers = {row[0] for row in kept if part[id(row)] == "train" and row[2] == target}
        kept = keep(kept, lambda row: row[0] in buyers, "require_target_train")
    found = {name: {row[:3] for row in kept if part[id(row)] == name} for name in ("train", "valid", "test")}
    users, items = (sorted({row[at] for row in kept}) for at in (0, 1))
    return found | {"users": users, "items": items, "dropped": dropped, "windows": windows}
