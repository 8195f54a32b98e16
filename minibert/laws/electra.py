"""What ELECTRA's networks cannot be asked."""

from typing import Any


def silent(config: Any) -> dict[str, str]:
    """Of both networks together the tied gradient; of a discriminator alone whatever is about predicted tokens."""
    if config.role == "joint":
        found = {"tied_gradient": "two networks look up, one of them what the other has drawn"}
        rewards = {"gradient_is_the_slope": "the generator's rewards are constants of its gradient, not of its loss"}
        return {**found, **(rewards if config.objective == "adversarial" else {})}
    if config.role == "discriminator":
        return dict.fromkeys(("ignored_labels", "tied_gradient", "uniform_head"), "no head predicts tokens")
    return {}
