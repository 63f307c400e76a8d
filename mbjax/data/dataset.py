"""A data set ready for training and evaluation: content after the choice of behaviors and validation rule."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from scipy import sparse

from mbjax import errors, types
from mbjax.data import content, moments, options, splits, vocabulary

INSIDE = ("random_one", "file_inside_train")
"""Rules that take validation pairs out of training ones, whenever these happened."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Interaction matrices of the behaviors in use.

    All matrices are ``scipy.sparse.csr_array`` [U, I], uint8 ones, int32 indices ascending in each row. For every
    behavior the three splits are disjoint.

    Attributes:
      info: sizes and behaviors, funnel order, target last.
      train: of every behavior of ``info``.
      valid: of behaviors with held-out validation pairs; empty for the rule ``none``.
      test: of behaviors with held-out test pairs.
      users, items: raw ids.
      mask_valid: whether validation pairs are masked at test time.
      valid_rule: one of ``options.VALID_RULES``.
      fingerprint: hex SHA-256 of the content before any choice; see ``content.Content.fingerprint``.
      notes: what was counted, dropped or left out, one line each.
      unused: pairs that the files have and no split has, of behaviors that have such: those of ``data.hold_out`` and
        ``data.subsample``, and validation pairs that the rule does not use. They were seen, so no list offers them.
      visits: those among ``unused`` that left training with the validation pairs (``data.valid_leaves``).
      warned: those of the notes that were given as a ``DataWarning`` too.
      dropped: users and items of the files that are not among ``users`` and ``items``, by reason.
      empty: ``"valid"`` and ``"test"``, where a split has no pairs -> why, with a remedy where one is known.
      repeated: held-out split -> behavior -> pairs of the files that stand in the behavior's training too, and so were
        dropped from the split.
      repeats: see ``content.Content``.
      events: ``"train"`` and ``"valid"`` -> behavior -> when pairs happened, of ``info.behaviors``; empty where that is
        not known of each behavior. Those of training are of all pairs that the files have in training, held out or not.
      grown: whether it is the data set of a run with more pairs than that had, and nothing is held out.
    """

    info: types.DatasetInfo
    train: dict[str, sparse.csr_array]
    valid: dict[str, sparse.csr_array]
    test: dict[str, sparse.csr_array]
    users: vocabulary.Vocabulary
    items: vocabulary.Vocabulary
    mask_valid: bool
    valid_rule: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    dropped: tuple[content.Dropped, ...] = ()
    unused: dict[str, sparse.csr_array] = dataclasses.field(default_factory=dict)
    visits: dict[str, sparse.csr_array] = dataclasses.field(default_factory=dict)
    empty: Mapping[str, str] = dataclasses.field(default_factory=dict)
    repeated: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    repeats: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    events: moments.Parts = dataclasses.field(default_factory=dict)
    grown: bool = False

    def without_times(self) -> Dataset:
        """The same pairs, of which it is not known when they happened."""
        return dataclasses.replace(self, info=self.info._replace(times=False, later=False), events={})

    def user_index(self, raws) -> np.ndarray:
        """Indices of raw user ids, int32 [n], as ``Vocabulary.index``; whoever was left out is told why."""
        return self._index(self.users, raws, "user")

    def item_index(self, raws) -> np.ndarray:
        """Indices of raw item ids; otherwise as ``user_index``."""
        return self._index(self.items, raws, "item")

    def _index(self, known: vocabulary.Vocabulary, raws, what: str) -> np.ndarray:
        raws = raws.tolist() if isinstance(raws, np.ndarray) else list(raws)
        for raw in raws:
            if known.find(raw) is None:
                for left_out in self.dropped:
                    if left_out.what == what and left_out.ids.find(raw) is not None:
                        raise errors.DataError(_left_out(left_out, raw))
        return known.index(raws, what)


def _left_out(left_out: content.Dropped, raw) -> str:
    why = f" ({left_out.why})" if left_out.why else ""
    return (
        f"{left_out.what} '{raw}' is in the log, but was dropped by {left_out.field}={left_out.value}{why}. Train with "
        f"another {left_out.field} to keep such {left_out.what}s."
    )


def assemble(
    name: str, num_users: int, num_items: int, behaviors, pairs, *, choice=None, users=None, items=None, notes=()
) -> Dataset:
    """Makes a data set of pairs.

    Args:
      behaviors: funnel order, the target last.
      pairs: split -> behavior -> integers [n, 2], (user, item); the splits are those of ``content.SPLITS``.
      choice: an ``options.Options`` or anything with its attributes; None means the defaults.
      users, items: vocabularies; None means that indices are the raw ids.
      notes: lines to keep with the data set.

    Raises:
      ConfigError: as ``prepare``.
      ValueError: as ``content.build``.
    """
    built = content.build(name, num_users, num_items, behaviors, pairs, users=users, items=items, notes=notes)
    return prepare(built, choice)


def prepare(source: content.Content, choice=None) -> Dataset:
    """Applies the choice of behaviors, target, hold-out list and validation rule to the content of a data set.

    Raises:
      ConfigError: an unknown behavior or target, or a list or rule that this data set does not have.
      DataError: no behavior has training pairs.
    """
    choice = options.Options() if choice is None else choice
    notes = list(source.notes)
    behaviors = _behaviors(source, choice, notes)
    target = behaviors[-1]

    def of(split: str) -> dict[str, np.ndarray]:
        return {b: source.keys.get(split, {}).get(b, np.empty(0, np.int64)) for b in behaviors}

    train = of("train")
    if choice.hold_out is not None:
        train, left_out = splits.leave_out(choice.hold_out, train, source.hold_out)
        notes += left_out
    repeated = {split: _repeated(of(split), train) for split in ("valid", "test")}
    valid, test, dropped = splits.separate(train, of("valid"), of("test"))
    inside = of("valid_inside_train")
    # A release with validation files is split by time: what is validated on is not known earlier than what is tested.
    is_time_split = "valid" in source.keys
    rule = _rule(source, choice, valid, inside, notes)
    train, valid, held = splits.hold_out(
        rule, train, valid, inside, target=target, num_items=source.num_items, seed=choice.seed
    )
    visits = {}
    if choice.valid_leaves == "all_behaviors":
        before = train
        train, left = splits.leave_everywhere(before, valid)
        visits = {b: np.setdiff1d(keys, train[b], assume_unique=True) for b, keys in before.items()}
        held += left
    train, drawn = splits.subsample(train, choice.subsample, target=target, seed=choice.seed)
    notes += dropped + held + drawn + [*_without_target(valid, "valid", target), *_without_target(test, "test", target)]
    shape = (source.num_users, source.num_items)
    events = _events(source, behaviors, rule)
    later = bool(events) and rule not in INSIDE and _later(source, behaviors)
    return Dataset(
        info=types.DatasetInfo(
            source.name, source.num_users, source.num_items, behaviors, times=bool(events), later=later
        ),
        train={b: _matrix(keys, shape) for b, keys in train.items()},
        valid={b: _matrix(keys, shape) for b, keys in valid.items() if keys.size},
        test={b: _matrix(keys, shape) for b, keys in test.items() if keys.size},
        users=source.users,
        items=source.items,
        mask_valid=choice.mask_valid if choice.mask_valid is not None else not is_time_split,
        valid_rule=rule,
        fingerprint=source.fingerprint(),
        notes=tuple(notes),
        warned=tuple(note for note in notes if isinstance(note, _Warned)),
        dropped=source.dropped,
        empty=_empty(source, rule, valid, test, target),
        # Other rules hold out pairs of training, and each of those stands there once.
        repeated=repeated if rule == "file" else repeated | {"valid": {}},
        repeats=source.repeats,
        events=events,
        unused={b: _matrix(keys, shape) for b, keys in _unused(of, train, valid, test).items() if keys.size},
        visits={b: _matrix(keys, shape) for b, keys in visits.items() if keys.size},
    )


def _events(source: content.Content, behaviors: tuple[str, ...], rule: str) -> moments.Parts:
    """When pairs of training happened, and those of validation where files hold them out."""
    train = source.events.get("train", {})
    if any(b not in train for b in behaviors):
        return {}
    parts = {split: moments.of_parts(source.events, split, behaviors) for split in ("train", "valid")}
    if rule == "into_train":
        return {"train": {b: moments.joined(parts[split][b] for split in parts) for b in behaviors}, "valid": {}}
    return parts if rule == "file" else {"train": parts["train"], "valid": {}}


def _later(source: content.Content, behaviors: tuple[str, ...]) -> bool:
    """Whether validation pairs of the files happened after all training pairs; also where none are held out."""
    train, valid = (moments.of_parts(source.events, split, behaviors).values() for split in ("train", "valid"))
    return moments.end(train) <= moments.begin(valid) < np.inf


def _repeated(held: splits.KeysOf, train: splits.KeysOf) -> dict[str, int]:
    """How many held-out pairs stand in the training of their own behavior, of behaviors that have such."""
    known = {behavior: int(np.isin(keys, train[behavior], assume_unique=True).sum()) for behavior, keys in held.items()}
    return {behavior: number for behavior, number in known.items() if number}


def _unused(of: Callable[[str], splits.KeysOf], train: splits.KeysOf, valid: splits.KeysOf, test: splits.KeysOf):
    """The keys of each behavior that the source has in some split, and that are in none of the splits made of it."""
    given = {split: of(split) for split in content.SPLITS}
    found = {}
    for behavior, kept in train.items():
        parts = [given[split][behavior] for split in content.SPLITS if given[split][behavior] is not kept]
        rest = content.distinct(np.concatenate([*parts, kept[:0]]))
        for keys in (kept, *(split[behavior] for split in (valid, test) if behavior in split)):
            if keys.size:
                rest = rest[keys[np.minimum(np.searchsorted(keys, rest), keys.size - 1)] != rest]
        found[behavior] = rest
    return found


def _rule(source: content.Content, choice, valid: splits.KeysOf, inside: splits.KeysOf, notes: list[str]) -> str:
    """The rule that was asked for, or the data set's own: its validation pairs, else those listed inside training, else
    one drawn of each user.

    Raises:
      ConfigError: the data set is split by time, and none of its validation pairs can be used. To draw pairs of
        training instead is another protocol, which only the user can choose.
    """
    number = sum(keys.size for keys in valid.values())
    has_own = "valid" in source.empty or any(keys.size for keys in source.keys.get("valid", {}).values())
    rule = choice.valid
    if rule is None:
        has_list = any(keys.size for keys in inside.values())
        rule = "file" if number or (has_own and not has_list) else "random_one"
        rule = "file_inside_train" if rule == "random_one" and has_list else rule
        if rule == "random_one" and source.lost_valid_file:
            lost = f"{source.name}: this copy has no list of validation pairs (valid_inside_train files)"
            notes.append(_say(f"{lost}; its rule is then data.valid=random_one"))
    if rule == "file" and not number and has_own:
        unused = f"none of its validation pairs is of a behavior in use ({', '.join(valid)}). "
        why = source.empty.get("valid", f"{unused}Choose --data.valid=random_one or none")
        raise errors.ConfigError(f"{source.name}: no validation pairs: {why}.")
    if rule not in ("file", "into_train") and number:
        notes.append(f"valid: {number:,} validation pairs of {source.name} are not used (data.valid={rule})")
    return rule


def _without_target(held: splits.KeysOf, split: str, target: str) -> list[str]:
    """A note if a split has pairs, and none of the target."""
    others = [f"{b} ({keys.size:,})" for b, keys in held.items() if keys.size]
    has_target = target in held and held[target].size
    return [] if has_target or not others else [f"{split}: no pairs of the target '{target}', only {', '.join(others)}"]


def _empty(
    source: content.Content, rule: str, valid: splits.KeysOf, test: splits.KeysOf, target: str
) -> dict[str, str]:
    """Why a split has no pairs, where that is known."""
    found = dict(source.empty)
    found["valid"] = f"data.valid={rule} holds none out. Choose another data.valid"
    if rule == "random_one":
        found["valid"] = (
            f"no user has two training pairs of '{target}', of which data.valid=random_one holds one out. Choose "
            "another data.valid, for a log --data.log.split=time_80_10_10"
        )
    left_out = [b for b, keys in source.keys.get("test", {}).items() if keys.size and b not in test]
    if left_out and "test" not in found:
        found["test"] = (
            f"those that there are, of {', '.join(left_out)}, are of no behavior in use. Name one of these in "
            "--data.behaviors, or test another one: of a log the last of --log.behaviors is tested, and with "
            "--data.log.split=time_80_10_10 all"
        )
    held = {"valid": valid, "test": test}
    return {split: why for split, why in found.items() if not any(keys.size for keys in held[split].values())}


def _behaviors(source: content.Content, choice, notes: list[str]) -> tuple[str, ...]:
    """Behaviors in use, the target last; those left out are noted."""
    counts = {b: source.keys.get("train", {}).get(b, np.empty(0)).size for b in source.behaviors}
    if choice.behaviors is not None:
        names = tuple(choice.behaviors)
        for name in names:
            if name not in counts:
                raise errors.unknown("behavior", name, counts)
        if len(set(names)) < len(names) or not names:
            raise errors.ConfigError(
                f"data.behaviors={','.join(names)} must name each behavior once, and at least one."
            )
        if not any(counts[b] for b in names):
            raise errors.DataError(f"{source.name}: none of the behaviors {', '.join(names)} has training pairs.")
    else:
        names = tuple(b for b in source.behaviors if counts[b])
        if not names:
            raise errors.DataError(f"{source.name}: no behavior has training pairs.")
        own = source.behaviors[-1]
        if choice.target is None and own not in names:
            raise errors.ConfigError(
                f"{source.name}: the target '{own}' has no training pairs. Choose another, as "
                f"--data.target={names[-1]}."
            )
        for behavior in source.behaviors:
            if not counts[behavior]:
                text = f"{source.name}: behavior '{behavior}' has no training pairs and is left out"
                notes.append(_say(f"{text} (data.behaviors chooses otherwise)"))
    target = choice.target
    if target is None:
        target = source.behaviors[-1] if source.behaviors[-1] in names else names[-1]
    elif target not in names:
        raise errors.unknown("target", target, names)
    ordered = tuple(b for b in names if b != target) + (target,)
    if choice.behaviors is not None and choice.target is None and ordered != names:
        notes.append(
            f"{source.name}: the target is '{target}', as the data set has it, and so comes last "
            "(--data.target chooses another)"
        )
    return ordered


class _Warned(str):
    """A note of which a warning was given."""


def _say(note: str) -> _Warned:
    """Warns of what a user should know before training, and returns it as a note."""
    warnings.warn(note, errors.DataWarning, stacklevel=2)
    return _Warned(note)


def _matrix(keys: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    num_users, num_items = shape
    pointers = np.searchsorted(keys, np.arange(num_users + 1, dtype=np.int64) * num_items).astype(np.int32)
    indices = (keys % num_items).astype(np.int32) if keys.size else np.empty(0, np.int32)
    matrix = sparse.csr_array((np.ones(keys.size, np.uint8), indices, pointers), shape=shape)
    matrix.has_sorted_indices = True
    return matrix
