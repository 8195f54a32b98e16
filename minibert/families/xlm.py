"""XLM: Cross-lingual Language Model Pretraining.

Conneau, Lample, 2019, arXiv 1901.07291. Released code: facebookresearch/XLM (`xlm/model/transformer.py`,
`xlm/trainer.py`, `xlm/data/dataset.py`).

    embeddings   h⁰ = m·Drop(LN(E_word[x] + E_position[t] + E_language[l])), m 1 at tokens, 0 at padding         (1)
    layers       BERT's (2)-(6): attention, post-norm, feed-forward of width 4D, post-norm; then y = m·y     (2)-(6)
    attention    all tokens that are there; where the model is causal, each token up to itself                   (7)
    logits       z = h^L E_wordᵀ + b_V; the table is shared                                                      (8)
    MLM, TLM     L₁ = mean of -log softmax(z_m)[label] over the masked positions m                               (9)
    CLM          L₂ = mean of -log softmax(z_t)[x_{t+1}]                                                        (10)
    objective    L₁ where a batch has masked targets, L₂ where it has `labels`                                  (11)

A TLM row is a sentence and its translation, </s> a </s> </s> b </s>: positions restart in the second, languages are
each sentence's own, masks fall in both (`corruption.languages`). A text that is sampled has the language l with
q_l = p_l^α / Σ p^α, p its share of the text: α 0.5 for the vocabulary, 0.7 for rows.

Where the release deviates from the paper or ports from the release, and what is done here:
- act: ReLU unless `gelu_activation` in the release, GELU by erf unless told otherwise in ports, as here.
- `sinusoidal_embeddings`: a table of sinusoids, of which the release's optimizer knows nothing; in ports it learns.
  The release's way, or `sinusoids_learn`.
- (7): the causal mask alone, so padding at the end is meant; padding on the left is attended to, as in both.
- the release fills masked scores with -inf, ports with the most negative number; nothing differs where a row has any
  token. Queries are divided by √K before the product, which is the same product.
- whether a forward is causal the release says each time, so that one model may learn (9) and (10) in turns; here it is
  the configuration's `causal`, as in ports, whatever is asked. Of `labels` ports take what stands at each place itself.
- without `langs` nothing is added in (1): both allow it, published models want them.
- (8): the release also has an adaptive softmax (`asm`), of which no published model is made; it is refused.
- first weights: the release's linear maps are torch's, uniform within 1/√in, and its tables normal, D^{-1/2};
  ports draw all of them normal, `init_std` and `embed_init_std`. `initialization` names both; padding's row is 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert import kernels, layers, ops, tree
from minibert.config import among, check, number, rate, require, size
from minibert.corruption import languages
from minibert.families import bert, inherited, transformer
from minibert.heads import masked_token, next_token
from minibert.objective import Term
from minibert.summaries import Summary

Array = np.ndarray
Tree = dict[str, Any]
__getattr__ = inherited()  # published names: `minibert.published.xlm`

INITIALIZATIONS = ("ports", "release")
WIDE, DEEP = 2**20, 1024


# ---- Configuration ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    """The English model as released (xlm-mlm-en-2048), under the names of ports, and the variants of this engine."""

    vocab_size: int = size(30145)
    emb_dim: int = size(2048, WIDE)
    n_layers: int = size(12, DEEP)
    n_heads: int = size(16)
    dropout: float = rate(0.1)
    attention_dropout: float = rate(0.1)
    gelu_activation: bool = True
    sinusoidal_embeddings: bool = False
    causal: bool = False
    n_langs: int = size(1)
    use_lang_emb: bool = True
    max_position_embeddings: int = size(512)
    embed_init_std: float = number(2048**-0.5, 0, 100)
    init_std: float = number(0.02, 0, 100)
    layer_norm_eps: float = number(1e-12, 0, 1)
    pad_token_id: int = 2
    tie_word_embeddings: bool = True
    # variants
    pad_row_gradient: bool = False  # True: the padding row learns from its lookups too, as nowhere in XLM
    sinusoids_learn: bool = False
    initialization: str = among("ports", INITIALIZATIONS)
    languages: tuple[str, ...] = ()  # their names by id, where they are known

    def __post_init__(self) -> None:
        check(self)
        heads = f"a divisor of emb_dim {self.emb_dim}"
        require(self.emb_dim % self.n_heads == 0, f"config field 'n_heads' is {self.n_heads}; allowed: {heads}")
        pad = self.pad_token_id
        require(0 <= pad < self.vocab_size, f"config field 'pad_token_id' is {pad}; allowed: a token id")
        fits = not self.sinusoidal_embeddings or self.emb_dim % 2 == 0
        require(fits, f"config field 'emb_dim' is {self.emb_dim}; allowed: even numbers (sines, cosines)")
        named, due = len(self.languages), f"none, {self.n_langs}"
        require(named in (0, self.n_langs), f"config field 'languages' has {named} names; allowed: {due}")

    @property
    def act(self) -> str:
        """The activation of (2)-(6)."""
        return "gelu" if self.gelu_activation else "relu"

    @property
    def spoken(self) -> bool:
        """Whether (1) has a table of languages."""
        return self.n_langs > 1 and self.use_lang_emb


# the paper's models, section 5.1: 12 layers of 1024 for 15 languages, as released; and a small one
PRESETS = {
    "base": {"emb_dim": 1024, "n_layers": 12, "n_heads": 8},
    "tiny": {"emb_dim": 128, "n_layers": 2, "n_heads": 2},
}

# small, and every field away from its default: for checks
PROBE = {
    "vocab_size": 17,
    "emb_dim": 8,
    "n_layers": 2,
    "n_heads": 2,
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "gelu_activation": False,
    "sinusoidal_embeddings": True,
    "causal": True,
    "n_langs": 3,
    "max_position_embeddings": 9,
    "embed_init_std": 0.4,
    "init_std": 0.4,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 5,
    "tie_word_embeddings": False,
    "pad_row_gradient": True,
    "sinusoids_learn": True,
    "initialization": "release",
    "languages": ("de", "en", "zh"),
}


# ---- Shapes ----------------------------------------------------------------------------------------------------------
def shapes(config: Config) -> Tree:
    """The shape of every parameter of (1)-(6): the one place where they are written."""
    d, f = config.emb_dim, 4 * config.emb_dim
    norm = {"weight": (d,), "bias": (d,)}

    def dense(n_out: int, n_in: int) -> Tree:
        return {"weight": (n_out, n_in), "bias": (n_out,)}

    layer = {
        "attention": {**{name: dense(d, d) for name in ("query", "key", "value", "output")}, "norm": norm},
        "feed_forward": {"in": dense(f, d), "out": dense(d, f), "norm": norm},
    }
    return {
        "embeddings": {
            "word": {"weight": (config.vocab_size, d)},
            "position": {"weight": (config.max_position_embeddings, d)},
            **({"language": {"weight": (config.n_langs, d)}} if config.spoken else {}),
            "norm": norm,
        },
        "encoder": [layer] * config.n_layers,
    }


def initial(path: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> Array:
    """A parameter's first values, as `initialization` says; sinusoids where the positions are."""
    *_, parent, leaf = path.split(".")
    tables, release = ("word", "position", "language"), config.initialization == "release"
    if parent == "norm" or (leaf == "bias" and (parent == "decoder" or not release)):
        return np.full(shape, float(leaf == "weight"))
    if parent == "position" and config.sinusoidal_embeddings:
        return sinusoids(*shape)
    if parent in tables or parent == "decoder":
        deviation = config.emb_dim**-0.5 if release else config.embed_init_std
        values = (deviation if parent in tables or release else config.init_std) * rng.standard_normal(shape)
        if parent == "word":
            values[config.pad_token_id] = 0
        return values
    if not release:
        return config.init_std * rng.standard_normal(shape)
    n_in = 4 * config.emb_dim if parent == "out" else config.emb_dim
    return n_in**-0.5 * (2 * rng.random(shape) - 1)


