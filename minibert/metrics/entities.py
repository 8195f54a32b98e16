"""Measures of entities among tags."""

from collections.abc import Sequence

from minibert.config import listed, require, shown
from minibert.metrics import lists


def entity_f1(tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> float:
    """F1 of whole entities: right are those with the right type, beginning and end; over all sentences together. As the
    default mode of seqeval's `f1_score`, which is conlleval's reading (see `entities`).
    """
    found, guessed, common = 0, 0, 0
    for number, (right, guess) in enumerate(zip(*lists.rows(tags, predictions), strict=True)):
        sides = listed(f"the tags of sentence {number}", right), listed(f"the predictions of sentence {number}", guess)
        agree = len(sides[0]) == len(sides[1])
        require(agree, f"sentence {number} has {len(sides[0])} tags and {len(sides[1])} predictions")
        here, there = set(entities(sides[0])), set(entities(sides[1]))
        found, guessed, common = found + len(here), guessed + len(there), common + len(here & there)
    return lists.ratio(2 * common, found + guessed)


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first, last) of each entity of a sentence, whose tags are O, B-TYPE, I-TYPE, E-TYPE or S-TYPE, or these
    letters alone, which is the type "_".

    conlleval's reading, which takes IOB1, IOB2 and IOBES: an entity begins at B or S, at I or E behind O, E or S, and
    where the type changes; it ends behind E and S, before B, S and O, and where the type changes.
    """
    found, first, before, kind = [], 0, "O", "_"
    for place, tag in enumerate([*tags, "O"]):
        fits = isinstance(tag, str) and (tag in ("O", "B", "I", "E", "S") or tag[:2] in ("B-", "I-", "E-", "S-"))
        require(fits, f"tag {shown(tag)}: of entities there are O, B-TYPE, I-TYPE, E-TYPE and S-TYPE; "
                "other tags are judged by their accuracy")  # fmt: skip
        here, its = tag[0], tag[2:] or "_"
        changes = kind != its
        if before in "ES" or (before in "BI" and here in "BSO") or (before != "O" and changes):
            found.append((kind, first, place - 1))
        if here in "BS" or (here in "IE" and before in "ESO") or (here != "O" and changes):
            first = place
        before, kind = here, its
    return found
