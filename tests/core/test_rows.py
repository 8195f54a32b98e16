"""Rows of tasks' data: what each format gives, what is made of people's columns, and the line for each broken file."""

import io
import json

import pytest

from minibert import rows
from minibert.errors import LONGEST, InputError
from minibert.rows import glue


@pytest.fixture
def written(tmp_path):
    """A file of these bytes, or of this text."""

    def write(name, data):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


def squad(*questions, context="The cat sat on the mat."):
    """SQuAD's JSON of one paragraph."""
    return json.dumps({"version": "v2.0", "data": [{"title": "Cats", "paragraphs": [
        {"context": context, "qas": list(questions)}]}]})  # fmt: skip


def lines(*objects):
    return "".join(json.dumps(one) + "\n" for one in objects)


# ---- Formats ---------------------------------------------------------------------------------------------------------
def test_tables_as_people_have_them(written):
    due = [{"id": "1", "text": 'a "quoted", one', "label": "good"}, {"id": "2", "text": "naïve", "label": "bad"}]
    table = 'id,text,label\n1,"a ""quoted"", one",good\n\n2,naïve,bad\n'
    for data in (table, "\ufeff" + table, table.replace("\n", "\r\n"), table.rstrip("\n")):
        assert list(rows.read(written("x.csv", data), "classify")) == due
    tabs = 'id\ttext\tlabel\n1\t"a ""quoted"", one"\tgood\n2\tnaïve\tbad\n'
    assert list(rows.read(written("x.tsv", tabs), "classify")) == due
    given = lines(*due)
    assert list(rows.read(written("x.jsonl", given), "classify")) == due


def test_quotes_in_tsv_are_characters_unless_they_hold_the_whole_field(written):
    cells = ['"Hi" he said', 'a 5" nail', '"', '"a" or "b"', '"whole"', '"two ""in"" one"']
    found = rows.read(written("x.tsv", "text\n" + "\n".join(cells)), "classify", labelled=False)
    assert [row["text"] for row in found] == ['"Hi" he said', 'a 5" nail', '"', '"a" or "b"', "whole", 'two "in" one']


def test_a_field_of_csv_may_have_several_lines(written):
    path = written("x.csv", 'text,label\n"one\r\ntwo",a\nthree,b\n')
    found = list(rows.placed(path, "classify"))
    assert [row["text"] for _, row in found] == ["one\ntwo", "three"]
    assert found[1][0] == f"{path}, line 4"


def test_other_names_of_columns(written):
    path = written("x.tsv", "sentence\ttext\tstars\tid\na\tother\t4\t7\n")
    found = list(rows.read(path, "regress", {"text": "sentence", "label": "stars"}))
    assert found == [{"text": "a", "label": 4.0, "id": "7"}]
    path = written("x.csv", "context,e0,e1,label\nc,a,b,1\n")  # as SWAG has them
    assert list(rows.read(path, "choose", {"choices": "e0,e1"})) == [
        {"context": "c", "choices": ["a", "b"], "label": 1}
    ]


