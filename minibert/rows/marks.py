"""Marks about mentions in a text, for fine-tuning (Zhang et al. 2019, arXiv 1905.07129, section 3.5): which relation do
two of them stand in, of which type is one? [CLS] is classified.

The signs are those of thunlp/ERNIE (`run_fewrel.py`, `run_typing.py`), which stand for the paper's [HD], [TL], [ENT].
"""

from minibert.config import require

HEAD, TAIL, TYPED = "#", "$", "。"
Span = tuple[int, int]  # (first, end) in characters


def related(text: str, head: Span, tail: Span) -> str:
    """The text with "# … #" about the head and "$ … $" about the tail, in whatever order they stand."""
    apart = head[1] <= tail[0] or tail[1] <= head[0]
    require(apart, f"head {head} and tail {tail} overlap")
    marks = {HEAD: head, TAIL: tail}
    for sign in sorted(marks, key=lambda sign: -marks[sign][0]):  # from the end, so that places stay
        text = _marked(text, marks[sign], sign)
    return text


def typed(text: str, mention: Span) -> str:
    """The text with "。 … 。" about the mention."""
    return _marked(text, mention, TYPED)


def _marked(text: str, span: Span, sign: str) -> str:
    first, end = span
    require(0 <= first < end <= len(text), f"mention {span}: expected places within {len(text)} characters")
    return f"{text[:first]}{sign} {text[first:end]} {sign}{text[end:]}"
