"""Each family beside its published implementation: float64, probe weights, no field at its default; bar 1e-12.

What is compared is declared in the family's own test, tests/families/test_NAME.py:

    PUBLISHED = [Published("roberta", "RobertaForMaskedLM", labels={"labels": "masked_lm"})]
    DIRECTORIES = {"RobertaForMaskedLM": {"mlm"}, "RobertaModel": {"pooler"}}

This file has no list of families: it reads those of the folder.
"""

import dataclasses
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minibert
from minibert import batches, families, objective, tree
from minibert.errors import InputError
from minibert.families import own
from minibert.golden.subject import Subject, observe

BAR = 1e-12
FAMILIES = sorted(module.name for module in pkgutil.iter_modules(families.__path__))  # without what tests register
# Small sizes, unequal, nothing at its default, by BERT's names (`families.field`); a family's config takes those that
# it has.
FIELDS = {
    "vocab_size": 29,
    "embedding_size": 10,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 19,
    "type_vocab_size": 3,
    "layer_norm_eps": 3e-5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.0,
    "pad_token_id": 5,
    "initializer_range": 0.3,
    "decoder_layers": 2,
    "decoder_attention_heads": 3,
    "decoder_ffn_dim": 31,
}
# of configs, again by BERT's names
ACTIVATIONS = ({"hidden_act": "gelu"}, {"hidden_act": "gelu_new"}, {"hidden_act": "relu", "tie_word_embeddings": False})
Batch = dict[str, Any]


def _spellings() -> dict[str, str]:
    """What any family calls an input of its network -> its published name."""
    found: dict[str, str] = {}
    for module in map(families.family, FAMILIES):
        configs = module.Config(), module.Config(**module.PROBE)
        found |= {name: name for config in configs for name in module.inputs(config)} | getattr(module, "SPELLINGS", {})
    return found


INPUTS = _spellings()


@dataclass(frozen=True)
class Published:
    """A family beside a class of transformers.

    labels: the class's keyword for each of our terms, in the order of its logits; fields: over FIELDS; configs: over
    these, one comparison each, both by BERT's names or the family's; theirs: the published fields of a config that ours
    says otherwise; edit: what it changes in a batch; mend: in the published module of a config, before it gets its
    weights. A twin that transformers has no class for: twin(model) makes it, terms(twin, batch) its terms.
    """

    family: str
    kind: str
    labels: Mapping[str, str]
    fields: Mapping[str, Any] = field(default_factory=dict)
    configs: tuple[Mapping[str, Any], ...] = ACTIVATIONS
    theirs: Callable[[Any], dict[str, Any]] = lambda config: {}
    edit: Callable[[np.random.Generator, Any, Batch], None] = lambda rng, config, batch: None
    mend: Callable[[Any, Any], None] = lambda module, config: None
    twin: Callable[[minibert.Model], Any] | None = None
    terms: Callable[[Any, Batch], dict[str, Any]] | None = None
    joined: bool = False  # its modules are called for each of two streams, of which ours has the rows together
    several: tuple[str, ...] = ()  # modules called once for several terms, whose gradients ours has term by term


# ---- Ours ------------------------------------------------------------------------------------------------------------
def field_of(model: minibert.Model, name: str) -> Any:
    """A config field by BERT's name."""
    return getattr(model.config, families.field(model.module, name))


def probed(family: str, seed: int = 1, **fields: Any) -> minibert.Model:
    """A model with probe weights: std 0.4 (0.2 beyond 4 layers), gains around 1, near-constant rows in the tables."""
    rng, module = np.random.default_rng(seed), families.family(family)
    given = {families.field(module, name): value for name, value in fields.items()}
    model = minibert.create(family, dtype="float64", **{**own(module, FIELDS), **given})
    std = 0.4 if field_of(model, "num_hidden_layers") <= 4 else 0.2
    for path, value in tree.items(model.params):
        value[...] = rng.normal(1.0 if path.endswith("norm.weight") else 0.0, std, value.shape)
        if path.endswith(("word.weight", "position.weight", "token_type.weight")):  # an input of little variance
            pad = getattr(model.config, "pad_token_id", None) or 0
            first = (0, pad + 1)  # the first position, as BERT and as RoBERTa counts
            rows = [row for row in first if row < len(value)]
            value[rows] = 0.1 + 1e-3 * rng.standard_normal(value[rows].shape)
    return model


