"""Quick-thought's loss: the mean over sentences of the cross-entropy of their neighbours among the row's sentences.

p, config (dict) and batch (dict of lists; sentence_places (b, c), -100: none) -> scalar. Logeswaran and Lee 2018
(1803.02893), section 3; SPEC QT-SCORE, QT-LOSS.
"""

from .inner_scores import inner_scores
from .quick_thought_encode import quick_thought_encode
from .soft_cross_entropy import soft_cross_entropy


def quick_thought_loss(p, config, batch):
    z, places = inner_scores(*quick_thought_encode(p, config, batch)), batch["sentence_places"]
    one, targets = 1 + 0 * z[0][0][0], []
    for row in places:
        beside = [[0 < abs(a - b) <= config["context_size"] and a >= 0 <= b for b in row] for a in row]
        targets.append([[one / sum(bits) if bit else 0 for bit in bits] for bits in beside])
    there = [[place >= 0 for place in row] for row in places]
    several = sum(sum(bits) for bits in there if sum(bits) > 1)
    return soft_cross_entropy(z, targets=targets, there=there, denominator=several)
