"""ERNIE: Enhanced Language Representation with Informative Entities (Tsinghua, Huawei).

Zhang, Han, Liu, Jiang, Sun, Liu, 2019, arXiv 1905.07129. Released code: thunlp/ERNIE (`knowledge_bert/modeling.py`,
`run_pretrain.py`, `pretrain_data/create_insts.py`). No kin of Baidu's models of that name.

BERT except (4')-(6') in the layers from the first "mix" on, and (12). Beside the states w (B, T, D) of tokens run those
e (B, T, E) of the entities that the tokens stand for, 0 where a token stands for none:

    entities     e⁰ = E_entity[a], a (B, T) the aligned entities, at a mention's first token; E is data: frozen     (1')
                 m = 1 where there is an entity, and at [CLS], whose vector is 0
    T-encoder    layers "sim": (2)-(6); e goes by unchanged
    K-encoder    a = LN(w + Drop(attention(w)))                                                                    (4')
                 "norm": b = m∘LN(e + Drop(attention(e, m))), heads and projections of its own; "mix": b = m∘e     (4'')
    fusion       h = act(a W₁ᵀ + b₁ + b V₁ᵀ + c₁)                                                                  (5')
                 w' = LN(a + Drop(h W₂ᵀ + b₂)),  e' = LN(b + Drop(h V₂ᵀ + c₂)); of the last no e'                  (6')
    entity head  z_j = LN(act(w_t W_eᵀ + b_e))·E_entity[j] for the candidates j, 0 for none; L₃ as (9)             (12)
    objective    L = L₁ + L₂ + L₃, three means of weight 1                                                         (13)

Data: BERT's pairs and masks; an entity stands at the first token of its mention; 5 % of them are replaced by others,
15 % hidden, 80 % kept (`corruption.mentions`), and all are asked for. This rule is this model's, not Baidu's.

Where the release deviates from the paper, and what is done here, as in the release:
- residuals and norms in (6'), c₁ in (5') also where there is no entity: the paper has neither.
- (12) tells apart the entities of the batch and none; the paper those of the row.
- the last entity output gets no gradient in the release, which keeps it from the optimizer; here there is none.
- rows with fewer than five entities are dropped in the release (three in the paper): here `--least`.
- layers that `layer_types` doesn't say are "sim", at the end; () is the release's: T-encoder, one "mix", "norm"s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import informed, layers, ops, options
from minibert.config import require, shown, size
from minibert.corruption import instances, knowledge, mentions
from minibert.corruption.masking import Vocabulary
from minibert.families import bert, inherited
from minibert.heads import entity
from minibert.objective import Term
from minibert.options import option

KIN = "bert"
__getattr__ = inherited(KIN)

Array = np.ndarray
Tree = dict[str, Any]

KINDS = ("sim", "mix", "norm")


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config(bert.Config):
    """ERNIE-base as released, over Wikidata's entities; layer_types: of each layer, see above."""

    layer_types: tuple[str, ...] = ()
    entity_size: int = size(100, bert.WIDE)
    entity_attention_heads: int = size(4)
    num_entities: int = size(5040986)
    # variant
    entity_gradient: bool = False  # True: the entities' vectors learn, too

    def __post_init__(self) -> None:
        super().__post_init__()
        depth, known = self.num_hidden_layers, self.layer_types
        fits = len(known) <= depth and set(known) <= set(KINDS)
        allowed = f"at most num_hidden_layers, {depth}, of {', '.join(KINDS)}"
        require(fits, f"config field 'layer_types' is {shown(known)}; allowed: {allowed}")
        ahead = max(0, depth // 2 - 1)
        released = ("sim",) * ahead + ("mix",) + ("norm",) * (depth - ahead - 1)
        filled = known + ("sim",) * (depth - len(known)) if known else released
        object.__setattr__(self, "layer_types", filled)
        fits = self.entity_size % self.entity_attention_heads == 0
        heads = f"a divisor of entity_size {self.entity_size}"
        require(fits, f"config field 'entity_attention_heads' is {self.entity_attention_heads}; allowed: {heads}")


PROBE = {**bert.PROBE, "num_hidden_layers": 3, "layer_types": ("mix", "sim", "norm"), "entity_size": 6,
         "entity_attention_heads": 3, "num_entities": 10, "entity_gradient": True}  # fmt: skip


def last_fusion(config: Config) -> int:
    """The last layer that reads entities, -1 where none does: what it would make of them nobody reads."""
    return max((i for i, kind in enumerate(config.layer_types) if kind != "sim"), default=-1)


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """BERT's, with the entities' part of the layers that fuse, and their vectors."""
    made, e, f = bert.shapes(config), config.entity_size, config.intermediate_size
    norm, last = {"weight": (e,), "bias": (e,)}, last_fusion(config)

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    def layer(i: int, own: Tree, kind: str) -> Tree:
        if kind == "sim":
            return own
        fed = {"in": dense(f, e), **({"out": dense(e, f), "norm": norm} if i < last else {})}
        projections = {name: dense(e, e) for name in ("query", "key", "value", "output")}
        attention = {"entity_attention": {**projections, "norm": norm}} if kind == "norm" else {}
        return {**own, **attention, "entity_feed_forward": fed}

    pairs = zip(made["encoder"], config.layer_types, strict=True)
    encoder = [layer(i, own, kind) for i, (own, kind) in enumerate(pairs)]
    return {**made, "encoder": encoder, "entities": {"weight": (config.num_entities, e)}}


def frozen(config: Config) -> tuple[str, ...]:
    """The vectors of the entities, unless they learn."""
    return () if config.entity_gradient else ("entities.weight",)


def undecayed(config: Config) -> tuple[str, ...]:
    return frozen(config)


# ---- An example ------------------------------------------------------------------------------------------------------
def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """BERT's, with entities at some tokens, of which a few are asked for others than they are given."""
    batch = bert.example(rng, config, dims)
    dims, there = {**bert.DIMS, **(dims or {})}, batch["input_mask"]
    table = (config.num_entities, config.entity_size)
    batch |= entity.draw(rng, dims, {"T": there.sum(1)}, table=table)
    labels, others = batch["entity_labels"], rng.integers(0, config.num_entities, there.shape)
    given = np.where(rng.random(there.shape) < 0.5, labels, others)
    batch["entity_ids"] = np.where((labels >= 0) & (rng.random(there.shape) < 0.8), given, mentions.NONE)
    batch["entity_ids"][0, 1] = others[0, 1]  # of which nothing may be asked
    masks = layers.keep_masks(rng, dropouts(config, {"B": len(there), "T": there.shape[1]}))
    return {**batch, "dropout": masks}


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """BERT's, and those of the entities under the names of the published modules; "@1" where one is called again."""
    rows, length, last = dims["B"], dims["T"], last_fusion(config)
    places, wide = bert.dropouts(config, dims), (rows, length, config.entity_size)
    square = (rows, config.entity_attention_heads, length, length)
    for i, kind in enumerate(config.layer_types):
        if kind == "norm":
            places[f"{LAYERS}{i}.attention.self_ent.dropout"] = (square, config.attention_probs_dropout_prob)
            places[f"{LAYERS}{i}.attention.output_ent.dropout"] = (wide, config.hidden_dropout_prob)
        if kind != "sim" and i < last:
            places[f"{LAYERS}{i}.output.dropout@1"] = (wide, config.hidden_dropout_prob)
    return places


# ---- Encoder ---------------------------------------------------------------------------------------------------------
LAYERS = "bert.encoder.layer."


def inputs(config: Config) -> dict[str, str]:
    """BERT's, and the entities that tokens are given, -1 for none; none at all unless given."""
    return {**bert.inputs(config), "entity_ids": f"?(B,T)<num_entities|{mentions.NONE}"}


def _layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
    """Backward of a layer, of either kind."""
    if "there" in c:
        return informed.layer_backward(dy, c)
    dw, de = informed.parted(dy, c["width"])
    dw, g = layers.encoder_layer_backward(np.ascontiguousarray(dw), c)
    return np.concatenate([dw, de], -1), g


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(7), (1')-(6'): outputs by name, and the cache; as `bert.encode`."""
    c: Tree = {"frozen": not config.entity_gradient, "width": config.hidden_size}
    h, c["embeddings"] = bert.embedded(p["embeddings"], config, inputs, bert.PREFIX)  # (1)
    ids, wide = inputs.get("entity_ids"), (*h.shape[:2], config.entity_size)
    ids = np.full(h.shape[:2], mentions.NONE) if ids is None else ids
    marked = ids >= 0
    e = np.zeros(wide, h.dtype)
    if "entities" in p:
        e, c["entities"] = ops.embedding(**p["entities"], ids=np.maximum(ids, 0))  # (1')
        e, c["given"] = ops.dropout(e, keep=np.broadcast_to(marked[..., None], wide), rate=0.0)
    require("entities" in p or not marked.any(), "entity_ids: the model has no vectors of entities")
    marked = marked | (np.arange(h.shape[1]) == 0)
    h = np.concatenate([h, e], -1) if last_fusion(config) >= 0 else h
    hidden, c["encoder"] = layers.stack(_layer(config, inputs, marked), h, p["encoder"], keep)  # (2)-(6')
    c["widths"] = [state.shape[-1] for state in hidden]
    hidden = [np.ascontiguousarray(informed.parted(state, config.hidden_size)[0]) for state in hidden]
    out = layers.states(hidden, c["encoder"], keep)
    if "pooler" in p:
        out["pooler_output"], c["pooler"] = layers.pooler(hidden[-1], p["pooler"])  # (7)
    return out, c


def _layer(config: Config, inputs: Tree, marked: Array) -> Callable:
    """layer(x, p, i) for `layers.stack`; marked: m, (B, T)."""
    masks, there = inputs.get("dropout") or {}, inputs.get("attention_mask")
    there = None if there is None or there.all() else there.astype(bool)[:, None, None]
    rate, probs, wide = config.hidden_dropout_prob, config.attention_probs_dropout_prob, config.entity_size
    both = {"act": config.hidden_act, "eps": config.layer_norm_eps, "rate": rate}
    own = {"masked": config.mask_constant, "mask": there}
    theirs = {"masked": config.mask_constant, "mask": marked[:, None, None]}
    present = np.broadcast_to(marked[..., None], (*marked.shape, wide))

    def multiplier(name: str, x: Array) -> Array | None:
        kept = masks.get(name)
        return None if kept is None else ops.dropout_multiplier(kept, probs, x.dtype)

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        name = f"{LAYERS}{i}."
        given = {**own, "dropout": multiplier(f"{name}attention.self.dropout", x)}
        keep = {"attention": masks.get(f"{name}attention.output.dropout"), "tokens": masks.get(f"{name}output.dropout")}
        if "entity_feed_forward" in p:
            keep |= {"own": masks.get(f"{name}attention.output_ent.dropout")}
            keep |= {"entities": masks.get(f"{name}output.dropout@1")}
            tokens = {**given, "width": config.hidden_size // config.num_attention_heads}
            entities = {**theirs, "dropout": multiplier(f"{name}attention.self_ent.dropout", x)}
            entities["width"] = wide // config.entity_attention_heads
            return informed.layer(x, p, tokens=tokens, entities=entities, there=present, keep=keep, **both)
        w, e = informed.parted(x, config.hidden_size)
        keep = {"attention": keep["attention"], "feed_forward": keep["tokens"]}
        w, c = layers.encoder_layer(np.ascontiguousarray(w), p, heads=config.num_attention_heads, keep=keep,
                                    **given, **both)  # fmt: skip
        c["width"] = config.hidden_size
        return np.concatenate([w, e], -1), c

    return layer


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """As `bert.encode_backward`, with the entities' vectors, whose gradient is 0 unless they learn."""
    g: Tree = {}
    dh = dout["last_hidden_state"]
    if "pooler" in c:
        dh_pooler, g["pooler"] = layers.pooler_backward(dout["pooler_output"], c["pooler"])  # (7)
        dh = dh + dh_pooler
    widths = c["widths"]

    def widened(d: Array, width: int) -> Array:
        return np.pad(d, ((0, 0), (0, 0), (0, width - d.shape[-1])))

    douts = dout.get("hidden_states")
    douts = None if douts is None else [widened(d, n) for d, n in zip(douts, widths, strict=False)]
    dh, encoder = layers.stack_backward(_layer_backward, widened(dh, widths[-1]), c["encoder"], douts)  # (6')-(2)
    dh, de = map(np.ascontiguousarray, informed.parted(dh, c["width"]))
    if "entities" in c:  # (1')
        de = de if de.shape[-1] else np.zeros(c["given"]["keep"].shape, dh.dtype)
        dtable = ops.embedding_backward(ops.dropout_backward(de, c["given"]), c["entities"])
        g["entities"] = {"weight": 0 * dtable["weight"]} if c["frozen"] else dtable
    return {"embeddings": layers.embeddings_backward(dh, c["embeddings"]), "encoder": encoder, **g}  # (1)


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(13): L₁ + L₂ + L₃."""
    sizes = {"width": config.hidden_size, "table": (config.num_entities, config.entity_size)}
    own = {"act": config.hidden_act, "eps": config.layer_norm_eps, "learns": config.entity_gradient}
    given = {"inputs": {"given": "entity_ids"}, "table": "entities.weight"}
    return {**bert.terms(config), "entity": Term(entity, "entity", sizes=sizes, constants=own, **given)}  # (12)


def sample(rng: np.random.Generator, p: Tree, config: Config, batch: Tree) -> Tree:
    """(12): the entities of this batch, for each of its rows."""
    return {"entity_candidates": entity.candidates(batch["entity_labels"])}


# ---- Data ------------------------------------------------------------------------------------------------------------
# entities are replaced by those of the batch, as in the release; a layer costs a quarter more than BERT's
DEFAULTS: Tree = {"masking": "dynamic", "steps": 2500}


@dataclass(frozen=True)
class Data(options.Pairs):
    """What the data functions ask for."""

    knowledge: str = option("", "entities, triples and what stands for them from this folder, of OpenKE's files or "
                            "WordNet's; else what this Python knows of its own modules", file=True)  # fmt: skip
    entity_size: int = option(32, "learn vectors of entities of so many numbers", least=4, most=1024)
    passes: int = option(30, "learn them in so many passes over the triples (TransE)", least=1, most=10_000)
    least: int = option(0, "leave out rows with fewer entities than this; 5 in the release", least=0, most=64)


def fields(data: Data, given: Tree) -> Tree:
    """The config fields for rows that these options make."""
    known = {"num_entities": len(knowledge.read(data.knowledge).names), "entity_size": data.entity_size}
    for name, value in known.items():
        require(given.get(name, value) == value, f"config field {name!r} is {given.get(name)}, but the knowledge that "
                f"is read needs {value}")  # fmt: skip
    heads = {} if data.entity_size % Config.entity_attention_heads == 0 else {"entity_attention_heads": 1}
    return {**heads, **bert.fields(data, given), **known}


def study(tokenizer: Any, data: Data, counted: Any) -> Array:
    """(N, E) the entities' vectors: read, or learnt by TransE from the triples."""
    return knowledge.vectors(data.knowledge, data.entity_size, data.passes)


def stage(p: Tree, config: Config, step: int, steps: int) -> tuple[str, ...]:
    """The vectors stay as they are, unless they learn."""
    return () if config.entity_gradient else ("entities",)


def begin(p: Tree, studied: Array) -> None:
    """What a run begins with, whatever it goes on from: the entities' vectors."""
    p["entities"]["weight"][...] = studied


def mark(tokenizer: Any, data: Data, texts: list, documents: list) -> Tree:
    """"entities": for each token the entity whose mention begins there, -1 for none."""
    known = knowledge.read(data.knowledge)
    return {"entities": [[mentions.aligned(tokenizer.encode(sentence), known.linked(sentence))[1:-1]
                          for sentence in document] for document in texts]}  # fmt: skip


def rows(documents: list, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, marked: Any = None) -> Tree:
    """BERT's pairs with the entities of their tokens, "entity_ids" (N, T); nothing masked yet."""
    made = mentions.carried(
        documents, marked["entities"] if marked else None, vocabulary,
        lambda coded, own: instances.pairs(coded, rng, own, data.seq_length, data.short_rate, data.duplicates),
    )  # fmt: skip
    enough = (made["entity_ids"] >= 0).sum(1) >= data.least
    return {name: array[enough] for name, array in made.items()}


def corrupt(rows: Tree, rng: np.random.Generator, vocabulary: Vocabulary, data: Data, studied: Any = None) -> Tree:
    """These rows masked by BERT's rule, their entities by 5/15/80; every entity is asked for."""
    masked, given = instances.masked(rows, rng, vocabulary, data.rate, data.slots), rows["entity_ids"]
    asked = np.where(given >= 0, given, entity.IGNORED).astype(np.int32)
    return {**masked, "entity_ids": mentions.denoising(given, rng), "entity_labels": asked}