def example(model: minibert.Model, seed: int = 1, rows: int = 4, length: int = 11, targets: int = 4) -> Batch:
    """A batch without dropout, its target positions distinct; the first token is one of little variance."""
    rng = np.random.default_rng([seed, 1])
    dims = {"B": rows, "T": length, "M": targets, "S": length - 3}
    batch = batches.example(model.module, model.config, rng, dims)
    batch.pop("dropout", None)
    if "input_ids" in batch:
        batch["input_ids"][0, 0] = 0
    if "masked_lm_positions" in batch:
        chosen = [rng.choice(np.arange(1, 6), targets, replace=False) for _ in range(rows)]
        batch["masked_lm_positions"] = np.stack(chosen)
    return batch


def inputs(batch: Batch) -> Batch:
    """What a network reads of a batch, under the published names."""
    return {INPUTS[name]: array for name, array in batch.items() if name in INPUTS}


def error(got: Any, true: Any, scale: float = 0.0) -> float:
    """max|got - true| / max(max|true|, 1e-3·scale)."""
    got, true = np.asarray(got), np.asarray(true)
    assert got.shape == true.shape
    return float(np.abs(got - true).max() / max(np.abs(true).max(), 1e-3 * scale))


def worst(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> float:
    """The largest error of any gradient. A key's bias has true gradient 0: it has to be nearly so."""
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    errors = {name: error(ours[name], theirs[name], largest) for name in ours}
    for name in errors:
        if name.endswith("key.bias"):  # the softmax does not see a constant added to every score of a row
            assert np.abs(ours[name]).max() < 1e-13 * largest, name
    first = max(errors, key=errors.get)
    print(f"largest gradient error {errors[first]:.1e} in {first}")
    return errors[first]


# ---- Theirs ----------------------------------------------------------------------------------------------------------
def oracle() -> tuple[ModuleType, ModuleType]:
    """torch and transformers; skips the test where they are missing."""
    reason = "compares with the published implementation: install minibert[oracle]"
    return pytest.importorskip("torch", reason=reason), pytest.importorskip("transformers", reason=reason)


def twin(
    config: Any, state: Mapping[str, np.ndarray], spared: set[str], kind: str, mend: Callable | None = None,
    **theirs: Any,
) -> Any:  # fmt: skip
    """The published class with these weights, in float64; spared: names that it has and the state lacks; mend: as in
    `Published`.
    """
    _, transformers = oracle()
    published = getattr(transformers, kind).config_class
    defaults = published()
    ours = {name: getattr(config, name) for name in config.__dataclass_fields__ if hasattr(defaults, name)}
    module = getattr(transformers, kind)(published(**{**ours, **theirs}, attn_implementation="eager"))
    if mend:
        mend(module, config)
    return loaded(module.double().eval(), state, spared)


def loaded(module: Any, state: Mapping[str, np.ndarray], spared: set[str]) -> Any:
    """The torch module with these weights."""
    torch, _ = oracle()
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert set(missing) <= {*spared, f"{module.base_model_prefix}.embeddings.position_ids"}
    module.tie_weights()
    return module


def spared(model: minibert.Model) -> set[str]:
    """Published names that repeat others, and those that our model passes over."""
    return {*model.module.aliases(model.config), *model.module.unused(model.config)}


def torch_inputs(batch: Batch) -> dict[str, Any]:
    torch, _ = oracle()
    return tree.map(torch.from_numpy, inputs(batch))


def label(term: str, batch: Batch) -> np.ndarray:
    """The labels of a term, as published classes take them: of the masked LM (B, T), -100 where nothing is asked."""
    asked = next(iter(import_module(f"minibert.heads.{term}").LABELS))
    if asked != "masked_lm_positions":
        return batch[asked]
    labels = np.full(batch["input_ids"].shape, -100)
    for b, m in np.argwhere(batch["masked_lm_weights"]):
        labels[b, batch["masked_lm_positions"][b, m]] = batch["masked_lm_ids"][b, m]
    return labels


def term_of(term: str, logits: Any, labels: np.ndarray, mask: np.ndarray) -> Any:
    """A term from published logits, in their precision; of the next token they stand one place before its label."""
    torch, _ = oracle()
    labels = torch.from_numpy(labels)
    if ahead := getattr(import_module(f"minibert.heads.{term}"), "AHEAD", 0):
        logits, labels = logits[:, :-ahead], labels[:, ahead:]
    if term == "replaced_token":
        attended = torch.from_numpy(mask) == 1
        own = labels[attended].to(logits.dtype)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[attended], own)
    return torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100)


