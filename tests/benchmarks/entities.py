"""How often the entity head of a run is right, by what was done to the entity: python tests/benchmarks/entities.py RUN

kept, replaced, hidden: shares of the held-out entities, and how many of them are told right; beside that what a
constant answer would get, the entity that is asked most often. The run's own recipe makes the rows, in its batches.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import minibert
from minibert import batches, corpus, data, objective, pretraining
from minibert.heads import entity


def main() -> None:
    run = Path(sys.argv[1])
    model, record = minibert.load(run), json.loads((run / "run.json").read_bytes())
    options, own = pretraining.options_of(model.module, record["options"])
    files = record["request"].get("corpus_files")
    documents = corpus.Files(files) if files else corpus.default_documents()
    texts = list(corpus.split(documents, options.held_out, options.seed)[1])
    rows, _ = data.Recipe(model.family, model.tokenizer, own, options.seed).instances(texts, "held_out")
    kinds, right, labels = [], [], []
    for first in range(0, batches.count(rows), options.batch_size):
        part = {name: array[first : first + options.batch_size] for name, array in rows.items()}
        part["entity_candidates"] = entity.candidates(part["entity_labels"])
        h = model.module.encode(model.params, model.config, objective.spelled(model.module, part), keep="last")[0]
        head = {"act": model.config.hidden_act, "eps": model.config.layer_norm_eps}
        table, ids = model.params["entities"]["weight"], part["entity_candidates"]
        z = entity.entity_head(h["last_hidden_state"], model.params["entity"], table, ids=ids, **head)[0]
        told = np.take_along_axis(ids, z.argmax(-1), 1)
        asked = part["entity_labels"] >= 0
        given, due = part["entity_ids"][asked], part["entity_labels"][asked]
        kinds.append(np.where(given < 0, 2, np.where(given != due, 1, 0)))
        right.append(told[asked] == due)
        labels.append(due)
    kinds, right, labels = map(np.concatenate, (kinds, right, labels))
    constant = np.bincount(labels).argmax() == labels
    for n, name in enumerate(("kept", "replaced", "hidden")):
        mine = kinds == n
        print(f"{name:9} {mine.mean():6.1%} of {len(kinds):,}: right {right[mine].mean():6.1%}, "
              f"a constant answer {constant[mine].mean():6.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
