"""What may be claimed of a dump that lacks tensors: a right later level stands for what an earlier one lacks."""

from functools import cache

import numpy as np
import pytest

import minibert
from minibert.checkpoint import safetensors
from minibert.families import bert
from minibert.golden import answer, checking, compare, levels, make, noise, places
from minibert.golden import case as cases
from minibert.golden.kinds import pipeline, tokenizer


@cache
def golden(name):
    return cases.read(name)


def ends(name):
    """The outputs of layers alone, as a library that shows nothing else gives them."""
    case = golden(name)
    return {key: case.tensor(key) for key in places.of_case(case).ends(case.entries)}


def claimed(name, tensors):
    found = levels.levels(golden(name), compare.compare(golden(name), tensors, "float64"))
    return levels.label(levels.reached(found)), {f"L{level.number}": level.state for level in found}


CASES = ["bert/published", "albert/published", "albert/groups", "electra/discriminator", "electra/generator",
         "electra/published", "roberta/published", "macbert/published", "spanbert/published",
         "gpt2/published"]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layers_alone_are_a_claim(name):
    """Embeddings that were not shown are implied: a layer is right only over right ones."""
    label, states = claimed(name, ends(name))
    assert label == "L2 encoder"
    assert states["L1"] == "implied"
    assert states["L5"] == "missing"


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_imply_what_is_before_them(name):
    case = golden(name)
    held = {key: case.tensor(key) for key, entry in case.entries.items() if entry.role in ("loss", "gradient")}
    label, states = claimed(name, held)
    assert label == "L5 gradients"
    assert states["L2"] == states["L3"] == "implied"


def test_what_is_wrong_is_implied_by_nothing():
    """A wrong tensor of an earlier level, though nobody needs it, ends the claim there."""
    held = ends("bert/published")
    key = "forward/bert.embeddings.LayerNorm"
    label, states = claimed("bert/published", {**held, key: golden("bert/published").tensor(key) + 1})
    assert (label, states["L1"], states["L2"]) == ("no level", "differs", "reached")


@pytest.mark.parametrize("name", ["bert/published", "albert/groups", "gpt2/published"])
def test_the_last_layer_stands_for_the_others_and_no_other_does(name):
    *others, last = ends(name).items()
    label, states = claimed(name, dict(others))
    assert (label, states["L1"], states["L2"]) == ("no level", "missing", "missing")
    label, states = claimed(name, dict([last]))
    assert (label, states["L1"], states["L2"]) == ("L2 encoder", "implied", "reached")


def test_of_two_networks_both_last_layers_are_needed():
    held = ends("electra/published")
    for tower in ("generator", "discriminator"):
        one = {key: array for key, array in held.items() if tower in key}
        assert claimed("electra/published", one)[0] == "no level"


# ---- Over published directories --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """(a directory without heads, a case over it for which there is hardly room)."""
    words, place = tokenizer.vocabulary(), tmp_path_factory.mktemp("bare")
    sizes = {**bert.PROBE, "vocab_size": len(words), "pad_token_id": 0, "max_position_embeddings": 40}
    model = minibert.create("bert", **sizes, initializer_range=0.3)
    model.tokenizer = minibert.tokenizers.wordpiece.WordPiece(words)
    model.save(place / "model")
    held = safetensors.read(place / "model" / "model.safetensors")
    weights = {name: array for name, array in held.items() if not name.startswith("cls.")}
    safetensors.write(place / "model" / "model.safetensors", weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "RUNS", 2)
        patch.setattr(pipeline, "BUDGET", 100)
        case = make.pipeline(place / "model", ["Hello, world!", "unaffable now stop, now"], place / "case", "case")
    return place / "model", case


def test_a_case_without_room_has_the_last_layer_and_what_is_pooled(bare):
    last = sorted(key for key in bare[1].entries if key.startswith("forward/"))
    assert last == ["forward/bert.encoder.layer.1.output", "forward/bert.pooler"]


@pytest.mark.parametrize("at_hand", [True, False])
def test_a_directory_without_heads_is_taken_and_claimed(bare, at_hand, tmp_path):
    """What it computes is a claim, without tokens; a difference is one, and why no mistake is looked for is said."""
    place, case = bare
    held = {key: np.asarray(a, np.float32) for key, a in make.computed(case, "float32", weights=place).items()}
    for change, code, level in ((1, 0, "L3"), (1.3, 1, None)):
        key = "forward/bert.encoder.layer.1.output"
        safetensors.write(tmp_path / "c.safetensors", {**held, key: held[key] * np.float32(change)})
        got = checking.report_of(case.path, tmp_path / "c.safetensors", weights=place if at_hand else None)
        assert (got.code, got.claim["level"]) == (code, level)
        assert [one.state for one in got.levels if one.title == "tokens"] == ["missing"]
    assert "has no heads" in "\n".join(got.diagnosis.lines)


# ---- Whose block it is -----------------------------------------------------------------------------------------------
def accused(tensors, folder):
    safetensors.write(folder / "c.safetensors", {key: np.asarray(a, np.float64) for key, a in tensors.items()})
    got = checking.report_of("bert/published", folder / "c.safetensors", seconds=0)
    return got.first.key, [line.strip() for line in answer.first_lines(got) if "block" in line]


LAYER = "forward/bert.encoder.layer.{}.output"
OWN = "its own block is wrong: given your tensors before it, something else is due"
BEFORE = "it or something before it is wrong: what goes into its block was not supplied"


@pytest.mark.parametrize(("given", "said"), [
    ([LAYER.format(0)], OWN), ([], BEFORE), (["forward/bert.embeddings"], BEFORE),
])  # fmt: skip
def test_a_block_is_accused_where_its_input_was_supplied(given, said, tmp_path):
    """The second layer alone, behind the embeddings, behind the first layer."""
    case = golden("bert/published")
    wrong = {LAYER.format(1): case.tensor(LAYER.format(1)) * 1.1}
    assert accused({**{key: case.tensor(key) for key in given}, **wrong}, tmp_path) == (LAYER.format(1), [said])


def test_a_gradient_is_accused_where_what_it_comes_from_was_supplied(tmp_path):
    case, name = golden("bert/published"), "bert.encoder.layer.1.output"
    key = f"gradients/{name}.LayerNorm.weight"
    wrong = {key: case.tensor(key) * 1.1}
    assert accused(wrong, tmp_path) == (key, [BEFORE])
    inside = {k: case.tensor(k) for k in case.entries if k.startswith("forward/")}
    assert accused({**inside, f"gradients/{name}": case.tensor(f"gradients/{name}"), **wrong}, tmp_path) == (key, [OWN])
    head = "forward/cls.predictions"
    held = {head: case.tensor(head) * 1.1, LAYER.format(1): case.tensor(LAYER.format(1))}
    assert accused(held, tmp_path) == (head, [OWN])  # its table is the embeddings', which are no part before it
