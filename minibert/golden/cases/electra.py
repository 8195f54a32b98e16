"""ELECTRA's golden cases."""

from collections.abc import Mapping
from typing import Any

from minibert import families
from minibert.golden.cases import bert
from minibert.golden.cases.bert import as_doubles_take, beside, probe, published
from minibert.golden.certify import Double, at_50_digits, doubles
from minibert.golden.subject import Subject

SIZES = {**bert.SIZES, "embedding_size": 8}
RELEASE = {"sharing": "none", "mlm_denominator_eps": 1e-6, "rtd_denominator_eps": 1e-6, "pad_row_gradient": True,
           "generator_size": 1.0}  # fmt: skip
CASES = {
    "published": published("generator and discriminator over shared tables, loss 1 and 50", "electra", seed=22,
                           steps=(1, 10)),
    "probe": probe("electra", 32),
    "discriminator": beside("the discriminator alone, as published", "electra", seed=46,
                            config={"role": "discriminator"}),
    "generator": beside("the generator alone, as published", "electra", seed=47, low=None,
                        config={"role": "generator"}),
    "joint": beside("networks of one size, all shared", "electra", seed=48, low=None, dims={"B": 2, "T": 9},
                    config={"generator_size": 1.0, "sharing": "all"}),
    "release": beside("nothing shared, the release's denominators, a padding row that learns", "electra", seed=49,
                      low=None, config=RELEASE),
    "policy": beside("the adversarial generator: REINFORCE with its baseline", "electra", seed=50, low=None,
                     config={"objective": "adversarial"}),
}  # fmt: skip
PLAIN = {"role": "joint", "objective": "joint", "mask_constant": "min", "tie_word_embeddings": True,
         "mlm_denominator_eps": 0.0, "rtd_denominator_eps": 0.0}  # fmt: skip


def double(subject: Subject) -> tuple[Double, bool] | None:
    """Of both networks, as published and with nothing dropped."""
    plain = all(getattr(subject.config, name) == value for name, value in PLAIN.items())
    return (both_terms, True) if plain and not any(batch.get("dropout") for batch in subject.batches) else None


def both_terms(p: Any, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Both terms and their weighted sum, by the double that takes both networks whole."""
    module = families.family("electra")
    networks = module.networks(p, config)
    heads = {role: own.num_attention_heads for role, (_, own, _) in networks.items()}
    trees = {role: network for role, (network, *_) in networks.items()}
    terms = doubles().double("electra_loss")(trees, *as_doubles_take("electra", config, batch), heads)
    weights = {term: at_50_digits(factor) for term, factor in module.weights(config).items()}
    found = {f"forward/loss.{term}": value for term, value in terms.items()}
    return {**found, "forward/loss": sum(weights[term] * value for term, value in terms.items())}
