"""Any task goes with any family, or is refused in one line: an example's loss and gradient, some pairs drawn."""

import pkgutil
from random import Random

import numpy as np
import pytest
from draws import EVERY

import minibert
from minibert import batches, families, tasks, tree
from minibert.errors import InputError

# queries of pre-training, masks of who sees whom, states from before, several sentences a row, vectors without a second
# dimension, orthogonal squares of three gates, memories and words called by one letter: each was an error that nobody
# could read
MENDED = [("xlnet", "tag"), ("xlnet", "choose"), ("xlnet", "classify"), ("xlnet", "caption"),
          ("unilm", "classify_cnn"), ("unilm", "tag_lstm"),
          ("awd_lstm", "choose"), ("reformer", "similar"), ("transformer_xl", "regress"), ("quick_thought", "classify"),
          ("elmo", "tag_crf"), ("t5", "classify_lstm"), ("skip_thought", "tag_lstm"), ("gpt", "choose")]  # fmt: skip


def drawn(family):
    """The tasks that a family is asked about: all, or one."""
    known = [task for task in tasks.names() if (family, task) not in MENDED]
    return known if EVERY else [Random(family).choice(known)]


def model(family, task):
    settings = {"classes": 3} if "classes" in tasks.served()[task].Settings.__dataclass_fields__ else {}
    return minibert.create(family, dtype="float64", tasks={task: settings}, **families.family(family).PROBE)


PAIRS = [(one.name, task) for one in pkgutil.iter_modules(families.__path__) for task in drawn(one.name)]


@pytest.mark.parametrize(("family", "task"), [*MENDED, *PAIRS])
def test_a_task_goes_with_a_family_or_is_refused(family, task):
    try:
        made = model(family, task)
    except InputError:
        assert (family, task) not in MENDED
        return
    value, cache = made.loss(batches.example(made.network, made.config, np.random.default_rng(0)))
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in tree.leaves(made.loss_backward(cache)))


@pytest.mark.parametrize(("family", "task", "said"), [
    ("set_transformer", "tag", "set_transformer gives no state of each token, which tag reads"),
    ("ambert", "translate", "ambert cannot translate: it makes no text of another"),
    ("skip_thought", "summarize", "skip_thought cannot summarize: it makes no text of another"),
    ("vit", "tag", "vit reads no tokens, which tag asks about"),
    ("swin", "answer", "swin reads no tokens, which answer asks about"),
    ("swin", "relate", "swin reads no tokens, which relate asks about"),
    ("ambert", "recommend", "ambert cannot recommend: it fills no masks"),
])  # fmt: skip
def test_what_does_not_go_together_is_said(family, task, said):
    with pytest.raises(InputError, match=said):
        model(family, task)


def test_a_family_trained_for_something_else_is_said():
    module = families.family("reformer")
    network = tasks.network(module, (tasks.made("recommend", {}),))
    behind = {"lsh_num_chunks_after": 0, "local_num_chunks_after": 0}
    config = module.Config(**{**module.PROBE, **behind, "is_decoder": True})
    with pytest.raises(InputError, match="this reformer is trained for next_token, not for masked_lm"):
        network.terms(config)


def test_who_sees_whom_says_who_is_there():
    """UniLM's mask of what each token sees, and BERT's of the tokens, where all see all."""
    made = model("unilm", "tag_lstm")
    batch = batches.example(made.network, made.config, np.random.default_rng(0))
    seen = np.zeros(batch["input_ids"].shape, bool)
    seen[:, :4] = True
    square = np.repeat(seen[:, None], seen.shape[1], 1).astype(np.int64)
    given = {**{name: held for name, held in batch.items() if name != "dropout"}, "attention_mask": square}
    cut = {name: held[:, :4] if np.ndim(held) == 2 else held for name, held in given.items()}
    whole, short = (made.predict(one)["logits"] for one in (given, {**cut, "attention_mask": square[:, :4, :4]}))
    assert abs(whole[:, :4] - short).max() < 1e-12
