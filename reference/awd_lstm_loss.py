"""AWD-LSTM's loss: next token, alpha times the mean square of the states, beta times that of their changes; undropped.

p, config (dict) and batch (dict of lists, states (L - 1)(b, 2, n), last_state (b, 2, e)) -> the loss by its terms.
Merity et al. 2017 (1708.02182), section 4.7; SPEC AWD-LOSS.
"""

from .activation_penalty import activation_penalty
from .lstm_encode import lstm_encode
from .lstm_loss import lstm_loss


def awd_lstm_loss_terms(p, config, batch):
    given = dict(batch)
    if "last_state" in batch:
        given["states"] = [*batch.get("states", []), batch["last_state"]]
    plain = {"rnn_type": "LSTM"}
    h = lstm_encode(p, plain, given)
    terms = {"next_token": lstm_loss(p, plain, given)}
    for order, name in enumerate(("activation", "temporal")):
        terms[name] = activation_penalty(h, batch["labels"], order)
    return terms


def awd_lstm_loss(p, config, batch):
    terms = awd_lstm_loss_terms(p, config, batch)
    by = {"next_token": 1, "activation": config["alpha"], "temporal": config["beta"]}
    return sum(type(value)(by[name]) * value for name, value in terms.items())
