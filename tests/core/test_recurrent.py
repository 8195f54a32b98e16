"""LSTMs and GRUs beside torch's, and what a text, its padding and its slices must not change."""

import numpy as np
import pytest
from draws import RNG, drawn, same, the_same_draws  # noqa: F401

from minibert import kernels, ops, recurrent, tree


def torchs(torch, ps, width, hidden):
    """torch.nn.LSTM with a stack's weights, in both directions."""
    theirs = torch.nn.LSTM(width, hidden, len(ps), batch_first=True, bidirectional=True, dtype=torch.float64)
    with torch.no_grad():
        for path, weight in tree.items(ps):
            layer, direction, name = path.split(".")
            suffix = "_reverse" if direction == "backward" else ""
            getattr(theirs, f"{name}_l{layer}{suffix}").copy_(torch.tensor(weight))
    return theirs


def test_a_stack_in_both_directions_is_torchs():
    """Two layers, rows of unequal length and states before them: outputs, last states, every gradient."""
    torch = pytest.importorskip("torch", reason="torch.nn.LSTM is the published implementation")
    lengths, x = [5, 2, 3], RNG.standard_normal((3, 5, 4))
    seen = np.arange(5) < np.array(lengths)[:, None]
    ps = [drawn(recurrent.shapes(width, 3, both=True)) for width in (4, 6)]
    states = [{name: RNG.standard_normal((2, 3, 3)) for name in ("forward", "backward")} for _ in ps]
    theirs, given = torchs(torch, ps, 4, 3), torch.tensor(x, requires_grad=True)
    before = [torch.tensor(np.concatenate([[s["forward"][k], s["backward"][k]] for s in states])) for k in (0, 1)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
    outputs, last = theirs(packed, tuple(before))
    outputs = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)[0]
    y, c = recurrent.lstm_stack(x, ps, seen=seen, states=states)
    same(y * seen[..., None], outputs.detach().numpy())
    found = [recurrent.last_state(own) for own in c["layers"]]
    for k in (0, 1):
        same(np.stack([own[name][k] for own in found for name in own]), last[k].detach().numpy())
    dy = RNG.standard_normal(y.shape) * seen[..., None]
    outputs.backward(torch.tensor(dy))
    dx, gs = recurrent.lstm_stack_backward(dy, c)
    same(dx, given.grad.numpy())
    got = torchs(torch, gs, 4, 3)  # the gradients, under torch's names
    for name, weight in theirs.named_parameters():
        same(getattr(got, name).detach().numpy(), weight.grad.numpy())


def test_states_and_cells_have_torchs_gradients():
    """One direction, with a cotangent at every output and at the last state, h and c."""
    torch = pytest.importorskip("torch", reason="torch.nn.LSTM is the published implementation")
    x, state, p = RNG.standard_normal((2, 4, 3)), RNG.standard_normal((2, 2, 5)), drawn(recurrent.shapes(3, 5))
    theirs = torch.nn.LSTM(3, 5, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name, weight in p.items():
            getattr(theirs, f"{name}_l0").copy_(torch.tensor(weight))
    given, before = (torch.tensor(a, requires_grad=True) for a in (x, state))
    outputs, last = theirs(given, (before[:1], before[1:]))
    y, c = ops.lstm(x, state, **p)
    same(y[0], outputs.detach().numpy())
    same(y[:, :, -1], torch.cat(last).detach().numpy())
    dy, dlast = RNG.standard_normal(y[0].shape), RNG.standard_normal(state.shape)
    torch.autograd.backward([outputs, *last], [torch.tensor(dy), *torch.tensor(dlast)[:, None]])
    whole = np.stack([dy, np.zeros_like(dy)])
    whole[:, :, -1] += dlast
    dx, dstate, g = ops.lstm_backward(whole, c)
    same(dx, given.grad.numpy())
    same(dstate, before.grad.numpy())
    for name, gradient in g.items():
        same(gradient, getattr(theirs, f"{name}_l0").grad.numpy())


def test_gated_units_in_both_directions_are_torchs():
    """Rows of unequal length and states before them: outputs, last states, every gradient."""
    torch = pytest.importorskip("torch", reason="torch.nn.GRU is the published implementation")
    lengths, x = [5, 2, 3], RNG.standard_normal((3, 5, 4))
    seen, p = np.arange(5) < np.array(lengths)[:, None], drawn(recurrent.shapes(4, 3, both=True, gates=3))
    state = {name: RNG.standard_normal((3, 3)) for name in p}
    theirs, given = torch.nn.GRU(4, 3, batch_first=True, bidirectional=True), torch.tensor(x, requires_grad=True)
    theirs = theirs.double()
    with torch.no_grad():
        for path, weight in tree.items(p):
            direction, name = path.split(".")
            getattr(theirs, f"{name}_l0{'_reverse' * (direction == 'backward')}").copy_(torch.tensor(weight))
    packed = torch.nn.utils.rnn.pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
    outputs, last = theirs(packed, torch.tensor(np.stack([*state.values()])))
    outputs = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)[0]
    y, c = recurrent.gru_layer(x, p, seen=seen, state=state)
    same(y * seen[..., None], outputs.detach().numpy())
    same(np.stack([*recurrent.last_state(c).values()]), last.detach().numpy())
    dy = RNG.standard_normal(y.shape) * seen[..., None]
    outputs.backward(torch.tensor(dy))
    dx, g = recurrent.gru_layer_backward(dy, c)
    same(dx, given.grad.numpy())
    for path, gradient in tree.items(g):
        direction, name = path.split(".")
        same(gradient, getattr(theirs, f"{name}_l0{'_reverse' * (direction == 'backward')}").grad.numpy())


