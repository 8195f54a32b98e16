"""ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators.

Clark, Luong, Le, Manning, 2020, arXiv 2003.10555. Released code: google-research/electra (`run_pretraining.py`,
`pretrain/pretrain_helpers.py`, `model/modeling.py`). Two encoders, BERT's but for (1): a generator G of width H_G that
fills masks, and a discriminator D of width H that says which tokens G filled in.

    embeddings     h⁰ = Drop(LN(E_word[x] + E_position[t] + E_type[s])) W_pᵀ + b_p, tables of width E; the projection
                   exists where E is not the network's width                                                       (1)
    encoder        BERT's (2)-(6); no pooler                                                                       (2)
    generator      z = LN(gelu(h_G[m] W_zᵀ + b_z)) E_wordᵀ + b_V at the chosen positions m, p_G = softmax(z)       (3)
    MLM loss       L₁ = Σ w·(-log p_G[x_m]) / Σ w                                                                  (4)
    sample         x̂_m ~ p_G; x' is the original text with x̂ at every chosen position, masked or not               (5)
    label          y_t = 1 where x'_t is not x_t: a token that G guessed right is an original                      (6)
    discriminator  d_t = act(h_D[t] W_dᵀ + b_d)·w_r + b_r of x'; σ(d_t) is the probability of y_t = 1              (7)
    RTD loss       L₂ = mean over the attended t, [CLS] and [SEP] too, of BCE(d_t, y_t)                            (8)
    objective      L = λ_G L₁ + λ_D L₂, λ_G = 1, λ_D = 50; nothing flows back through the sample                   (9)

Sharing (section 3.2): G and D share the three tables and their norm, which get the gradients of both losses
("embeddings"); also projection and encoder, at equal sizes ("all"); or nothing ("none").

Variants of section 3.2 and appendix F, for which no code was released (`objective`):
- "adversarial": G is trained to raise D's loss, by REINFORCE. At a chosen position m, with the sample's reward R and
  the baseline b, both constants for G,
                   R = BCE(d_m, y_m),  b = -log σ(u),  u = h_G[m]·w_b + b_b                                        (10)
                   L₃ = Σ w·(R - b)·(-log p_G[x̂_m]) / Σ w,  L₄ = Σ w·BCE(u, e⁻ᴿ) / Σ w                            (11)
                   L = λ_G L₃ + L₄ + λ_D L₂;  L₁ is measured, not trained                                          (12)
  The paper has the baseline learn the reward "with cross-entropy": e⁻ᴿ is the probability that D gives to the truth,
  and σ(u) estimates it. Ours to decide, as the paper is silent: u has a bias, its gradient stops at h_G, λ_G stays.
- "two-stage": the first half of a run trains G alone; then D's encoder starts as a copy of G's, and D is trained with
  G frozen (`stage`). Equal sizes, nothing shared: so (9) serves, with the other network left as it is.

Where release, paper and ports differ, and what is done here:
- the release masks 85 % of the chosen positions and leaves 15 % as they are, the paper masks all: the release's.
- the release draws positions with replacement, about 7 % of them twice; ids sampled twice for a position are averaged
  and rounded down, which makes an unrelated token. Here positions are distinct; options.units "repeated" draws them as
  the release does. Of two samples at a position the last stands: `duplicates` has "first" and the release's "mean".
- (4) and (8) divide by Σ + 1e-6 in the release: `mlm_denominator_eps`, `rtd_denominator_eps`.
- the activation in (3) is the configuration's in the release, always erf GELU in ports: `generator_act`.
- the sizes of G are rounded fractions of D's, as in the release, where heads are 64 wide and layers 4 H; at least one.
- `mask_constant`, `pad_row_gradient`: as in BERT.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minibert import layers, ops, options, tree
from minibert.config import among, number, require, size
from minibert.corruption import masking, rules
from minibert.corruption import sequences as makers
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import masked_lm, replaced_token
from minibert.options import option
from minibert.summaries import Summary

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]


# ---- Configuration ---------------------------------------------------------------------------------------------------
ROLES = ("joint", "generator", "discriminator")
SHARED = {"none": (), "embeddings": ("embeddings",), "all": ("embeddings", "project", "encoder")}
OBJECTIVES = ("joint", "adversarial", "two-stage")
DUPLICATES = ("last", "first", "mean")


@dataclass(frozen=True)
class Config(bert.Config):
    """ELECTRA-base as released, under the published field names, and this engine's own fields.

    The sizes are the discriminator's, or of the one network that there is.
    """

    embedding_size: int = size(768, bert.WIDE)
    # which networks there are
    role: str = among("joint", ROLES)
    generator_size: float = 1 / 3  # of hidden_size, num_attention_heads and intermediate_size
    sharing: str = among("embeddings", SHARED)
    # training
    generator_weight: float = number(1.0, 0, 1e6)  # λ_G
    discriminator_weight: float = number(50.0, 0, 1e6)  # λ_D
    temperature: float = number(1.0, 1e-6, 1e6)  # of the sample (5)
    disallow_correct: bool = False  # True: the original token is never sampled
    objective: str = among("joint", OBJECTIVES)
    # variants
    duplicates: str = among("last", DUPLICATES)
    generator_act: str = among("gelu", layers.ACTIVATIONS)  # of (3)
    rtd_denominator_eps: float = number(0.0, 0, 1)  # 1e-6: the release's denominator of (8), mlm_… that of (4)

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = 0 < self.generator_size <= 1
        require(fits, f"config field 'generator_size' is {self.generator_size}; allowed: above 0, to 1")
        equal = self.generator_size == 1 or self.role != "joint"
        require(equal or self.sharing != "all", "sharing 'all' needs generator_size 1: the encoder is one")
        apart = equal and self.sharing == "none"
        require(apart or self.objective != "two-stage", "objective 'two-stage' needs generator_size 1, sharing 'none'")
        credited = self.objective != "adversarial" or self.duplicates != "mean"
        require(credited, "duplicates 'mean' makes tokens that nobody sampled: objective 'adversarial' needs another")
        towers(self)  # the generator's sizes have to fit too


def towers(config: Config) -> dict[str, Config]:
    """The networks of the joint model, each as a configuration of its own; of one alone, none."""
    if config.role != "joint":
        return {}
    names = ("hidden_size", "num_attention_heads", "intermediate_size")
    sizes = {name: max(1, round(getattr(config, name) * config.generator_size)) for name in names}
    return {
        "generator": replace(config, role="generator", **sizes),
        "discriminator": replace(config, role="discriminator"),
    }


def _size(embedding: int, depth: int, width: int, fraction: float) -> Tree:
    heads = {"num_attention_heads": width // 64}
    sizes = {"num_hidden_layers": depth, "hidden_size": width, **heads, "intermediate_size": 4 * width}
    return {"embedding_size": embedding, **sizes, "generator_size": fraction}


# section 3 and the release's table; the small model that was published (small++) has a generator of its own size
PRESETS = {
    "large": _size(1024, 24, 1024, 1 / 4),
    "base": _size(768, 12, 768, 1 / 3),
    "small": _size(128, 12, 256, 1 / 4),
    "small++": _size(128, 12, 256, 1.0),
}

# every field away from its default but role, sharing and objective, so that both networks and the shared tables show
PROBE = {
    **{name: value for name, value in bert.PROBE.items() if name in Config.__dataclass_fields__},
    "embedding_size": 6,
    "generator_size": 0.5,
    "generator_weight": 0.7,
    "discriminator_weight": 3.0,
    "temperature": 0.8,
    "disallow_correct": True,
    "duplicates": "first",
    "generator_act": "tanh",
    "rtd_denominator_eps": 0.02,
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter: the one place where they are written."""
    if config.role == "joint":
        both = {name: shapes(part) for name, part in towers(config).items()}
        for part in SHARED[config.sharing]:
            both["generator"].pop(part, None)
        return both
    e, d, v = config.embedding_size, config.hidden_size, config.vocab_size
    norm = {"weight": (e,), "bias": (e,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    rows = {"word": v, "position": config.max_position_embeddings, "token_type": config.type_vocab_size}
    network: Tree = {"embeddings": {**{name: {"weight": (n, e)} for name, n in rows.items()}, "norm": norm}}
    if e != d:
        network["project"] = dense(d, e)
    network["encoder"] = bert.shapes(config)["encoder"]
    if config.role == "discriminator":
        return {**network, "rtd": replaced_token.shapes(width=d)}
    baseline = {"baseline": dense(1, d)} if config.objective == "adversarial" else {}
    return {**network, "mlm": masked_lm.shapes(width=d, table=(v, e), tied=config.tie_word_embeddings), **baseline}


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's example with the labels of this role; in each row the first sample is the original token."""
    batch = bert.example(rng, config, dims)
    rows, length = batch["input_ids"].shape
    replacements = rng.integers(0, config.vocab_size, batch["masked_lm_ids"].shape)
    replacements[:, 0] = batch["masked_lm_ids"][:, 0]
    batch |= {"replacement_ids": replacements, "replaced_labels": rng.integers(0, 2, batch["input_ids"].shape)}
    batch = {name: batch[name] for name in ("input_ids", "input_mask", "segment_ids", *labels(config))}
    return {**batch, "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length}))}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask, under the names of the published dropout modules."""
    rows, length = dims["B"], dims["T"]
    if config.role == "joint":
        both = {name: dropouts(part, dims) for name, part in towers(config).items()}
        return {f"{name}.{place}": what for name, places in both.items() for place, what in places.items()}
    places = {"electra.embeddings.dropout": ((rows, length, config.embedding_size), config.hidden_dropout_prob)}
    return places | layers.encoder_dropouts(config, LAYERS, rows, length)


# ---- Encoder ---------------------------------------------------------------------------------------------------------
PREFIX, LAYERS = "electra.", "electra.encoder.layer."
OPTIONAL = {"baseline": None}  # of a generator alone, which nothing trains


def outputs(config: Config) -> dict[str, str]:
    """BERT's, without a pooler."""
    return {name: spec for name, spec in bert.outputs(config).items() if name != "pooler_output"}


def networks(p: Tree, config: Config) -> dict[str, tuple[Tree, Config, str]]:
    """(tree, configuration, prefix of its published names) of each network; shared parts stand in both trees."""
    if config.role != "joint":
        return {config.role: (p, config, "")}
    shared = {part: p["discriminator"][part] for part in SHARED[config.sharing] if part in p["discriminator"]}
    return {name: ({**shared, **p[name]}, part, f"{name}.") for name, part in towers(config).items()}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1), (2) of the discriminator, or of a generator alone: outputs by name, and the cache.

    `inputs` as BERT's, and "dropout" where something is dropped. hidden_states: 1 + L arrays (B, T, D), the first
    what enters layer 1; attentions: L arrays (B, H, T, T), only where `keep` is "caches" (see `layers.stack`).
    """
    both = networks(p, config)
    return _encode(*both.get("discriminator", both.get("generator")), inputs, keep)


def _encode(p: Tree, config: Config, prefix: str, inputs: Mapping[str, Any], keep: str) -> tuple[Tree, Tree]:
    c: Tree = {}
    h, c["embeddings"] = bert.embedded(p["embeddings"], config, inputs, prefix + PREFIX)  # (1)
    if "project" in p:
        h, c["project"] = ops.linear(h, **p["project"])
    given = {"mask": inputs.get("attention_mask"), "dropout": inputs.get("dropout") or {}}
    hidden, c["encoder"] = layers.encoder(h, p["encoder"], config, **given, prefix=prefix + LAYERS, keep=keep)  # (2)
    return layers.states(hidden, c["encoder"], keep), c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1), (2), of one network, from the cotangents of last_hidden_state and, where given, of
    hidden_states."""
    g: Tree = {}
    dh, g["encoder"] = layers.encoder_backward(
        dout["last_hidden_state"], c["encoder"], dout.get("hidden_states")
    )  # (2)
    if "project" in c:
        dh, g["project"] = ops.linear_backward(dh, c["project"])
    g["embeddings"] = layers.embeddings_backward(dh, c["embeddings"])  # (1)
    return g


# ---- Heads -----------------------------------------------------------------------------------------------------------
NEEDS = {"masked_lm": ("generator", "mlm", "fill-mask"), "replaced_token": ("discriminator", "rtd", "detect")}


def predict(p: Tree, config: Config, inputs: dict[str, Array], name: str, at: Any = ...) -> Array:
    """(3) or (7) at entries `at` of the states: logits over the vocabulary, or one that is positive where a token looks
    replaced.
    """
    role, part, what = NEEDS[name]
    both = networks(p, config)
    require(role in both, f"{what} needs the {role}, but this is the {next(iter(both))} alone")
    p, config, prefix = both[role]
    require(part in p, f"{what} needs the head {part!r}, which these parameters do not have")
    h = _encode(p, config, prefix, inputs, "last")[0]["last_hidden_state"][at]
    if name == "masked_lm":
        return masked_lm.predict(h, p["mlm"], table=_table(p, config), **_generator_head(config))
    return replaced_token.predict(h, p["rtd"], act=config.hidden_act)


def _table(p: Tree, config: Config) -> Array:
    """The (V, E) matrix of (3): the word table where tied, else the decoder's own."""
    return (p["embeddings"]["word"] if config.tie_word_embeddings else p["mlm"]["decoder"])["weight"]


def _generator_head(config: Config) -> Tree:
    return {"act": config.generator_act, "eps": config.layer_norm_eps}


# ---- Sampling --------------------------------------------------------------------------------------------------------
def sample(rng: np.random.Generator, p: Tree, config: Config, batch: Tree) -> Tree:
    """(5) {replacement_ids (B, M)}: a token for each target slot, drawn from the generator under the batch's dropout
    masks, so that p_G is the one that is trained; slots of weight 0 hold their label.

    Gumbel-max, as in the release: argmax of z/temperature - log(-log(u + 1e-9) + 1e-9), u uniform.
    """
    if config.role == "generator":
        return {}
    require(config.role == "joint", "a discriminator alone has no generator to draw from: train role 'joint'")
    tree_, config_, prefix = networks(p, config)["generator"]
    inputs = {bert.SPELLINGS.get(name, name): value for name, value in batch.items()}
    h = _encode(tree_, config_, prefix, inputs, "last")[0]["last_hidden_state"]
    slots = np.asarray(batch["masked_lm_weights"]) > 0
    chosen = h[np.nonzero(slots)[0], batch["masked_lm_positions"][slots]]
    z = masked_lm.predict(chosen, tree_["mlm"], table=_table(tree_, config_), **_generator_head(config_))
    ids = np.array(batch["masked_lm_ids"])
    if config.disallow_correct:
        z[np.arange(len(z)), ids[slots]] -= 1000
    u = rng.random(z.shape, np.float32)
    ids[slots] = (z / z.dtype.type(config.temperature) - np.log(-np.log(u + 1e-9) + 1e-9)).argmax(-1)
    return {"replacement_ids": ids}


def replaced(batch: Tree, duplicates: str = "last") -> tuple[Array, Array]:
    """(5), (6): the discriminator's input x' and its labels y, both (B, T).

    duplicates: which sample stands at a position that has several: the "last", the "first", or the "mean" of their ids
    rounded down, as in the release.
    """
    ids, labels = batch["input_ids"].copy(), np.zeros_like(batch["input_ids"])
    row, slot = np.nonzero(batch["masked_lm_weights"])
    if duplicates == "first":
        row, slot = row[::-1], slot[::-1]
    at = row, batch["masked_lm_positions"][row, slot]
    samples = batch["replacement_ids"][row, slot]
    if duplicates == "mean":
        total, count = np.zeros_like(ids), np.zeros_like(ids)
        np.add.at(total, at, samples)
        np.add.at(count, at, 1)
        samples = total[at] // count[at]
    ids[at] = samples
    labels[at] = samples != batch["masked_lm_ids"][row, slot]
    return ids, labels


# ---- Objective -------------------------------------------------------------------------------------------------------
def labels(config: Config) -> dict[str, str]:
    """What `loss` takes beside `inputs`; replacement_ids are drawn by `sample`."""
    if config.role == "discriminator":
        return {"replaced_labels": replaced_token.LABELS["replaced_labels"]}
    masked = masked_lm.LABELS
    return masked if config.role == "generator" else {**masked, "replacement_ids": "(B,M)<vocab_size"}


def terms(config: Config) -> tuple[str, ...]:
    """The terms of the loss, each unweighted in cache["terms"]; their factors are `weights`."""
    return tuple(weights(config))


def heads(config: Config) -> Tree:
    """The heads of (4) and (8), by term; the two of (11) have none."""
    both = {"masked_lm": masked_lm, "replaced_token": replaced_token}
    return {name: head for name, head in both.items() if name in terms(config)}


def needs(config: Config) -> tuple[str, ...]:
    """The parts of the tree that `loss` needs."""
    return {"generator": ("mlm",), "discriminator": ("rtd",)}.get(config.role, ("generator", "discriminator"))


def weights(config: Config) -> dict[str, float]:
    """Each term's factor in the objective, (9) or (12); 1 where there is one network."""
    if config.role != "joint":
        return {"masked_lm" if config.role == "generator" else "replaced_token": 1.0}
    generator, discriminator = config.generator_weight, {"replaced_token": config.discriminator_weight}
    if config.objective == "adversarial":
        return {"masked_lm": 0.0, "policy": generator, "baseline": 1.0, **discriminator}
    return {"masked_lm": generator, **discriminator}


def loss(
    p: Tree,
    config: Config,
    batch: Tree,
    *,
    denominators: dict[str, float] | None = None,
    keep: str = "caches",
    dense: bool = False,
) -> tuple[Array, Tree]:
    """(9), or (12), of a batch (`inputs`, `labels`), and its cache; cache["terms"] has each term unweighted.

    denominators: what the sums of masked_lm and replaced_token are divided by, for accumulation; the sum of the
    weights and the number of attended tokens unless given. dense: every position reaches the vocabulary, with weight 0
    where nothing is asked, as in published modules: the same numbers, for traces.
    """
    c: Tree = {"config": config, "terms": {}}
    given, both = denominators or {}, networks(p, config)
    if "generator" in both:
        total = given.get("masked_lm", np.sum(batch["masked_lm_weights"], dtype=np.float64))
        network, part, prefix = both["generator"]
        c["generator"] = g = {}
        out, g["encode"] = _encode(network, part, prefix, batch, keep)
        h = out["last_hidden_state"]
        c["terms"]["masked_lm"], g["masked_lm"] = masked_lm.loss(  # (3), (4)
            h, network["mlm"], batch, table=_table(network, part), **_generator_head(part),
            denominator_eps=config.mlm_denominator_eps, total=total, dense=dense,
        )  # fmt: skip
        g |= {"idle": network["baseline"]} if "baseline" in network else {}
    if "discriminator" in both:
        own = dict(batch)
        if config.role == "joint":
            own["input_ids"], own["replaced_labels"] = replaced(batch, config.duplicates)  # (5), (6)
        network, part, prefix = both["discriminator"]
        c["discriminator"] = d = {}
        out, d["encode"] = _encode(network, part, prefix, own, keep)
        c["terms"]["replaced_token"], d["replaced_token"] = replaced_token.loss(  # (7), (8)
            out["last_hidden_state"], network["rtd"], own, act=part.hidden_act,
            denominator_eps=config.rtd_denominator_eps, total=given.get("replaced_token"),
        )  # fmt: skip
        if "policy" in weights(config):
            z = d["replaced_token"]["loss"]["logits"]
            reward = np.logaddexp(0, np.where(own["replaced_labels"], -z, z))  # (10)
            w = g["masked_lm"]["loss"]["weights"] * h.dtype.type(total + config.mlm_denominator_eps)
            found, parts_ = _policy(h, both["generator"][0]["baseline"], g, own["input_ids"], reward, w, total)
            c["terms"] |= found
            g |= parts_
    factors = weights(config).items()
    weighted = (c["terms"][term] * c["terms"][term].dtype.type(factor) for term, factor in factors)
    return np.asarray(functools.reduce(np.add, weighted)), c  # sum()'s 0 widens in NumPy 1


def _policy(
    h: Array, p: Tree, c: Tree, ids: Array, reward: Array, weights: Array, total: float
) -> tuple[Tree, Tree]:
    """(10), (11): the two terms and their caches, from h_G (B, T, D), the samples `ids` and their rewards, (B, T)."""
    flat = c["masked_lm"]["gather"]["positions"][0]
    r, own = reward.reshape(-1)[flat], {"policy": {}, "baseline": {}}
    u, own["baseline"]["dense"] = ops.linear(h.reshape(-1, h.shape[2])[flat], **p)
    u = u[:, 0]
    own["advantage"] = advantage = r - np.logaddexp(0, -u)
    policy, own["policy"]["loss"] = ops.cross_entropy(
        c["masked_lm"]["loss"]["logits"], labels=ids.reshape(-1)[flat], weights=weights * advantage, denominator=total
    )
    baseline, own["baseline"]["loss"] = ops.binary_cross_entropy(
        u, labels=np.exp(-r), weights=weights, denominator=total
    )
    return {"policy": policy, "baseline": baseline}, own


def loss_backward(c: Tree) -> Tree:
    """d loss / d every parameter, a tree like p; samples, rewards and the baseline are constants in it."""
    config, g = c["config"], {}
    factors = {name: np.full_like(c["terms"][name], factor) for name, factor in weights(config).items()}
    if "discriminator" in c:
        d = c["discriminator"]
        dh, head, _ = replaced_token.loss_backward(factors["replaced_token"], d["replaced_token"])  # (8), (7)
        g["discriminator"] = {**encode_backward({"last_hidden_state": dh}, d["encode"]), "rtd": head}  # (2), (1)
    if "generator" in c:
        own, trained = c["generator"], "policy" if "policy" in factors else "masked_lm"
        dh, head, dtable = masked_lm.loss_backward(  # (11) is (4) with other labels and weights
            factors[trained], {**own["masked_lm"], "loss": own[trained]["loss"]}
        )
        g["generator"] = {**encode_backward({"last_hidden_state": dh}, own["encode"]), "mlm": head}  # (2), (1)
        if "policy" in factors:
            du = ops.binary_cross_entropy_backward(factors["baseline"], own["baseline"]["loss"])
            g["generator"]["baseline"] = ops.linear_backward(du[:, None], own["baseline"]["dense"])[1]
        elif "idle" in own:  # a generator alone, whose baseline nothing asks
            g["generator"]["baseline"] = tree.zeros_like(own["idle"])
        # one table, two uses: its gradient is the sum of both
        table = g["generator"]["embeddings"]["word"] if config.tie_word_embeddings else head["decoder"]
        table["weight"] = table["weight"] + dtable if config.tie_word_embeddings else dtable
    if config.role != "joint":
        return g[config.role]
    for part in SHARED[config.sharing]:  # shared by both networks: the sum of both
        if part in g["generator"]:
            g["discriminator"][part] = tree.add(g["discriminator"][part], g["generator"].pop(part))
    return g


def counts(config: Config, batch: Tree) -> dict[str, float]:
    """How many targets a batch has for each term: what its sum is divided by."""
    found = {}
    if "masked_lm_weights" in batch:
        found["masked_lm"] = masked_lm.count(batch)
    if "replacement_ids" in batch or "replaced_labels" in batch:
        found["replaced_token"] = replaced_token.count({**batch, "replaced_labels": batch["input_ids"]})
    return found


def right(c: Tree) -> dict[str, layers.Right]:
    """`layers.Right` of each term's predictions in a loss cache."""
    found: dict[str, layers.Right] = {}
    if "generator" in c:
        found["masked_lm"] = masked_lm.right(c["generator"]["masked_lm"])
    if "discriminator" in c:
        found["replaced_token"] = replaced_token.right(c["discriminator"]["replaced_token"])
    return found


def stage(p: Tree, config: Config, step: int, steps: int) -> tuple[str, ...]:
    """The top-level parts of the tree that this step of a run leaves as they are; none but for "two-stage".

    There the generator is trained for the first half; then the discriminator, which starts as a copy of it: at that
    step p is written to.
    """
    if config.role != "joint" or config.objective != "two-stage":
        return ()
    if step < steps // 2:
        return ("discriminator",)
    if step == steps // 2:
        for part in SHARED["all"]:
            if part in p["generator"]:
                tree.map(np.copyto, p["discriminator"][part], p["generator"][part])
    return ("generator",)


# ---- For use ---------------------------------------------------------------------------------------------------------
def used(config: Config, p: Tree) -> tuple[Config, Tree]:
    """(config, parameters) of the discriminator; of one network alone itself."""
    joint = config.role == "joint"
    return (replace(config, role="discriminator"), p.get("discriminator", {})) if joint else (config, p)


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of [CLS] behind a layer with erf GELU, as in ports; the release has none."""
    own = {"at": "first", "act": "gelu"}
    dropped = ("classifier.dropout", "classifier.dropout@1"), (None, "sequence_summary.last_dropout")
    said = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}
    return {"text": Summary(**own, dense="classifier.dense", head="classifier.out_proj", dropped=dropped[0]),
            "choice": Summary(**own, dense="sequence_summary.summary", dropped=dropped[1], said=said)}  # fmt: skip


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "wordpiece"
# Corrupted anew whenever a row is served, as in the release.
DEFAULTS: Tree = {"masking": "dynamic", "schedule": "electra"}
# Small runs sample at temperature 5: samples of a poor generator at temperature 1 follow the frequencies of tokens, and
# a narrow discriminator cannot tell them from context within 3000 updates (87.9 % right, as a constant guess). The
# generator is half as wide: a quarter would be 16.
OWN = {"embedding_size": 32, "generator_size": 0.5, "temperature": 5.0}
NARROW = {**bert.NARROW, **OWN}
QUICK = {**bert.QUICK, **OWN}


@dataclass(frozen=True)
class Data(options.Masked):
    """What the data functions ask for."""

    units: str = option("pieces", "mask pieces; repeated: positions drawn with replacement, as in the release",
                        among=("pieces", "repeated"))  # fmt: skip


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """Consecutive sentences packed to the length, in two segments (`makers.packed`), nothing masked yet."""
    return makers.packed(documents, rng, vocabulary, data.seq_length, data.duplicates)


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """The generator's input and targets (`corruption.rules.electra`); the discriminator's come from `sample`."""
    made = rules.electra(
        rows["input_ids"], rows["input_mask"], rng, vocabulary,
        rate=data.rate, cap=data.max_predictions or None, distinct=data.units != "repeated",
    )  # fmt: skip
    targets = masking.slot_targets(rows["input_ids"], made.positions, made.weights)
    return {**rows, "input_ids": made.ids, **targets}