def test_conll(written):
    data = ("# newdoc id = 3 -\n-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\n"
            "# sent_id = 2\n# NN O\n. . O\n-DOCSTART- -X- O\nEnd VB O")  # fmt: skip
    path = written("x.conll", data)
    due = [{"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}, {"tokens": ["#", "."], "tags": ["O", "O"]},
           {"tokens": ["End"], "tags": ["O"]}]  # fmt: skip
    assert list(rows.read(path, "tag")) == due
    assert [where[-6:] for where, _ in rows.placed(path, "tag")] == ["line 4", "line 9", "ine 12"]
    assert next(rows.read(path, "tag", {"tags": "2"}))["tags"] == ["NNP", "VBZ"]
    tabs = "1\tNew York\tPROPN\t_\n2\tsleeps\tVERB\t_\n"
    assert next(rows.read(written("x.conllu", tabs), "tag", {"tokens": "2", "tags": "3"})) == {
        "tokens": ["New York", "sleeps"], "tags": ["PROPN", "VERB"]}  # fmt: skip
    assert list(rows.read(written("x.txt", "one\ntwo\n"), "tag", labelled=False)) == [{"tokens": ["one", "two"]}]


def test_squad(written):
    asked = {"id": "q1", "question": "Who?", "answers": [{"text": "The cat", "answer_start": 0}]}
    none = {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True,
            "plausible_answers": [{"text": "mat", "answer_start": 19}]}  # fmt: skip
    context = "The cat sat on the mat."
    found = list(rows.read(written("x.json", squad(asked, none)), "answer"))
    assert found == [
        {"id": "q1", "title": "Cats", "question": "Who?", "context": context, "answers": asked["answers"]},
        {"id": "q2", "title": "Cats", "question": "Why?", "context": context, "answers": []},
    ]
    given = [{"question": "Who?", "context": context, "answers": {"text": said, "answer_start": starts}}
             for said, starts in ((["cat"], [4]), ([], []))]  # fmt: skip
    assert [row["answers"] for row in rows.read(written("x.jsonl", lines(*given)), "answer")] == [
        [{"text": "cat", "answer_start": 4}], []]  # fmt: skip


@pytest.mark.parametrize(("said", "start", "text", "at"), [
    ("cat sat ", 4, "cat sat", 4), (" cat", 3, "cat", 4), ("cat", 3, "cat", 4), ("sat on", 8, "sat\n on", 8),
])  # fmt: skip
def test_an_answer_that_differs_in_white_space_is_what_stands_there(written, said, start, text, at):
    row = {"question": "?", "context": "The cat sat\n on it", "answers": [{"text": said, "answer_start": start}]}
    found = next(rows.read(written("x.jsonl", lines(row)), "answer"))
    assert found["answers"] == [{"text": text, "answer_start": at}]


def test_every_task_from_json_and_from_a_table(written):
    examples = {
        "classify": {"text": "a", "pair": "b", "label": "x"}, "regress": {"text": "a", "label": -1.5},
        "similar": {"text": "a", "pair": "b", "label": 0.5}, "tag": {"tokens": ["a", "b"], "tags": ["O", "B-X"]},
        "answer": {"question": "q", "context": "a b", "answers": [{"text": "b", "answer_start": 2}]},
        "choose": {"context": "c", "choices": ["a", "b b"], "label": 1},
        "relate": {"text": "a b", "head": [0, 1], "tail": [2, 3], "label": "r"},
        "summarize": {"source": "a", "target": "b"}, "translate": {"source": "a", "target": "b"},
        "recommend": {"items": ["3", "1"]},
        "classify picture": {"picture": "/a", "number": 1, "label": "x"},
        "regress picture": {"picture": "/a", "label": 1.0},
        "caption": {"text": "a", "caption": "b c"}, "caption picture": {"picture": "/a", "caption": "b c"},
        "caption sound": {"sound": "/a", "caption": "b c"}, "classify sound": {"sound": "/a", "label": "x"},
        "regress sound": {"sound": "/a", "label": 1.0},
    }  # fmt: skip
    assert examples.keys() == rows.tasks.TASKS.keys()
    for task, row in examples.items():
        assert list(rows.read(written("x.jsonl", lines(row)), task)) == [row]
        cells = [value if isinstance(value, str) else json.dumps(value) for value in row.values()]
        assert list(rows.read(written("x.tsv", "\t".join(row) + "\n" + "\t".join(cells) + "\n"), task)) == [row]
        needed = {name: row[name] for name in row if rows.tasks.TASKS[task][name].needed != "labelled"}
        assert list(rows.read(written("x.jsonl", lines(needed)), task, labelled=False)) == [needed]


def test_classes_become_strings(written):
    given = [{"text": "a", "label": label} for label in (1, True, " x ", "1.0")]
    assert [row["label"] for row in rows.read(written("x.jsonl", lines(*given)), "classify")] == [
        "1", "true", "x", "1.0"]  # fmt: skip
    assert next(rows.read(written("x.jsonl", lines({"items": [3, "b"]})), "recommend")) == {"items": ["3", "b"]}
    assert next(rows.read(written("x.tsv", "tokens\ttags\na b\tO X\n"), "tag"))["tags"] == ["O", "X"]


# ---- GLUE ------------------------------------------------------------------------------------------------------------
PUBLISHED = {
    "glue-cola": 'gj04\t1\t\tOur "friends won\'t buy it.\ngj04\t0\t*\tThem is.\n',
    "glue-sst-2": "sentence\tlabel\nhide new secretions \t0\n",
    "glue-mrpc": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
                 '1\t702876\t702977\tHe said " yes .\tYes , he said .\n',
    "glue-sts-b": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
                  "0\tmain-captions\tMSRvid\t2012test\t0001\tnone\tnone\tA plane.\tAn air plane.\t5.000\n",
    "glue-qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133273\t2\t3\tHow?\tWhy?\t0\nbroken\tline\n"
                "3\t4\t5\t\tWhy?\t0\n",
    "glue-mnli": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
                 "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
                 "0\t1\t1n\ttravel\t( a )\t( b )\t(A a)\t(B b)\tCream.\tProduct.\tneutral\tneutral\n",
    "glue-qnli": "index\tquestion\tsentence\tlabel\n0\tWhen?\tIn 1900.\tentailment\n",
    "glue-rte": "index\tsentence1\tsentence2\tlabel\n0\tNo weapons.\tWeapons.\tnot_entailment\n",
    "glue-wnli": "index\tsentence1\tsentence2\tlabel\n0\tI stuck a pin.\tThe pin stuck.\t1\n",
}  # fmt: skip
READ = {
    "glue-cola": [{"source": "gj04", "mark": "", "text": 'Our "friends won\'t buy it.', "label": "1"},
                  {"source": "gj04", "mark": "*", "text": "Them is.", "label": "0"}],
    "glue-mrpc": [{"#1 ID": "702876", "#2 ID": "702977", "text": 'He said " yes .', "pair": "Yes , he said .",
                   "label": "1"}],
    "glue-qqp": [{"id": "133273", "qid1": "2", "qid2": "3", "text": "How?", "pair": "Why?", "label": "0"}],
}  # fmt: skip
TEXTS = {
    "glue-sst-2": ("hide new secretions ", None, "0"), "glue-sts-b": ("A plane.", "An air plane.", 5.0),
    "glue-mnli": ("Cream.", "Product.", "neutral"), "glue-qnli": ("When?", "In 1900.", "entailment"),
    "glue-rte": ("No weapons.", "Weapons.", "not_entailment"), "glue-wnli": ("I stuck a pin.", "The pin stuck.", "1"),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_glue_as_published(written, name):
    found = list(rows.read(written("train.tsv", PUBLISHED[name]), glue.DATA[name].task, form=name))
    if name in READ:
        assert found == READ[name]
    else:
        assert [(row["text"], row.get("pair"), row["label"]) for row in found] == [TEXTS[name]]


def test_glue_is_nine_tasks_whose_measures_are_there():
    from minibert import metrics

    assert glue.DATA.keys() == PUBLISHED.keys()
    assert all(callable(getattr(metrics, name)) for data in glue.DATA.values() for name in data.measures)


def test_glue_without_labels(written):
    path = written("test.tsv", "index\tsentence\n0\tBill whistled past the house.\n")
    found = list(rows.read(path, "classify", form="glue-cola", labelled=False))
    assert found == [{"index": "0", "text": "Bill whistled past the house."}]


# ---- Broken files ----------------------------------------------------------------------------------------------------
ANSWER = {"question": "?", "context": "The cat sat", "answers": [{"text": "cat", "answer_start": 4}]}


def answered(**changes):
    return lines(ANSWER | {"answers": [ANSWER["answers"][0] | changes]})


TABLE = "text\tlabel\n"
BROKEN = {  # what is wrong: (file, its content, task, what the line says)
    "nothing": ("x.tsv", "", "classify", "is empty: expected a header"),
    "a header alone": ("x.tsv", TABLE, "classify", "has no rows"),
    "no column": ("x.tsv", "text\tlable\na\tb\n", "classify", "line 1: the header has no column 'label'.*did you mean"),
    "commas in .tsv": ("x.tsv", "text,label\na,b\n", "classify", "line 1: the header.*tabs separate"),
    "a column twice": ("x.csv", "text,text,label\na,b,c\n", "classify", "line 1: two columns are called 'text'"),
    "too many cells": ("x.tsv", TABLE + "a\tb\na\tb\tc\n", "classify", "line 3 has 3 columns, and the header 2"),
    "too few cells": ("x.csv", "text,label\na\n", "classify", "line 2 has 1 columns, and the header 2"),
    "an open quote": ("x.csv", 'text,label\na,b\n"c,d\ne,f\n', "classify", "line 3: a row.*quote is not closed"),
    "behind a quote": ("x.csv", 'text,label\n"a" x,b\n', "classify", "line 2: a row.*double the quotes"),
    "old line ends": ("x.csv", "text,label\ra,b\r", "classify", "carriage return inside"),
    "old line ends in tsv": ("x.tsv", "text\tlabel\ra\tb\r", "classify", "line 1 has a carriage return inside"),
    "no UTF-8": ("x.tsv", TABLE.encode() + b"caf\xe9\tb\n", "classify", "is not UTF-8: byte 14, in line 2"),
    "UTF-16": ("x.csv", "text,label\na,b\n".encode("utf-16"), "classify", "is not UTF-8: byte 0, in line 1"),
    "an empty text": ("x.tsv", TABLE + " \tb\n", "classify", "line 2, column 'text': ' ': expected a text that is not"),
    "an empty label": ("x.tsv", TABLE + "a\t\n", "classify", "line 2, column 'label': '': expected a text that is not"),
    "no number": ("x.tsv", TABLE + "a\t1\nb\t3,5\n", "regress", "line 3, column 'label': '3,5': expected a number"),
    "NaN": ("x.tsv", TABLE + "a\tnan\n", "regress", "line 2, column 'label': 'nan': expected a number"),
    "no JSON": ("x.jsonl", '{"text": "a", "label": "b"}\n{"text": "a"\n', "classify", "line 2 is not usable JSON"),
    "a list of rows": ("x.json", '[{"text": "a", "label": "b"}]\n', "classify", "line 1: .*one JSON object a line"),
    "a key twice": ("x.jsonl", '{"text": "a", "text": "b"}\n', "classify", "line 1 .*'text' stands twice"),
    "null": ("x.jsonl", '{"text": "a", "label": null}\n', "classify", "line 1, column 'label': there is none"),
    "a missing key": ("x.jsonl", '{"text": "a"}\n', "classify", "line 1, column 'label': there is none"),
    "another type": ("x.jsonl", '{"text": 3, "label": "a"}\n', "classify", "column 'text': 3: expected a text"),
    "lists in a list": ("x.jsonl", '{"text": "a", "label": ["b", ["c"]]}\n', "classify",
                        "'label': class 1 of 2: .*: expected a class"),
    "a lone surrogate": ("x.jsonl", '{"text": "\\ud800", "label": "a"}\n', "classify", "column 'text': .*surrogate"),
    "deep nesting": ("x.jsonl", "[" * 100_000 + "\n", "classify", "line 1 is not usable JSON: nested"),
    "tags and tokens": ("x.jsonl", lines({"tokens": ["a", "b"], "tags": ["O"]}), "tag", "column 'tags': 1 tags of 2"),
    "no list of tokens": ("x.jsonl", lines({"tokens": {"a": 1}, "tags": []}), "tag", "'tokens': .*expected a list"),
    "a list in a cell": ("x.tsv", 'tokens\ttags\n["a"\tO\n', "tag", "line 2, column 'tokens': .*not usable JSON"),
    "columns of conll": ("x.conll", "a X O\nb O\n", "tag", "line 2 has 2 columns, and the first token's line 3"),
    "conll without tags": ("x.conll", "a\nb\n", "tag", "line 1 has 1 column, expected at least 2"),
    "no blank lines": ("x.conll", "a O\n" * 10_001, "tag", "line 10001: .*began in line 1 .*blank line"),
    "one off": ("x.jsonl", answered(answer_start=5), "answer",
                "'answers': at answer_start 5 the context has 'at ', not 'cat': it stands at 4"),
    "off from the start": ("x.jsonl", answered(text="The", answer_start=2), "answer", "2 .* has 'e c', .*stands at 0"),
    "the nearest": ("x.jsonl", answered(text="at", answer_start=8), "answer", "has 'sa', .*stands at 9"),
    "at the end": ("x.jsonl", answered(answer_start=11), "answer", "'answers': at answer_start 11 .*stands at 4"),
    "no such answer": ("x.jsonl", answered(text="dog"), "answer", "column 'answers': .*it stands nowhere"),
    "words run together": ("x.jsonl", answered(text="ca t"), "answer", "column 'answers': .*it stands nowhere"),
    "before the start": ("x.jsonl", answered(answer_start=-1), "answer", "answer 0 of 1: -1: expected a whole number"),
    "far behind": ("x.jsonl", answered(answer_start=10**30), "answer", "answer 0 of 1: 1000.*expected a whole number"),
    "an answer's parts": ("x.jsonl", lines(ANSWER | {"answers": ["cat"]}), "answer", "answer 0 of 1: 'cat': expected"),
    "no SQuAD": ("x.json", '{"rows": []}', "answer", 'None for "data": expected SQuAD'),
    "a paragraph": ("x.json", '{"data": [{"paragraphs": [3]}]}', "answer", r"data\[0\].paragraphs\[0\]: 3: expected"),
    "impossible": ("x.json", squad({"question": "?", "answers": ANSWER["answers"], "is_impossible": True}), "answer",
                   r"data\[0\].paragraphs\[0\].qas\[0\], column 'answers': .*is_impossible is true"),
    "one choice": ("x.jsonl", lines({"context": "c", "choices": ["a"], "label": 0}), "choose", "a list of at least 2"),
    "no such choice": ("x.jsonl", lines({"context": "c", "choices": ["a", "b"], "label": 2}), "choose",
                       "column 'label': 2: there are 2 choices"),
    "a span past the end": ("x.jsonl", lines({"text": "a b", "head": [0, 1], "tail": [2, 4], "label": "r"}), "relate",
                            r"column 'tail': \[2, 4\] goes past the text's end, 3"),
    "an empty span": ("x.jsonl", lines({"text": "a b", "head": [1, 1], "tail": [2, 3], "label": "r"}), "relate",
                      r"column 'head': \[1, 1\]: expected \[start, end\]"),
    "no items": ("x.jsonl", lines({"items": []}), "recommend", "column 'items': .*a list of at least 1"),
    "an unknown format": ("x.doc", "a", "classify", "does not say its format"),
    "conll of no tags": ("x.conll", "a O\n", "classify", "conll is for tag, not for classify"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_one_line_that_names_its_place(written, what):
    name, data, task, said = BROKEN[what]
    path = written(name, data)
    with pytest.raises(InputError, match=said) as caught:
        list(rows.read(path, task))
    line = str(caught.value)
    assert line.startswith(str(path)) or "is for" in line
    assert "\n" not in line
    assert len(line) <= LONGEST


@pytest.mark.parametrize(("columns", "form", "said"), [
    ({"txt": "sentence"}, None, "'txt'='sentence': classify has the columns text, pair, label; did you mean 'text'"),
    ({"text": 3}, None, "expected a column's name"), ({"text": "sentence"}, None, "no column 'sentence'"),
    ({}, "glue-sts-b", "glue-sts-b is for regress"), ({}, "glue-rte", "no column 'sentence1'"),
    ({}, "xml", "unknown format"),
])  # fmt: skip
def test_what_is_asked_for_must_be_there(written, columns, form, said):
    with pytest.raises(InputError, match=said):
        list(rows.read(written("x.tsv", TABLE + "a\tb\n"), "classify", columns, form=form))


def test_glue_says_which_classes_there_are(written):
    path = written("dev.tsv", PUBLISHED["glue-rte"].replace("not_entailment", "neutral"))
    with pytest.raises(InputError, match="line 2, column 'label': 'neutral': expected one of entailment, not_ent"):
        list(rows.read(path, "classify", form="glue-rte"))


def test_columns_of_conll_are_numbers(written):
    path = written("x.conll", "a X O\n")
    for called in ("tag", "0", "1000", "-1", "9" * 50):
        with pytest.raises(InputError, match=f"columns tags='{called}': a column of conll is a number"):
            list(rows.read(path, "tag", {"tags": called}))
    with pytest.raises(InputError, match="line 1 has 3 columns, expected at least 4"):
        list(rows.read(path, "tag", {"tags": "4"}))
    assert list(rows.read(path, "tag", {"tags": "2"}, labelled=False)) == [{"tokens": ["a"], "tags": ["X"]}]


def test_standard_input_is_json_lines_unless_it_is_said(monkeypatch):
    def given(data):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.encode()), encoding="utf-8"))

    given('{"text": "a", "label": "b"}\n')
    assert list(rows.read(None, "classify")) == [{"text": "a", "label": "b"}]
    given(TABLE + "a\tb\n")
    assert list(rows.placed(None, "classify", form="tsv")) == [
        ("standard input, line 2", {"text": "a", "label": "b"})]  # fmt: skip
    given("")
    with pytest.raises(InputError, match="standard input has no rows"):
        list(rows.read(None, "classify"))
    with pytest.raises(InputError, match="standard input: squad is read from a file"):
        list(rows.read(None, "answer", form="squad"))


def test_rows_come_one_by_one(written):
    """The rows before a broken one are there, and a file is not held."""
    found = rows.read(written("x.tsv", TABLE + "a\tb\n" * 3 + "c\n"), "classify")
    assert [next(found)["text"] for _ in range(3)] == ["a"] * 3
    with pytest.raises(InputError, match="line 5 has 1 columns"):
        next(found)
