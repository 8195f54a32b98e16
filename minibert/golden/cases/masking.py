"""The laws of corruption rules and of sentence order."""

from functools import partial

from minibert.golden import shares
from minibert.golden.kinds.masking import berts
from minibert.golden.recipe import CaseRecipe


def _law(title: str, family: str, text: object) -> CaseRecipe:
    return CaseRecipe(title, family, kind="masking", steps=(), text=text)


CASES = {
    "bert": _law("the law of BERT's masking, with an example", "bert", berts),
    **{name: _law(f"a law: {law.title}", law.family, partial(shares.text, name)) for name, law in shares.LAWS.items()},
    shares.ORDER: _law(f"a law: {shares.ORDER_TITLE}", "albert", partial(shares.text, shares.ORDER)),
}
