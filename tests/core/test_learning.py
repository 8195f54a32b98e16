"""The exercises: right answers are right, wrong ones get their names, and what the catalogue knows does not pass."""

import inspect
import re
import signal

import numpy as np
import pytest

from minibert import cli, learning, ops
from minibert.errors import InputError
from minibert.golden import case as files
from minibert.golden import clauses
from minibert.mistakes import CATALOGUE, matrix
from minibert.pairs import observing

PLACED = [name for name in learning.names() if hasattr(learning.exercise(name), "CASE")]
OPS = {"layer_norm": "layer_norm", "attention": "attention-masked", "split_heads": "split_heads",
       "cross_entropy": "cross_entropy"}  # fmt: skip


def right(name):
    return getattr(learning.exercise(name), name)


@pytest.mark.parametrize("name", learning.names())
def test_a_right_answer_is_right_and_a_wrong_one_gets_its_name(name):
    module = learning.exercise(name)
    verdict = learning.judged(name, right(name))
    assert verdict.state == "right", verdict
    assert (verdict.what.endswith("tensors as they are due")) == (name in PLACED)
    assert len(module.WRONG) >= 7
    for what, wrong in module.WRONG.items():
        found = learning.judged(name, wrong)
        assert (found.state, found.what, found.named) == ("wrong", what, True)
        assert len(found.shown) == 3


@pytest.mark.parametrize("name", learning.names())
def test_an_exercise_says_what_it_rests_on(name):
    module = learning.exercise(name)
    assert module.CLAUSE in clauses.clauses()
    said = inspect.getdoc(module)
    for argument in inspect.signature(right(name)).parameters:
        assert argument in said, argument
    for what in module.WRONG:
        id = what.partition(":")[0]
        assert id in CATALOGUE or not (len(id) == 3 and id[1:].isdigit()), what


@pytest.mark.parametrize("name", PLACED)
def test_what_stands_in_the_model_is_the_answer(name):
    """The first of what is wrong is seen there as well."""
    module = learning.exercise(name)
    assert learning._in_model(name, module, next(iter(module.WRONG.values()))).state == "wrong"


