"""ELECTRA's published names."""

import re
from typing import Any

from minibert.families import bert, electra

Tree = dict[str, Any]

MODEL_TYPE = "electra"
VARIANTS = (
    "role", "generator_size", "sharing", "generator_weight", "discriminator_weight", "temperature", "disallow_correct",
    "objective", "duplicates", "mask_constant", "pad_row_gradient", "generator_act", "mlm_denominator_eps",
    "rtd_denominator_eps",
)  # fmt: skip
# a published discriminator's config.json may say it as a text
SAID = {**bert.SAID, "generator_size": lambda value, _: float(value) if _decimal(value) else value}


def _decimal(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[01]\.[0-9]{1,16}", value) is not None


def architectures(config: electra.Config) -> dict[str, tuple[str, ...]]:
    """Published classes and their heads; none for the joint model, which is stored as two directories (`towers`)."""
    return {
        "generator": {"ElectraForMaskedLM": ("mlm", "baseline")},  # transformers drops the baseline of (10), ours
        "discriminator": {"ElectraModel": (), "ElectraForPreTraining": ("rtd",)},
    }.get(config.role, {})


def inferred(names: set[str], architectures: list[str]) -> Tree:
    """The field that a published directory does not state: the heads in the file, else its architecture, decide."""
    heads = {"generator": "generator_", "discriminator": "discriminator_predictions."}
    if any(name.startswith("generator.") for name in names):
        return {"role": "joint"}
    for role, prefix in heads.items():
        if any(name.startswith(prefix) for name in names):
            return {"role": role}
    return {"role": "generator" if "ElectraForMaskedLM" in architectures else "discriminator"}


def names(config: electra.Config) -> list[tuple[str, str, str]]:
    """(path in the tree, published name, bijection) of every parameter; shared ones stand under "discriminator."."""
    if config.role == "joint":
        return [
            (f"{role}.{path}", f"{role}.{name}", bijection)
            for role in ("discriminator", "generator")
            for path, name, bijection in names(electra.towers(config)[role])
            if role == "discriminator" or path.split(".")[0] not in electra.SHARED[config.sharing]
        ]
    encoder = [
        (path, name.replace("bert.", electra.PREFIX, 1), bijection)
        for path, name, bijection in bert.names(config)
        if path.startswith(("embeddings.", "encoder."))
    ]
    dense = ("weight", "bias")
    modules = [("project", "electra.embeddings_project", dense)] if config.embedding_size != config.hidden_size else []
    if config.role == "discriminator":
        modules += [
            ("rtd.dense", "discriminator_predictions.dense", dense),
            ("rtd.out", "discriminator_predictions.dense_prediction", dense),
        ]
    else:
        modules += [
            ("mlm.dense", "generator_predictions.dense", dense),
            ("mlm.norm", "generator_predictions.LayerNorm", dense),
            ("mlm.decoder", "generator_lm_head", ("bias",) if config.tie_word_embeddings else dense),
        ]
        if config.objective == "adversarial":  # of our own: published generators have no such head
            modules.append(("baseline", "generator_baseline", dense))
    heads = [(f"{path}.{leaf}", f"{name}.{leaf}", "identity") for path, name, leaves in modules for leaf in leaves]
    return encoder + heads


def aliases(config: electra.Config) -> dict[str, str]:
    """Second name in published files -> the name whose tensor it repeats."""
    if config.role == "joint":
        both = electra.towers(config)
        own = {name for _, name, _ in names(config)}
        found = {f"generator.{name}": f"discriminator.{name}" for _, name, _ in names(both["generator"])}
        found = {alias: name for alias, name in found.items() if alias not in own}
        for alias, name in aliases(both["generator"]).items():
            found[f"generator.{alias}"] = found.get(f"generator.{name}", f"generator.{name}")
        return found
    table = {"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"}
    return table if config.role == "generator" and config.tie_word_embeddings else {}


def activations(config: electra.Config) -> list[tuple[str, str, str, str]]:
    """(published module, path in a dense loss cache, kind, place) as `bert.activations`; places with their network:
    "generator layer 1".
    """
    if config.role == "joint":
        return [(f"{role}.{name}", *row) for role, part in electra.towers(config).items()
                for name, *row in activations(part)]  # fmt: skip
    encoder = [
        (name.replace("bert.", electra.PREFIX, 1), path, kind, place)
        for name, path, kind, place in bert.activations(config)
        if place != "head"
    ]
    where = [name for name, *_ in encoder].index("electra.embeddings") + 1
    if config.embedding_size != config.hidden_size:
        encoder.insert(where, ("electra.embeddings_project", "encode.project", "", "embeddings"))
    if config.role == "discriminator":
        heads = [
            ("discriminator_predictions.dense", "replaced_token.head.dense", "", "head"),
            ("discriminator_predictions.dense_prediction", "replaced_token.head.out", "", "head"),
            ("discriminator_predictions", "replaced_token.head", "", "head"),
        ]
    else:
        heads = [
            ("generator_predictions.dense", "masked_lm.head.dense", "rows", "head"),
            ("generator_predictions.LayerNorm", "masked_lm.head.norm", "rows", "head"),
            ("generator_lm_head", "masked_lm.head", "rows", "head"),
        ]
    role = config.role
    return [(name, f"{role}.{path}", kind, f"{role} {place}") for name, path, kind, place in encoder + heads]
