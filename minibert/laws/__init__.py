"""Laws that need no goldens: what every right model of a family obeys, whatever its weights, asked of anybody's.

    def run(weights, inputs): ...          # published names in; {"forward/…": …, "gradients/…": …} out, what there is
    for finding in laws.check(run, weights, inputs, config, family="bert"):
        print(finding.text)

Names are those of golden cases; config has the published fields. A law asks one or two questions of `run` and compares
the answers; `holds` is None where it cannot be asked, and the text says why. Dropout masks in `inputs` are left out.
Laws are about parts of the family's tree (`parts`): which tensors those are, its tables of names say.

An implementation that only writes files is asked in two sittings. The questions do not depend on the answers (but for
gradient_is_the_slope, which needs a callable):

    asked = laws.questions(laws.head_permutation, weights, inputs, config)      # [(weights, inputs), …]: run them, dump
    laws.head_permutation(laws.replay(dumps), weights, inputs, config)

An error is max|a - b| / max(max|b|, s), s = 1e-3 of the largest gradient for gradients and 0 for values. Its bar is
1024 roundings a layer, embeddings and heads counting as one each, of the narrowest dtype among weights and answers (two
layers: 9.1e-13 in float64, 4.9e-4 in float32); 32 in 16 bits, where sums accumulate wider. Clauses in brackets are
those of reference/SPEC.md.

Some laws are asked of those that they are about: of models whose tokens attend to none that comes later, whose labels
stand behind the place that is asked for them, that go on from token to token. For the last of these `run` has two
attributes, `run.start(weights, inputs)` -> state and `run.step(weights, ids (N, 1), state)` -> (logits (N, V), state).

A family may have laws of its own (`LAWS`), and says of which others it is silent and why (`silent(config)`): in
`laws/NAME.py`, a family from outside the package in its own file.
"""

from minibert.laws import tasks  # noqa: F401  its laws are among SOME
from minibert.laws.core import LAWS, SOME, Finding, check, law, of, questions, replay, silent

__all__ = ["LAWS", "Finding", "check", "law", "of", "questions", "replay", "silent"]
globals().update(LAWS, **{name: asked for _, laws in SOME for name, asked in laws.items()})