@pytest.mark.parametrize(("op", "kind", "width"), [("gru", "GRU", 5), ("projected_lstm", "LSTM", 2)])
def test_states_and_their_gradients_are_torchs(op, kind, width):
    """Packed, with a cotangent at every output and at the last state; of projections of LSTMs, too."""
    torch = pytest.importorskip("torch", reason="torch.nn is the published implementation")
    more = {"proj_size": width} if op == "projected_lstm" else {}
    theirs = getattr(torch.nn, kind)(3, 5, batch_first=True, dtype=torch.float64, **more)
    p = {name.removesuffix("_l0"): a.detach().numpy() for name, a in theirs.named_parameters()}
    x, state = RNG.standard_normal((2, 4, 3)), RNG.standard_normal((2, 5 + width if more else 5))
    seen, given, before = np.array([[1] * 4, [1, 1, 0, 0]]), *(torch.tensor(a, requires_grad=True) for a in (x, state))
    packed = torch.nn.utils.rnn.pack_padded_sequence(given, [4, 2], batch_first=True)
    apart = (before[None, :, :width].contiguous(), before[None, :, width:].contiguous()) if more else before[None]
    outputs, last = theirs(packed, apart)
    outputs = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)[0]
    last = torch.cat(last, -1)[0] if more else last[0]
    y, c = getattr(ops, op)(x, state, **p, mask=seen)
    same(y[..., :width] * seen[..., None], outputs.detach().numpy())
    same(y[:, -1], last.detach().numpy())
    dy, dlast = np.zeros_like(y), RNG.standard_normal(state.shape)
    dy[..., :width] = RNG.standard_normal(outputs.shape) * seen[..., None]
    torch.autograd.backward([outputs, last], [torch.tensor(dy[..., :width]), torch.tensor(dlast)])
    dy[:, -1] += dlast
    dx, dstate, g = getattr(ops, f"{op}_backward")(dy, c)
    same(dx, given.grad.numpy())
    same(dstate, before.grad.numpy())
    for name, gradient in g.items():
        same(gradient, getattr(theirs, f"{name}_l0").grad.numpy())


def test_a_clip_holds_cells_and_outputs_and_stops_the_gradient():
    """Within both clips they change no bit; beyond them states stand at exactly the clip."""
    x, p = RNG.standard_normal((2, 6, 3)), {"weight_ih": 9 * RNG.standard_normal((8, 3)), "bias_ih": np.full(8, 9.0)}
    p |= {"weight_hh": RNG.standard_normal((8, 3)), "weight_hr": 9 * RNG.standard_normal((3, 2))}
    free, _ = ops.projected_lstm(x, None, **p)
    assert np.array_equal(ops.projected_lstm(x, None, **p, cell_clip=1e3, clip=1e3)[0], free)
    y, c = ops.projected_lstm(x, None, **p, cell_clip=0.5, clip=3.0)
    assert abs(y[..., 3:]).max() == 0.5
    assert abs(y[..., :3]).max() == 3.0
    dy = np.zeros_like(y)
    dy[:, -1] = abs(y[:, -1]) == np.array([3.0] * 3 + [0.5] * 2)
    assert dy.any()
    assert not ops.projected_lstm_backward(dy, c)[0].any()


def test_padding_behind_a_text_changes_no_bit():
    p = drawn(recurrent.shapes(3, 2, both=True))
    x, noise = RNG.standard_normal((2, 4, 3)), 1e3 * RNG.standard_normal((2, 2, 3))
    seen = np.array([[1] * 4, [1, 1, 0, 0]])
    longer = np.concatenate([x, noise], 1), np.pad(seen, ((0, 0), (0, 2)))
    (y, c), (z, more) = recurrent.lstm_layer(x, p, seen=seen), recurrent.lstm_layer(longer[0], p, seen=longer[1])
    assert np.array_equal(z[:, :4] * seen[..., None], y * seen[..., None])
    for name, state in recurrent.last_state(c).items():
        assert np.array_equal(recurrent.last_state(more)[name], state)
    assert np.array_equal(z[1, 2:, :2], np.tile(z[1, 1, :2], (4, 1)))  # the last state goes on
    dy = RNG.standard_normal(z.shape)
    dy[~longer[1].astype(bool)] = 0
    dx = recurrent.lstm_layer_backward(dy, more)[0]
    assert not dx[:, 4:].any()
    assert not dx[1, 2:].any()
    same(dx[:, :4], recurrent.lstm_layer_backward(dy[:, :4], c)[0])