@pytest.mark.parametrize("name", OPS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_mistake_of_the_catalogue_passes(name):
    """Each that the op's golden case catches, made in the op itself."""
    case = files.read(f"ops/{OPS[name]}")
    tried, made = matrix.Runs(case), 0
    for mistake in CATALOGUE.values():
        for mutant in mistake.mutants(tried.subject, tried.sites) if mistake.mutants else ():
            swaps = tried.swaps(mutant)
            if swaps is None or not str(tried.first(mutant)).startswith("forward/"):
                continue
            made += 1

            def answer(swaps=swaps, **given):
                with observing(swaps()):
                    return getattr(ops, name)(**given)[0]

            assert learning.judged(name, answer, replay=False).state == "wrong", (mistake.id, mutant)
    assert made >= 1


def test_the_sheet_is_all_to_do_and_is_filled_in(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["learn", "start"]) == 0
    assert capsys.readouterr().out == "exercises.py: 20 functions to write; then: minibert learn check exercises.py\n"
    assert cli.main(["learn", "check"]) == 0
    assert capsys.readouterr().out == "0 right, 0 wrong, 20 to do\n"
    sheet = (tmp_path / "exercises.py").read_text(encoding="utf-8")
    begun = "raise NotImplementedError\n\n\ndef softmax_backward"
    whole = sheet.replace(begun, "e = np.exp(x)\n    return e / e.sum(-1)\n\n\ndef softmax_backward")
    (tmp_path / "exercises.py").write_text(whole, encoding="utf-8")
    assert cli.main(["learn", "check"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("softmax             wrong: no known mistake: ")
    assert [line.split()[0] for line in out[1:4]] == ["x=[[", "got", "due"]
    assert out[-1] == "0 right, 1 wrong, 19 to do"
    assert cli.main(["learn", "start"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert cli.main(["learn"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 22


@pytest.mark.parametrize(("body", "what"), [
    ("x[...] = 0\n    return x", "it writes to x, which is the caller's"),
    ("return None", "it returns nothing"),
    ("raise SystemExit(3)", "SystemExit: 3, line 2"),
    ("return x[..., :2]", "its shape is (2,), due is (3,)"),
    ("return 'shares'", "str where numbers are due"),
    ("return 1 / [0][0]", "ZeroDivisionError: division by zero, line 2"),
    ("return softmax_of(x)", "NameError: name 'softmax_of' is not defined, line 2"),
    ("return np.full(x, 1)", "TypeError: 'numpy.float64' object cannot be interpreted as an integer, line 2"),
    ("return np.round(x / x.sum(), 3)", "no known mistake: 0 at [0], where 0.0420101 is due"),
])  # fmt: skip
def test_what_has_no_name_is_said_as_it_is_seen(tmp_path, body, what):
    (tmp_path / "a.py").write_text(f"def softmax(x):\n    {body}\nimport numpy as np\n", encoding="utf-8")
    answer = learning.answers(tmp_path / "a.py")["softmax"]
    verdict = learning.judged("softmax", answer)
    assert (verdict.state, verdict.what, verdict.named) == ("wrong", what, False)


@pytest.mark.parametrize(("text", "line"), [
    ("def softmax(x:\n", "a.py, line 1: '(' was never closed"),
    ("import numpy\nraise RuntimeError('no')\n", "a.py, line 2: RuntimeError: no"),
    ("x = 1\n", "a.py has none of the exercises' functions: minibert learn start a.py writes them"),
    ("\udcff", "a.py is not UTF-8 (byte 0)"),
])  # fmt: skip
def test_a_file_that_is_no_answer_is_one_line(tmp_path, text, line, capsys):
    (tmp_path / "a.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        learning.answers(tmp_path / "a.py")
    assert line in str(caught.value)
    assert cli.main(["learn", "check", str(tmp_path / "nothing.py")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_results_are_alike_up_to_rounding_alone():
    assert learning._alike(np.float64(1), 1)
    assert learning._alike((np.ones(2), 3), [np.ones(2) + 1e-12, 3])
    assert not learning._alike(np.ones(2), np.ones((1, 2)))
    assert not learning._alike(1.00001, 1)
    assert not learning._alike([1], [1, 2])
    assert learning._alike(np.nan, np.nan)
    assert not learning._alike(np.nan, 0)
    assert not learning._alike("a", ["a"])


def test_a_mistake_gets_its_name_also_where_some_calls_fail():
    def answer(dy, x, weight):
        rows, read = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        return dy @ weight.T, rows.T @ read, rows.sum(0)

    verdict = learning.judged("linear_backward", answer)
    assert verdict.named
    assert verdict.what.startswith("dx multiplies by Wᵀ: the shapes hide it")


@pytest.mark.parametrize(("pieces", "what"), [
    (["un"], "3 results are due, not 1"),
    ("[UNK]", "str where 3 results are due"),
])  # fmt: skip
def test_the_number_of_results_is_said(pieces, what):
    assert learning.judged("wordpiece", lambda word, vocabulary: pieces).what == what


def test_an_answer_that_does_not_end_is_ended(monkeypatch):
    """With the line where it went round, in a process in the background, too, which hears no Ctrl-C; and that is not
    taken for it.
    """
    monkeypatch.setattr(learning, "LONG", 0.2)

    def softmax(x):
        while True:
            x = x + 1

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        verdict = learning.judged("softmax", softmax)
    finally:
        signal.signal(signal.SIGINT, before)
    assert verdict.state == "wrong"
    assert re.match(r"TimeoutError: no answer in 0.2 s: a loop does not end, line \d+", verdict.what), verdict.what

    def stopped(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learning.judged("softmax", stopped)
