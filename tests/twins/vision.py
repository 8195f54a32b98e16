"""transformers' classes for pictures: softmax in float64, and the names of files (version 5 has others in memory)."""

import numpy as np
import published

import minibert
from minibert.published import swin


def precise(module, config=None):
    """Attention in the precision of what comes in: the published softmax is in float32, whatever that is."""
    torch, _ = published.oracle()
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attention(module, query, key, value, mask, scaling, dropout=0.0, **_):
        scores = query @ key.transpose(2, 3) * scaling
        probs = torch.softmax(scores if mask is None else scores + mask, -1)
        return (probs @ value).transpose(1, 2).contiguous(), probs

    ALL_ATTENTION_FUNCTIONS.register("minibert_double", attention)
    for part in module.modules():
        if hasattr(part, "config"):
            part.config._attn_implementation = "minibert_double"
    return module


def named(module, places, table=()):
    """The module with its parts, in front, under other names: places: {their path within it: ours}."""
    torch, _ = published.oracle()
    first = torch.nn.Module()
    for theirs, ours in places.items():
        *parents, last = ours.split(".")
        holder = first
        for name in parents:
            if not hasattr(holder, name):
                holder.add_module(name, torch.nn.Module())
            holder = getattr(holder, name)
        part = module.get_submodule(theirs)
        if hasattr(holder, last):  # a container that is called, too
            for name, child in getattr(holder, last).named_children():
                part.add_module(name, child)
        setattr(holder, last, part)
    for theirs, ours in table:
        holder, _, last = ours.rpartition(".")
        setattr(first.get_submodule(holder), last, module.get_parameter(theirs))
    module._modules = {**first._modules, **{k: m for k, m in module._modules.items() if k not in first._modules}}


def dressed(module):
    """A whole class with the names of files in front of its own."""
    base = module.base_model
    if module.base_model_prefix == "vit":
        parts = published.families.family("vit").PARTS
        layers = base.layers
    else:
        parts = swin.PARTS
        layers = [block for stage in base.encoder.layers for block in stage.blocks]
    for layer in layers:
        places = {held: stored for _, stored, held in parts if held != stored}
        attention = {name: layer.get_submodule(name) for name in ("attention", "mlp")}
        named(layer, {**places, "mlp.activation_fn": "intermediate"},
              [swin.TABLE[::-1]] if module.base_model_prefix == "swin" else ())
        for name, part in attention.items():  # what is run, behind
            if name == "attention":
                part._modules = {**layer._modules.pop("attention")._modules, **part._modules}
            layer._modules[name] = part
    if module.base_model_prefix == "vit":
        holder = published.oracle()[0].nn.Module()
        holder.layer = base._modules.pop("layers")
        base._modules = {"embeddings": base.embeddings, "encoder": holder, **base._modules}
        base.__dict__["layers"] = holder.layer  # run from there, and found once
    return module


def twin(kind):
    """Published.twin of a class."""

    def of(model):
        torch, transformers = published.oracle()
        cls = getattr(transformers, kind)
        known = cls.config_class()
        ours = {name: getattr(model.config, name) for name in model.config.__dataclass_fields__ if hasattr(known, name)}
        made = dressed(precise(cls(cls.config_class(**ours, attn_implementation="eager")).double().eval()))
        state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
        _, unexpected = made.load_state_dict(state, strict=False)  # what is missing are second names
        assert not unexpected
        assert {name for name, _ in made.named_parameters()} == state.keys()
        return made

    return of


def terms(module, batch):
    """What hidden patches show; the number of whole ones, and 1e-5, would be added in float32."""
    torch, _ = published.oracle()
    out = module(torch.from_numpy(batch["pixel_values"]), torch.from_numpy(batch["bool_masked_pos"]).double())
    return {"masked_pixels": out.loss}


def classes(kind, fields, tmp_path, size=None):
    """Largest errors of logits, loss and gradients beside a class with a head, whose directory is read and written."""
    torch, transformers = published.oracle()
    cls, rng = getattr(transformers, kind), np.random.default_rng(4)
    torch.manual_seed(4)
    theirs = precise(cls(cls.config_class(**fields, num_labels=3, id2label={0: "a", 1: "b", 2: "c"})).double().eval())
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            value.normal_(float("norm" in name and name.endswith("weight")), 0.4)
    theirs.save_pretrained(tmp_path / "theirs")
    model = minibert.load(tmp_path / "theirs")
    assert (model.tasks, model.uses[0].settings.labels) == (("classify",), ("a", "b", "c"))
    side = size or fields["image_size"]
    pixels, labels = rng.standard_normal((4, fields["num_channels"], side, side)), np.array([2, 0, 1, 2])
    out = theirs(torch.from_numpy(pixels), torch.from_numpy(labels), interpolate_pos_encoding=size is not None)
    out.loss.backward()
    loss, cache = model.loss({"pixel_values": pixels, "labels": labels})
    assert published.error(loss, out.loss.item()) < 1e-6  # theirs is rounded to float32
    z = torch.nn.functional.cross_entropy(out.logits, torch.from_numpy(labels))
    assert published.error(loss, z.item()) < published.BAR
    logits = model.predict({"pixel_values": pixels})["logits"]
    assert published.error(logits, out.logits.detach().numpy()) < published.BAR
    theirs.zero_grad()
    out = theirs(torch.from_numpy(pixels), interpolate_pos_encoding=size is not None)
    torch.nn.functional.cross_entropy(out.logits, torch.from_numpy(labels)).backward()
    own = {name: p.grad.numpy() for name, p in theirs.named_parameters() if p.grad is not None}
    aliases = model.module.aliases(model.config)
    own = {aliases.get(name, name): value for name, value in own.items()}
    assert published.worst(model.state_dict(model.loss_backward(cache)), own) < published.BAR
    model.save(tmp_path / "ours")
    again, report = cls.from_pretrained(tmp_path / "ours", output_loading_info=True, dtype=torch.float64)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert again.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in again.state_dict().items())
    return model
