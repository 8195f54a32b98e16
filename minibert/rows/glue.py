"""GLUE (Wang et al. 2019, arXiv 1804.07461): its nine tasks as their published files have them.

    format      task      text        pair        label          classes                            measures
    glue-cola   classify  sentence                label          0 1                                matthews
    glue-sst-2  classify  sentence                label          0 1                                accuracy
    glue-mrpc   classify  #1 String   #2 String   Quality        0 1                                accuracy f1
    glue-sts-b  regress   sentence1   sentence2   score          0 to 5                             pearson spearman
    glue-qqp    classify  question1   question2   is_duplicate   0 1                                accuracy f1
    glue-mnli   classify  sentence1   sentence2   gold_label     contradiction entailment neutral   accuracy
    glue-qnli   classify  question    sentence    label          entailment not_entailment          accuracy
    glue-rte    classify  sentence1   sentence2   label          entailment not_entailment          accuracy
    glue-wnli   classify  sentence1   sentence2   label          0 1                                accuracy

The files are TSV in which every quote is a character. CoLA's train.tsv and dev.tsv have no header: source, label, the
author's mark, sentence; its test.tsv has one. MNLI has two held-out files, dev_matched.tsv and dev_mismatched.tsv.
Rows of QQP that lack columns are passed over, as by the released reader (`QqpProcessor` of transformers'
`data/processors/glue.py`, from which the columns are), and so are those with an empty question.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minibert.config import require, shown
from minibert.rows import tables

BINARY, ENTAILED = ("0", "1"), ("entailment", "not_entailment")


@dataclass(frozen=True)
class Data:
    """One of the nine: the command's task, what its files call the columns, its classes in order (none of numbers), the
    names in `metrics` that judge it; header: of files that have none, where their first line is no header; ragged:
    rows that lack something are passed over.
    """

    task: str
    names: dict[str, str]
    classes: tuple[str, ...]
    measures: tuple[str, ...]
    header: tuple[str, ...] = ()
    ragged: bool = False

    def records(
        self, path: Any, names: Mapping[str, str], needed: tuple[str, ...]
    ) -> Iterator[tuple[str, tables.Record]]:
        """(line, record), as `tables.tsv`; columns that are renamed (`names`) go before the published names."""
        called = {name: self.names.get(name, other) if name == other else other for name, other in names.items()}
        for where, record in tables.records(path, self._rows(path), called, needed):
            label = record.get("label")
            fits = not self.classes or label is None or label in self.classes
            place = f"{tables.named(path)}, {where}, column {shown(called['label'])}"
            require(fits, f"{place}: {shown(label)}: expected one of {', '.join(self.classes)}")
            yield where, record

    def _rows(self, path: Any) -> tables.Cells:
        width = 0
        for number, cells in tables.split(path):
            if not width and self.header and len(cells) == len(self.header):
                yield number, list(self.header)
            width = width or len(cells)
            if not (self.ragged and (len(cells) < width or "" in cells)):
                yield number, cells


def _pair(first: str, second: str, label: str = "label") -> dict[str, str]:
    return {"text": first, "pair": second, "label": label}


DATA = {
    "glue-cola": Data("classify", {"text": "sentence"}, BINARY, ("matthews",), ("source", "label", "mark", "sentence")),
    "glue-sst-2": Data("classify", {"text": "sentence"}, BINARY, ("accuracy",)),
    "glue-mrpc": Data("classify", _pair("#1 String", "#2 String", "Quality"), BINARY, ("accuracy", "f1")),
    "glue-sts-b": Data("regress", _pair("sentence1", "sentence2", "score"), (), ("pearson", "spearman")),
    "glue-qqp": Data("classify", _pair("question1", "question2", "is_duplicate"), BINARY, ("accuracy", "f1"),
                     ragged=True),
    "glue-mnli": Data("classify", _pair("sentence1", "sentence2", "gold_label"),
                      ("contradiction", "entailment", "neutral"), ("accuracy",)),
    "glue-qnli": Data("classify", _pair("question", "sentence"), ENTAILED, ("accuracy",)),
    "glue-rte": Data("classify", _pair("sentence1", "sentence2"), ENTAILED, ("accuracy",)),
    "glue-wnli": Data("classify", _pair("sentence1", "sentence2"), BINARY, ("accuracy",)),
}  # fmt: skip