def published_terms(given: Published, module: Any, batch: Batch, config: Any) -> dict[str, Any]:
    """Each term of the published class, whose own loss is their sum."""
    torch, _ = oracle()
    heads = objective.heads(families.family(given.family), config)
    heads = {term: families.named(head) for term, head in heads.items()}
    labels = {term: label(heads[term], batch) for term in given.labels.values()}
    named = {name: torch.from_numpy(labels[term]) for name, term in given.labels.items()}
    out = module(**torch_inputs(batch), **named)
    logits = [value for name, value in out.items() if "logits" in name]
    mask = inputs(batch)["attention_mask"]
    terms = {term: term_of(heads[term], z, labels[term], mask) for term, z in zip(labels, logits, strict=True)}
    rounded = {heads[term] for term in terms} & {"replaced_token", "next_token"}  # labels, or logits, in float32
    assert error(out.loss.item(), sum(terms.values()).item()) < (1e-6 if rounded else BAR)
    return terms


@dataclass
class Pair:
    """A model and its twin with the same weights, and a batch."""

    given: Published
    model: minibert.Model
    twin: Any
    batch: Batch

    def terms(self) -> dict[str, Any]:
        if self.given.terms:
            return self.given.terms(self.twin, self.batch)
        return published_terms(self.given, self.twin, self.batch, self.model.config)


    def total(self) -> Any:
        """The loss: its terms by the family's weights."""
        terms = self.terms()
        weights = getattr(self.model.module, "weights", lambda config: dict.fromkeys(terms, 1))(self.model.config)
        return sum(weight * terms[name] for name, weight in weights.items() if name in terms)


def pair(given: Published, fields: Mapping[str, Any], seed: int = 1) -> Pair:
    oracle()
    model = probed(given.family, seed, **{**given.fields, **fields})
    batch = example(model, seed)
    given.edit(np.random.default_rng(seed), model.config, batch)
    if given.twin:
        return Pair(given, model, given.twin(model), batch)
    theirs = given.theirs(model.config)
    made = twin(model.config, model.state_dict(), spared(model), given.kind, given.mend, **theirs)
    return Pair(given, model, made, batch)


# ---- What is declared ------------------------------------------------------------------------------------------------
FOLDER = Path(__file__).parent / "families"


def declared(name: str) -> list[tuple[str, Any]]:
    """(family, what its own test declares under that name), of those that do."""
    sys.path[:0] = [str(FOLDER)] if str(FOLDER) not in sys.path else []
    files = sorted(path.stem for path in FOLDER.glob("test_*.py"))
    found = [(file.removeprefix("test_"), getattr(import_module(file), name, None)) for file in files]
    return [(family, value) for family, value in found if value is not None]


def identifier(value: Any) -> str | None:
    """Of fields, or options, in the name of a test."""
    return " ".join(f"{name}={field}" for name, field in value.items()) or "-" if isinstance(value, dict) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Only now, when the families' tests can import this file."""
    if metafunc.module.__name__ != __name__:
        return
    given = [one for _, several in declared("PUBLISHED") for one in several]
    names = metafunc.fixturenames
    if "fields" in names:
        every = [(one, fields, n) for one in given for n, fields in enumerate(one.configs)]
        ids = [f"{one.family}-{one.kind}-{n}" for one, _, n in every]
        metafunc.parametrize(("given", "fields"), [(one, fields) for one, fields, _ in every], ids=ids)
    elif "given" in names:
        metafunc.parametrize("given", given, ids=[f"{one.family}-{one.kind}" for one in given])
    elif "untwinned" in names:
        plain = [one for one in given if not one.twin]
        metafunc.parametrize("untwinned", plain, ids=[f"{one.family}-{one.kind}" for one in plain])
    elif "kind" in names:
        every = [(family, kind, heads) for family, kinds in declared("DIRECTORIES") for kind, heads in kinds.items()]
        metafunc.parametrize(("family", "kind", "heads"), every, ids=[f"{f}-{kind}" for f, kind, _ in every])