def test_a_text_read_in_two_slices_is_the_text():
    """With the gradient of the state handed back: that of the whole."""
    p, x = drawn(recurrent.shapes(3, 2)), RNG.standard_normal((2, 5, 3))
    (whole, c), (first, one) = ops.lstm(x, None, **p), ops.lstm(x[:, :2], None, **p)
    second, two = ops.lstm(x[:, 2:], first[:, :, -1], **p)
    same(np.concatenate([first, second], 2), whole, 1e-15)
    dy = RNG.standard_normal(whole.shape)
    dx, g = ops.lstm_backward(dy, c)
    behind, dstate, g2 = ops.lstm_backward(dy[:, :, 2:], two)
    at_first = dy[:, :, :2].copy()
    at_first[:, :, -1] += dstate
    before, g1 = ops.lstm_backward(at_first, one)
    same(np.concatenate([before, behind], 1), dx, 1e-14)
    for name in g:
        same(g1[name] + g2[name], g[name], 1e-14)
    own = recurrent.lstm_layer(x[:, :2], p)[1]
    read_on = recurrent.lstm_layer(x[:, 2:], p, state=recurrent.last_state(own))[0]
    assert np.array_equal(read_on, second[0])


@pytest.mark.parametrize("biases", [(), ("bias_hh",)])
def test_a_bias_that_is_not_stored_is_none(biases):
    p, x = drawn(recurrent.shapes(3, 2)), RNG.standard_normal((2, 4, 3))
    stored = {name: a for name, a in p.items() if name in ("weight_ih", "weight_hh", *biases)}
    zero = {name: a if name in stored else np.zeros_like(a) for name, a in p.items()}
    (y, c), (due, more) = (ops.lstm(x, None, **weights) for weights in (stored, zero))
    assert np.array_equal(y, due)
    (dx, g), (wanted, all_of_them) = (ops.lstm_backward(y, own) for own in (c, more))
    assert np.array_equal(dx, wanted)
    assert g.keys() == stored.keys()
    assert all(np.array_equal(g[name], all_of_them[name]) for name in g)


def test_one_product_for_all_inputs_and_one_a_token(monkeypatch):
    """As many as there are tokens, however many rows: counted."""
    made, product = [], kernels.product
    monkeypatch.setattr(kernels, "product", lambda a, b: made.append((a.shape, b.shape)) or product(a, b))
    p, x = drawn(recurrent.shapes(3, 2)), RNG.standard_normal((7, 4, 3))
    y, c = ops.lstm(x, None, **p)
    assert made == [((28, 3), (3, 8)), *[((7, 2), (2, 8))] * 4]
    made.clear()
    ops.lstm_backward(y, c)
    assert made == [*[((7, 8), (8, 2))] * 4, ((8, 28), (28, 3)), ((28, 8), (8, 3)), ((8, 28), (28, 2))]


def test_a_truncated_layer_goes_on_and_its_gradient_does_not():
    """The outputs of the whole; each part's gradient as if it stood alone behind its state."""
    rng = np.random.default_rng(3)
    p = {name: rng.standard_normal(shape) for name, shape in recurrent.shapes(3, 2).items()}
    x, dy, seen = rng.standard_normal((2, 7, 3)), rng.standard_normal((2, 7, 2)), np.array([[1] * 7, [1] * 5 + [0] * 2])
    whole, c = recurrent.lstm_layer(x, p, seen=seen)
    y, own = recurrent.truncated_layer(x, p, every=3, seen=seen)
    assert np.allclose(y, whole, rtol=0, atol=1e-15)
    assert np.array_equal(recurrent.last_state(own), recurrent.last_state(c))
    dx, g = recurrent.truncated_layer_backward(dy, own)
    alone, state, total = [], None, 0
    for part in (slice(0, 3), slice(3, 6), slice(6, 7)):
        _, c = recurrent.lstm_layer(x[:, part], p, seen=seen[:, part], state=state)
        state = recurrent.last_state(c)
        found = recurrent.lstm_layer_backward(dy[:, part], c)
        alone.append(found[0])
        total = total + found[1]["weight_hh"]
    assert np.allclose(dx, np.concatenate(alone, 1), rtol=0, atol=1e-15)
    assert np.allclose(g["weight_hh"], total, rtol=0, atol=1e-14)
    assert abs(dx - recurrent.lstm_layer_backward(dy, recurrent.lstm_layer(x, p, seen=seen)[1])[0]).max() > 1e-3