def sinusoids(length: int, width: int) -> Array:
    """S(t)_2i = sin(t / 10000^(2i/D)), S(t)_2i+1 = cos of the same (arXiv 1706.03762, section 3.5); (length, D)."""
    return transformer.sinusoids(length, transformer.Config(d_model=width, nhead=1))


def undecayed(config: Config) -> tuple[str, ...]:
    """Sinusoids that stay as they are."""
    return () if _learns(config) else ("embeddings.position",)


def _learns(config: Config) -> bool:
    return config.sinusoids_learn or not config.sinusoidal_embeddings


# ---- An example ------------------------------------------------------------------------------------------------------
DIMS = {"B": 3, "T": 7, "M": 3}  # rows, tokens and targets of an example


def example(rng: np.random.Generator, config: Config, dims: dict[str, int] | None = None) -> Tree:
    """A small batch of every kind of trouble: two languages in a row, positions that restart with the second, padding
    at the end, the padding id once at a position that is none, a repeated id, a target slot of weight 0, and drawn
    dropout masks; of labels those of both objectives. Rows are cut to the position table; at least 4 tokens and 2 token
    ids are needed. dims: sizes that differ from DIMS.
    """
    dims = {**DIMS, **(dims or {})}
    rows, length = dims["B"], min(dims["T"], config.max_position_embeddings)
    require(length >= 4 and config.vocab_size >= 2, "an example needs at least 4 positions and 2 token ids")
    pad = config.pad_token_id
    ids = (pad + rng.integers(1, config.vocab_size, (rows, length))) % config.vocab_size
    ids[:, 3] = ids[:, 1]
    lengths = rng.integers(length // 2 + 1, length, rows)
    lengths[0] = length
    places = np.broadcast_to(np.arange(length), ids.shape)
    mask = (places < lengths[:, None]).astype(np.int64)
    ids = np.where(mask, ids, pad)
    ids[0, 2] = pad
    second = places >= lengths[:, None] // 2
    first = rng.integers(0, config.n_langs, (rows, 1))
    return {
        "input_ids": ids,
        "input_mask": mask,
        "langs": np.where(second, (first + 1) % config.n_langs, first) * mask,
        "position_ids": np.where(second, places - lengths[:, None] // 2, places) * mask,
        **masked_token.draw(rng, {**dims, "T": length}, {"T": lengths}, table=(config.vocab_size, 0)),
        **next_token.draw(rng, {"B": rows, "T": length}, {"T": lengths}, table=(config.vocab_size, 0)),
        "dropout": layers.keep_masks(rng, dropouts(config, {"B": rows, "T": length})),
    }


def dropouts(config: Config, dims: dict[str, int]) -> layers.Dropouts:
    """(shape, rate) of every dropout's keep-mask; ports have no modules for them: those of residuals are called as the
    norms behind them.
    """
    rows, length = dims["B"], dims["T"]
    wide, square = (rows, length, config.emb_dim), (rows, config.n_heads, length, length)
    places = {"transformer.layer_norm_emb.dropout": (wide, config.dropout)}
    for i in range(config.n_layers):
        places[f"transformer.attentions.{i}.dropout"] = (square, config.attention_dropout)
        places[f"transformer.layer_norm1.{i}.dropout"] = (wide, config.dropout)
        places[f"transformer.layer_norm2.{i}.dropout"] = (wide, config.dropout)
    return places


# ---- Encoder ---------------------------------------------------------------------------------------------------------
SPELLINGS = {"input_mask": "attention_mask"}


def inputs(config: Config) -> dict[str, str]:
    """What `encode` takes: specs by name (see `signatures`). langs are of each token; token_type_ids are words."""
    return {
        "input_ids": "(B,T)<vocab_size",
        "attention_mask": "?(B,T)?",
        "langs": "?(B,T)<n_langs",
        "token_type_ids": "?(B,T)<vocab_size",
        "position_ids": "?(B,T)<max_position_embeddings",
    }


def outputs(config: Config) -> dict[str, str]:
    """What `encode` gives: specs by name."""
    return {
        "last_hidden_state": "(B,T,emb_dim)",
        "hidden_states": "[(B,T,emb_dim)]",
        "attentions": "[(B,n_heads,T,T)]",
    }


OPTIONAL: Tree = {}


def lengths(config: Config) -> dict[str, tuple[str, int]]:
    """How long rows may be, and the input whose sum along that dimension is how long each is."""
    return {"T": ("attention_mask", config.max_position_embeddings)}


def encode(p: Tree, config: Config, inputs: dict[str, Array], *, keep: str = "caches") -> tuple[Tree, Tree]:
    """(1)-(7): outputs by name, and the cache; `inputs` as above, and "dropout" where something is dropped. States of
    padding are 0 in all of hidden_states.
    """
    c: Tree = {"learns": _learns(config)}
    ids, seen, dropped = inputs["input_ids"], inputs.get("attention_mask"), inputs.get("dropout") or {}
    h, c["embeddings"] = _embedded(p["embeddings"], config, inputs, dropped)  # (1)
    there = None if seen is None or seen.all() else np.broadcast_to(seen[:, :, None] != 0, h.shape)
    h, c["padding"] = ops.dropout(h, keep=there, rate=0.0)
    mask = layers.causal(ids.shape[1], ids.shape[1]) if config.causal else layers.of_source(seen)  # (7)

    def layer(x: Array, p: Tree, i: int) -> tuple[Array, Tree]:
        kept = dropped.get(f"transformer.attentions.{i}.dropout")
        y, own = layers.encoder_layer(
            x,
            p,
            heads=config.n_heads,
            act=config.act,
            eps=config.layer_norm_eps,
            mask=mask,
            dropout=None if kept is None else ops.dropout_multiplier(kept, config.attention_dropout, x.dtype),
            keep={
                "attention": dropped.get(f"transformer.layer_norm1.{i}.dropout"),
                "feed_forward": dropped.get(f"transformer.layer_norm2.{i}.dropout"),
            },
            rate=config.dropout,
        )
        y, own["padding"] = ops.dropout(y, keep=there, rate=0.0)
        return y, own

    hidden, c["encoder"] = layers.stack(layer, h, p["encoder"], keep)  # (2)-(6)
    return layers.states(hidden, c["encoder"], keep), c


def _embedded(p: Tree, config: Config, inputs: Tree, dropped: Tree) -> tuple[Array, Tree]:
    """(1) without m; token types have the table of words."""
    ids, (_, most) = inputs["input_ids"], lengths(config)["T"]
    fits = f"input_ids: {ids.shape[1]} tokens a row, but max_position_embeddings is {most}; truncate"
    require("position_ids" in inputs or ids.shape[1] <= most, fits)
    tables = {"word": ids, "position": inputs.get("position_ids", np.arange(ids.shape[1]))}
    frozen = {} if config.pad_row_gradient else dict.fromkeys(("word", "token_type"), config.pad_token_id)
    if config.spoken and "langs" in inputs:
        tables["language"] = inputs["langs"]
    if "token_type_ids" in inputs:
        p, tables["token_type"] = {**p, "token_type": p["word"]}, inputs["token_type_ids"]
    drop = {"keep": dropped.get("transformer.layer_norm_emb.dropout"), "rate": config.dropout}
    h, c = layers.embeddings(p, ids=tables, frozen=frozen, eps=config.layer_norm_eps, **drop)
    c["silent"] = {name: p[name] for name in ("language",) if name in p and name not in tables}
    return h, c


def encode_backward(dout: Tree, c: Tree) -> Tree:
    """The gradient tree of (1)-(7) from the cotangents of last_hidden_state and, where given, of hidden_states."""

    def layer_backward(dy: Array, c: Tree) -> tuple[Array, Tree]:
        return layers.encoder_layer_backward(ops.dropout_backward(dy, c["padding"]), c)

    dh, g = dout["last_hidden_state"], {}
    dh, g["encoder"] = layers.stack_backward(layer_backward, dh, c["encoder"], dout.get("hidden_states"))  # (6)-(2)
    dh = ops.dropout_backward(dh, c["padding"])
    own = {**layers.embeddings_backward(dh, c["embeddings"]), **tree.zeros_like(c["embeddings"]["silent"])}  # (1)
    if "token_type" in own:
        own["word"] = {"weight": kernels.add(own["word"]["weight"], own.pop("token_type")["weight"])}
    if not c["learns"]:
        own["position"] = tree.zeros_like(own["position"])
    return {"embeddings": own, **g}


# ---- Objective -------------------------------------------------------------------------------------------------------
def terms(config: Config) -> dict[str, Term]:
    """(11): what a batch asks for; (8) is one for both, its table the embeddings' where tied, else the head's."""
    tied, table = config.tie_word_embeddings, (config.vocab_size, config.emb_dim)
    own = {"table": "embeddings.word.weight" if tied else "mlm.decoder.weight", "optional": True}
    sizes = {"table": table, "tied": tied}
    return {
        "masked_lm": Term(masked_token, "mlm", sizes=sizes, **own),  # (9)
        "next_token": Term(next_token, "mlm", sizes={**sizes, "biased": True}, **own),  # (10)
    }


def summaries(config: Config) -> dict[str, Summary]:
    """What stands for a text: the state of its first token."""
    names = {"head": "sequence_summary.summary", "dropped": (None, "sequence_summary.first_dropout")}
    return {"text": Summary(at="first", **names)}


# ---- Data ------------------------------------------------------------------------------------------------------------
TOKENIZER = "fast_bpe"
Data = languages.Spoken
DEFAULTS: Tree = {"lowercase": False, "masking": "dynamic", "vocabulary_smoothing": 0.5}
WIDTH = "emb_dim"
NARROW = {"emb_dim": 64, "n_layers": 2, "n_heads": 4, "init_std": 0.1, "embed_init_std": 0.1}
QUICK = {**NARROW, "dropout": 0.0, "attention_dropout": 0.0}


def fields(data: Any, given: Tree) -> Tree:
    """The config fields for rows that these options make: those given, and what the rows ask for."""
    known = tuple(data.names)
    own = {"n_langs": len(known), "languages": known} if known else {}
    asked = data.objective == "clm"
    fits = f"config field 'causal' is {given.get('causal')}; the objective {data.objective} needs {asked}"
    require(given.get("causal", asked) == asked, fits)
    return {"max_position_embeddings": data.seq_length, **own, **given, "causal": asked}


def read(encodings: list, pad: int | None) -> dict[str, Array]:
    """The inputs of encoded texts, (B, T), padded at the end; nobody says here in which languages they are."""
    rows = bert.read(encodings, pad)
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


mark, rows, corrupt = languages.mark, languages.rows, languages.corrupt
