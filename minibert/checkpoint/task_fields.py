"""What a config.json says of the tasks of a model, and what is said there of them.

Published fields say them where those would give them again: the class, `num_labels` or `id2label`, `problem_type`,
`classifier_dropout`, and what a family says of its summary; KEY says all others.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from minibert import config as configs
from minibert import tasks
from minibert.config import require, shown
from minibert.tasks import Task

Tree = dict[str, Any]

KEY = "minibert_tasks"  # of config.json, where the published fields do not say the tasks


def published(
    fields: Mapping[str, Any], module: ModuleType, config: Any, stored: Callable[[], set[str]]
) -> tuple[Task, ...]:  # fmt: skip
    """The tasks that a config.json says: in its KEY, else by its class, if tensors of such a head are stored."""
    if KEY in fields:
        return tasks.several(fields[KEY])
    classes = fields.get("architectures")
    named = classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else ""
    heads = (head for head in tasks.served().values() if head.READS != tasks.OWN)
    head = next((head for head in heads if named.endswith(f"For{tasks.called(module, head)}")), None)
    if head is None:
        return ()
    settings = _settings(fields, head)
    own = {name: known for name, known in head.TASKS.items()
           if all(settings.get(key, value) == value for key, value in known.items() if key != "classes")}  # fmt: skip
    found = (tasks.made([*own][-1], settings),)
    whole = tasks.Network(module, found)
    due = {name for path, name, _ in whole.names(config) if path.partition(".")[0] in (found[0].name, tasks.SUMMARY)}
    if due.isdisjoint(stored()):
        return ()
    for key, value in whole.summary(config).said.items() if head.READS != "states" else ():
        fits = fields.get(key, value) == value
        require(fits, f"config field {key!r} is {shown(fields.get(key))}; implemented: {value!r}")
    return found


def _settings(fields: Mapping[str, Any], head: ModuleType) -> Tree:
    """What published fields say of a head's settings."""
    known, found = head.Settings.__dataclass_fields__, {}
    if "classes" in known:
        labels = fields.get("id2label")
        if labels is not None:
            fits = isinstance(labels, dict) and {*map(str, labels)} == {*map(str, range(len(labels)))}
            require(bool(labels) and fits, f"config field 'id2label' is {shown(labels)}: expected a name for 0, 1, …")
            by_number = {str(key): name for key, name in labels.items()}
            found["labels"] = [str(by_number[str(i)]) for i in range(len(labels))]
            if found["labels"] == [f"LABEL_{i}" for i in range(len(labels))]:
                found = {"classes": len(labels)}
        else:
            found["classes"] = fields["num_labels"] if fields.get("num_labels") is not None else 2
    if "problem_type" in known:
        count = found.get("classes", len(found.get("labels", ())))
        kind = "regression" if count == 1 else "single_label_classification"
        found["problem_type"] = fields.get("problem_type") or kind
    if "dropout" in known and fields.get("classifier_dropout") is not None:
        found["dropout"] = fields["classifier_dropout"]
    return found


def fields(uses: tuple[Task, ...], network: Any, config: Any) -> Tree:
    """The fields of a config.json for these tasks; KEY where the published ones would not give them again."""
    if any(task.head.READS == tasks.OWN for task in uses):
        return {KEY: {task.name: _given(task) for task in uses}}
    said: Tree = {}
    for task in uses[:1] if len(uses) == 1 else ():
        settings = configs.to_fields(task.settings)
        if "classes" in settings:
            named = tasks.class_names(task)
            said["id2label"] = {str(i): name for i, name in enumerate(named)}
            said["label2id"] = {name: i for i, name in enumerate(named)}
        if "problem_type" in settings:
            said["problem_type"] = settings["problem_type"]
        if settings.get("dropout") is not None:
            said["classifier_dropout"] = settings["dropout"]
        said |= network.summary(config).said if task.head.READS != "states" else {}
    if not uses:
        return said
    stored = {name for _, name, _ in network.names(config)}
    given = {**said, "architectures": [*network.architectures(config)]}
    if published(given, network.module, config, lambda: stored) != uses:
        said[KEY] = {task.name: _given(task) for task in uses}
    return said


def _given(task: Task) -> Tree:
    """The task's settings as JSON has them."""
    return {name: [*value] if isinstance(value, tuple) else value
            for name, value in configs.to_fields(task.settings).items() if value is not None}  # fmt: skip