# ---- The comparisons -------------------------------------------------------------------------------------------------
def test_loss_terms_and_every_gradient(given, fields):
    both = pair(given, fields)
    loss, cache = both.model.loss(both.batch)
    total = both.total()
    total.backward()
    assert error(loss, total.item()) < BAR
    terms = both.terms()
    assert cache["terms"].keys() == terms.keys()
    for name, term in terms.items():
        assert error(cache["terms"][name], term.item()) < BAR, name
    theirs = {name: p.grad.numpy() for name, p in both.twin.named_parameters() if p.grad is not None}
    assert worst(both.model.state_dict(both.model.loss_backward(cache)), theirs) < BAR


def test_encode(given):
    torch, _ = oracle()
    both = pair(given, given.configs[0], seed=2)
    ours = both.model.encode(**inputs(both.batch))
    with torch.no_grad():
        out = both.twin.base_model(**torch_inputs(both.batch), output_hidden_states=True, output_attentions=True)
    out = {name.removeprefix("decoder_"): value for name, value in out.items()}  # ours are those of what is written
    out.setdefault("last_hidden_state", out["hidden_states"][-1])  # of a class with a head
    spare = {"pooler_output", *(["attentions"] if given.twin else [])}  # torch's own stacks give none
    assert {name for name in ours if out.get(name) is None} <= spare
    for name in ours.keys() & {name for name, value in out.items() if value is not None}:
        both = (value if isinstance(value, list | tuple) else [value] for value in (ours[name], out[name]))
        for mine, true in zip(*both, strict=True):
            assert error(mine, true.numpy()) < BAR, name


def test_predictions(untwinned):
    """The logits of every head at every place, as a class gives them."""
    torch, _ = oracle()
    both = pair(untwinned, untwinned.configs[0], seed=4)
    with torch.no_grad():
        out = both.twin(**torch_inputs(both.batch))
    logits = [value for name, value in out.items() if "logits" in name]
    for term, z in zip(untwinned.labels.values(), logits, strict=True):
        ours = objective.predict(both.model.module, both.model.params, both.model.config, inputs(both.batch), term)
        assert error(ours, z.numpy()) < BAR, term


def test_named_outputs_and_their_gradients_are_those_of_hooks(given):
    """Of every module: its n-th call after the first is called "name@n"."""
    torch, _ = oracle()
    if given.joined:
        pytest.skip("each module is called for each stream, whose rows are one array here")
    both = pair(given, given.configs[0], seed=3)
    model, seen = both.model, {}

    def hook(name: str) -> Callable:
        def note(module, inputs, out):
            value = out if torch.is_tensor(out) else out[0] if isinstance(out, tuple) else None
            if torch.is_tensor(value) and value.requires_grad:
                value.retain_grad()
                calls = sum(other.partition("@")[0] == name for other in seen)
                seen[f"{name}@{calls}" if calls else name] = value

        return note

    for name, module in both.twin.named_modules():
        module.register_forward_hook(hook(name))
    both.total().backward()
    ours = observe(Subject(given.family, model.config, model.params, [model.checked(both.batch)]), ())
    inner = ("scores", "probs", "context")  # of which no module gives the output
    names = [*dict.fromkeys(name for name, *_ in model.module.activations(model.config))]  # parts of one stand together
    names = [name for name in names if name.partition("@")[0].rpartition(".")[2] not in inner]
    names = [name for name in names if f"forward/{name}" in ours]  # the loss need not read a pooler
    names = [name for name in names if name not in given.several]
    if given.twin:  # which has not all the modules, or gives the head of one more rows than are asked for
        names = [name for name in names if name in seen and seen[name].shape[1:] == ours[f"forward/{name}"].shape[1:]]
    attending = any(path.endswith(":probs") for _, path, *_ in model.module.activations(model.config))
    assert len(names) > (9 if attending else 1) * field_of(model, "num_hidden_layers")
    largest = max(np.abs(seen[name].grad.numpy()).max() for name in names)
    for name in names:
        value, gradient = seen[name].detach().numpy(), seen[name].grad.numpy()
        mine = ours[f"forward/{name}"]
        if len(mine) < len(value):  # one row of positions serves the batch (BERT-EMB-2)
            value, gradient = value[:1], gradient.sum(0, keepdims=True)
        assert error(mine, value) < BAR, name
        assert error(ours[f"gradients/{name}"], gradient, largest) < BAR, name


