"""Ways of entries that a look at GPT-2, losses, steps, batches and precision found missing, each by its own tensors.

MINIBERT_EVERY_MUTANT asks them all; one in twelve else.
"""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_mistakes import candidate_of

from minibert.golden import case as cases
from minibert.golden import precision
from minibert.mistakes import CATALOGUE, diagnose
from minibert.mistakes.swap import sites

ASKED = 1 if os.environ.get("MINIBERT_EVERY_MUTANT") else 12
WAYS = [  # case, entry, words of the way, where, a pattern of the keys that are handed over ("" all)
    ("bert/published", "D33", "products in bfloat16, the bias", "every layer's feed forward in", ""),
    ("gpt2/published", "D33", "products in bfloat16", "every layer's feed forward out", "forward/"),
    ("roberta/published", "D33", "probabilities times values in bfloat16", "", "forward/"),
    ("bert/tanh", "D33", "rows of tables rounded to float16", "embeddings word", "forward/"),
    ("gpt2/published", "D33", "what layers give rounded to bfloat16", "", "forward/"),
    ("bert/published", "D34", "masked_lm_ids: of the row before", "", "forward/loss"),
    ("bert/published", "D34", "input_ids: of the place before, at the end 0", "", "forward/bert.encoder.layer.1.out"),
    ("electra/discriminator", "D34", "replaced_labels: of the place before", "", "forward/loss"),
    ("bert/published", "D34", "masked input", "", "forward/loss"),
    ("gpt2/published", "O01", "at the update after", "", ""),
    ("gpt2/published", "O02", "corrected after eps is added, eps 1e-06", "", ""),
    ("gpt2/published", "O05", "each published tensor clipped by its own norm", "", ""),
    ("gpt2/published", "O06", "the warm-up alone one step ahead", "", ""),
    ("gpt2/published", "O08", "in the place of the decoder's, the last", "", "gradients/"),
    ("gpt2/published", "O08", "the decoder's part halved", "", "gradients/.*(weight|bias)"),
    ("bert/adamw", "O55", "norm clipped to", "", ""),
    ("gpt2/published", "O41", "which is told", "", ""),
    ("gpt2/published", "O43", "m and v begun at the first", "", ""),
    ("gpt2/published", "O43", "v of the gradient before it was clipped", "", ""),
    ("bert/published", "O54", "first moments, as they are used kept in bfloat16", "", ""),
    ("bert/published", "O54", "parameters kept in bfloat16", "", ""),
    ("electra/discriminator", "O53", "linear times 0.5", "project", "gradients/.*(weight|bias)"),
    ("albert/published", "S24", "sentence_order counts", "", "gradients/.*(weight|bias)"),
    ("gpt2/published", "S18", "not shifted", "", "gradients/.*(weight|bias)"),
    ("gpt2/published", "S03", "whether they are asked", "", "forward/loss"),
    ("bert/published", "S23", "first target", "", "forward/loss"),
    ("gpt2/published", "H29", "the loss alone takes 30", "", "forward/loss"),
    ("gpt2/published", "gpt2-03", "stands before", "", "forward/transformer.ln_f"),
    ("gpt2/published", "gpt2-05", "but the last", "", "forward/loss"),
    ("gpt2/published", "gpt2-25", "0, of the last token", "", "forward/transformer.ln_f"),
    ("bert/dropout", "D24", "kept values not divided", "embeddings", "forward/"),
    ("bert/published", "A44", "each in the one before its own, of the keys", "", "forward/"),
    ("electra/joint", "E01", "all token types 0", "generator", "forward/"),
    ("roberta/published", "E03", "those of padding at 0", "", "forward/roberta.emb"),
    ("bert/release", "A52", "all else is", "", "forward/bert.encoder.layer.1.output"),
    ("bert/published", "O53", "every parameter's times 1024", "", "gradients/.*(weight|bias)"),
    ("bert/published", "C10", "rounded to bfloat16", "layer 0 attention query", "forward/"),
    ("gpt2/left", "A12", "no mask", "", "forward/"),
    ("gpt2/left", "E07", "not read", "", "forward/"),
    ("electra/discriminator", "C19", "1 + γ", "every layer's attention", ""),  # which holds nothing within layers
    ("bert/probe", "D13", "the hidden rate in both", "", ""),  # between what is shown of attention and what it gives
    ("bert/published", "A45", "softplus", "", "forward/"),
    ("gpt2/published", "O43", "to the power", "", ""),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "id", "words", "where", "keys"), WAYS[::ASKED])
def test_a_way_of_an_entry_has_its_name(name, id, words, where, keys):
    case = cases.read(name)
    subject = case.subject()
    every = [m for whole in CATALOGUE[id].mutants(subject, sites(subject)) for m in (whole, *whole.inside)]
    mutant = next(m for m in every if words in m.what and m.where == where)
    held = {key: a for key, a in candidate_of(case, mutant).items() if re.match(keys, key)}
    result = diagnose(case, held, "float32")
    assert id in result.ids, result.lines
    assert result.kind in ("mistake", "tie", "variant"), result.lines


def test_scores_that_are_shown_as_they_were_rounded_are_no_softmax_in_half_precision():
    case, key = cases.read("gpt2/published"), "forward/transformer.h.1.attn.scores"
    subject = case.subject()
    every = [m for whole in CATALOGUE["D33"].mutants(subject, sites(subject)) for m in (whole, *whole.inside)]
    mutant = next(m for m in every if (m.what, m.where) == ("scores rounded to bfloat16", "layer 1"))
    held = candidate_of(case, mutant)
    assert diagnose(case, held, "float32").ids == ["A43"]
    held[key] = precision.rounding("bfloat16")(held[key])
    assert diagnose(case, held, "float32").ids == ["D33"]


@pytest.mark.parametrize("by", [3e-5, 7e-6, -2e-4][::ASKED])
def test_a_loss_alone_that_is_a_little_off_has_no_name(by):
    """A number is explained by a share, a power or a factor of two digits, and by two roundings, always."""
    case = cases.read("gpt2/published")
    held = {key: case.tensor(key) for key in ("forward/lm_head", "forward/loss", "forward/loss.next_token")}
    held = {key: a * (1 + by) if "loss" in key else a for key, a in held.items()}
    result = diagnose(case, {key: np.asarray(a, np.float32) for key, a in held.items()}, "float32")
    assert result.kind == "unknown", result.lines