def test_another_epsilon_in_one_norm_is_seen(given):
    """The comparison can fail."""
    torch, _ = oracle()
    both = pair(given, given.configs[0])
    norms = [module for module in both.twin.modules() if type(module).__name__.endswith("LayerNorm")]
    if not norms:
        pytest.skip("a network without norms")
    for norm in norms[1], norms[-1]:
        name = "eps" if hasattr(norm, "eps") else "variance_epsilon"
        kept = getattr(norm, name)
        setattr(norm, name, 1e-12)
        with torch.no_grad():
            assert error(both.model.loss(both.batch)[0], both.total().item()) > 1e-9
        setattr(norm, name, kept)


@pytest.mark.parametrize("tied", [True, False])
def test_directories_go_both_ways(family, kind, heads, tied, tmp_path):
    """Theirs loads with exactly the heads that it holds, and computes the same; ours loads there without a remark."""
    torch, transformers = oracle()
    published = getattr(transformers, kind)
    known = published.config_class()
    named = {families.field(families.family(family), name): value for name, value in FIELDS.items()}
    fields = {name: value for name, value in named.items() if name in known.to_dict()}
    config = type(known)(**fields, tie_word_embeddings=tied, attn_implementation="eager")
    torch.manual_seed(0)
    theirs = published(config).double().eval()
    for mend in {one.mend for of, several in declared("PUBLISHED") if of == family for one in several}:
        mend(theirs, config)
    theirs.save_pretrained(tmp_path / "theirs")
    model = minibert.load(tmp_path / "theirs", family=family)
    optional = families.optional(model.module, model.config)
    assert (model.family, model.params.keys() & optional) == (family, heads & optional)
    fields = own(model.module, {"tie_word_embeddings": False})
    untied = dataclasses.replace(model.config, **fields)  # a head may be a tied table alone
    assert heads <= families.optional(model.module, untied)
    ids = np.array([[3, 7, 9, 4, 11]])
    target = "decoder_input_ids"
    given = {name: ids for name in ("input_ids", target) if name in inspect.signature(theirs.forward).parameters}
    if "pixel_values" in model.module.inputs(model.config):
        side = model.config.image_size
        given = {"pixel_values": np.random.default_rng(0).standard_normal((1, model.config.num_channels, side, side))}
    with torch.no_grad():
        tensors = {name: torch.from_numpy(value) for name, value in given.items()}
        out = dict(theirs.base_model(**tensors, output_hidden_states=True))
    if "decoder_hidden_states" in out:
        out["last_hidden_state"] = out["decoder_hidden_states"][-1]
    elif target in model.module.inputs(model.config):  # an encoder alone
        out["encoder_last_hidden_state"] = out.pop("last_hidden_state")
    ours = model.encode(**given)
    assert "pooler" not in optional or ("pooler" in heads) == ("pooler_output" in ours)
    compared = ours.keys() & out.keys() & {"last_hidden_state", "encoder_last_hidden_state", "pooler_output"}
    assert compared
    for name in compared:
        assert error(ours[name], out[name].numpy()) < BAR
    missing = set(objective.needs(model.module, model.config)) - model.params.keys()
    if missing:
        with pytest.raises(InputError, match="|".join(f"'{part}'" for part in missing)):
            model.loss(example(model))
    model.save(tmp_path / "ours")
    written = json.loads((tmp_path / "ours" / "config.json").read_text(encoding="utf-8"))
    same = model.module.architectures(model.config)  # classes that have the same tensors
    assert [set(same[name]) for name in written["architectures"]] == [set(same[kind])]
    assert (written["model_type"], written.get("minibert_family", family)) == (known.model_type, family)
    assert minibert.load(tmp_path / "ours").family == family
    again, report = published.from_pretrained(tmp_path / "ours", output_loading_info=True, dtype=torch.float64)
    passed = set(model.module.unused(model.config))
    passed |= {name.removeprefix(model.module.PREFIX) for name in passed}
    assert not set(report["missing_keys"]) - passed
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    state = theirs.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items() if name not in passed)


def replaced(model: minibert.Model, **fields: Any) -> minibert.Model:
    """The same weights under other fields."""
    return minibert.Model(model.family, dataclasses.replace(model.config, **fields), model.params)
