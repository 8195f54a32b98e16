"""Scores a checker on the dumps of mistaken ports, and on their right twins.

    python reference/mistaken_ports/score.py                            minibert's own, in this process
    python reference/mistaken_ports/score.py --checker "COMMAND"        another: COMMAND CASE_FOLDER DUMP.npz DTYPE
    python reference/mistaken_ports/score.py --split open tb01 jg02     some of them; --json FILE: each verdict
    python reference/mistaken_ports/score.py --folder DIR               what make.py -o DIR made

A checker prints one object of JSON as its last line: {"right": false, "answers": [["A04"]], "first": "forward/NAME"}.
answers: what the mistake may be, each a list of ids that hold together (of reference/MISTAKES.md; or a plant's own id);
none: no name. first: the first tensor that is wrong, in the case's order; may be absent.
"""

import argparse
import json
import resource
import shlex
import subprocess
import sys
import tempfile
from itertools import chain, product
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
import dumps  # noqa: E402

SAID = ("right", "answers", "first", "text")  # what is read of a verdict
MOST = 64  # answers of one verdict that are kept
GROUPS = ("entry", "kind", "stack", "family", "origin", "split")
ENTRY = ("no entry", "an entry")  # of the catalogue
WORTH = ("exact", "tied", "wrong", "none", "near")
HEAD = f"{'':24} dumps visible  exact  tied wrong no name  near first right  CPU s: median"


def ours(folder, path, dtype):
    """minibert's verdict, as any checker's."""
    from minibert.golden import checking, report

    found = checking.report_of(folder, path, dtype=dtype)
    said, diagnosis = report.fields(found), found.diagnosis
    answers = [] if diagnosis is None else alternatives(diagnosis)
    first = said["first_divergence"]
    return {"right": said["exit_code"] == 0 and not answers, "answers": answers, "text": said["answer"],
            "first": first["key"] if first else None}  # fmt: skip


def alternatives(diagnosis):
    """Sets of ids, one of which it says to hold; what has no entry stands in words."""
    names = [(found.id if found.listed else str(found), found.tied) for found in diagnosis.names]
    ties = {frozenset((name, *tied)) for name, tied in names}
    if diagnosis.kind in ("mistake", "tie", "variant", "explained") and len(ties) == 1:
        return [[name] for name in dict.fromkeys(name for name, _ in names)]
    return [sorted(set(ids)) for ids in list(product(*map(sorted, ties)))[:MOST]] if ties else []


def asked(command):
    """A checker that is another program."""

    def verdict(folder, path, dtype):
        try:
            run = subprocess.run([*shlex.split(command), folder, path, dtype], capture_output=True, text=True)
            said = json.loads(run.stdout.strip().splitlines()[-1])
        except OSError as error:
            sys.exit(f"cannot run {command}: {error.strerror}")
        except (IndexError, ValueError):
            sys.exit(f"{command}: no JSON in its last line for {path}: {(run.stderr or run.stdout)[-200:]!r}")
        wrong = unfit(said)
        if wrong:
            sys.exit(f"{command}: {wrong}, in its last line for {path}: {run.stdout.strip().splitlines()[-1][:200]!r}")
        return {name: said[name] for name in SAID if name in said}

    return verdict


def unfit(said):
    """What is wrong with a verdict, if anything."""
    if not isinstance(said, dict) or not isinstance(said.get("right"), bool):
        return '"right" is not true or false'
    answers = said.get("answers") or []
    fits = isinstance(answers, list) and all(isinstance(ids, list) for ids in answers)
    if not fits or not all(isinstance(one, str) for ids in answers for one in ids):
        return '"answers" is no list of lists of ids'
    return None if isinstance(said.get("first"), str | None) else '"first" is no name'


def judged(said, entry):
    """exact, tied, wrong or none: what a verdict's name is worth; near: a kin of what has no entry."""
    given = {frozenset(ids) for ids in said.get("answers") or ()}
    right = {frozenset(ids) for ids in entry["answers"]} | {frozenset([entry["id"]])}
    if not given:
        return "none"
    if not given & right:
        return "near" if given & {frozenset([id]) for id in entry.get("near", ())} else "wrong"
    return "exact" if len(given) == 1 else "tied"


def hits(said, several, entries):
    """Of a port with several mistakes, how many are named: an id of each among those of the answers."""
    given = {id for ids in said.get("answers") or () for id in ids}
    meant = [{id, *chain(*entries[id]["answers"]), *entries[id].get("near", ())} for id in several["of"]]
    return sum(not given.isdisjoint(ids) for ids in meant)


def cpu():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def row(label, rows):
    seen = [r for r in rows if r["visible"]]
    counts = {name: sum(r["name"] == name for r in seen) for name in WORTH}
    first, took = sum(r["first right"] for r in seen), sorted(r["cpu"] for r in rows)
    times = f"{took[len(took) // 2]:.1f}, at most {took[-1]:.1f}"
    return (f"{label:24}{len(rows):6}{len(seen):8}{counts['exact']:7}{counts['tied']:6}{counts['wrong']:6}"
            f"{counts['none']:8}{counts['near']:6}{first:12}  {times}")  # fmt: skip


def table(rows, twins, several=()):
    """The result as text: precision and recall of "wrong", then what was named, by group."""
    alarms, missed = sum(not t["right"] for t in twins), sum(r["right"] for r in rows if r["visible"])
    seen = sum(r["visible"] for r in rows)
    named = sum(r["name"] in ("exact", "tied") for r in rows if r["visible"])
    wrong = sum(r["name"] == "wrong" for r in rows if r["visible"])
    flagged = seen - missed + alarms
    yield f"called wrong: precision {(seen - missed) / max(1, flagged):.3f} ({alarms} of {len(twins)} right ports)"
    yield f"              recall {(seen - missed) / max(1, seen):.3f} ({missed} of {seen} mistaken ones missed)"
    yield f"named:        precision {named / max(1, named + wrong):.3f}, recall {named / max(1, seen):.3f}"
    if several:
        due, whole = sum(len(r["of"]) for r in several), sum(r["hits"] == len(r["of"]) for r in several)
        yield f"of several:   {sum(r['hits'] for r in several)} of {due} named, all of {whole} of {len(several)} ports"
    if not rows:
        return
    yield HEAD
    yield row("all", rows)
    for group in GROUPS:
        for value in dict.fromkeys(r[group] for r in rows):
            yield row(value, [r for r in rows if r[group] == value])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = "another: run as COMMAND CASE_FOLDER DUMP.npz DTYPE, its last line is a verdict; default: minibert's own"
    parser.add_argument("--checker", metavar="COMMAND", help=given)
    parser.add_argument("--split", choices=("open", "held out"), help="one half of the dumps; default: both")
    made = "what make.py -o DIR has made; default: what is stored"
    parser.add_argument("--folder", metavar="DIR", type=Path, default=HERE, help=made)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write each verdict")
    parser.add_argument("ids", nargs="*", metavar="ID", help="these dumps alone, such as tb01")
    asks = parser.parse_args()
    if asks.json and not asks.json.absolute().parent.is_dir():
        parser.error(f"--json {asks.json}: there is no such folder to write into")
    if not (asks.folder / "manifest.json").is_file():
        parser.error(f"--folder {asks.folder} holds no manifest.json")
    verdict = asked(asks.checker) if asks.checker else ours
    every = dumps.manifest(asks.folder)["dumps"]
    unknown = {*asks.ids} - {e["id"] for e in every}
    if unknown:
        parser.error(f"no dumps {', '.join(sorted(unknown))}: their ids are in {asks.folder / 'manifest.json'}")
    entries = [e for e in every if asks.split in (None, e["split"]) and (not asks.ids or e["id"] in asks.ids)]
    if not entries:
        parser.error(f"none of these dumps is {asks.split}")
    rows, twins, several, done = [], [], [], set()
    known = {e["id"]: e for e in every}
    with tempfile.TemporaryDirectory() as folder:
        for entry in entries:
            path, dtype = str(Path(folder) / "dump.npz"), dumps.precision(entry)
            case = str(dumps.GOLDEN / entry["case"])
            if dumps.twin(entry, asks.folder) not in done:
                done.add(dumps.twin(entry, asks.folder))
                np.savez(path, **dumps.whole_twin(entry, asks.folder))
                twins.append({"twin": dumps.twin(entry, asks.folder).name, **verdict(case, path, dtype)})
            np.savez(path, **dumps.whole(entry, asks.folder))
            start = cpu()
            said = verdict(case, path, dtype)
            kept = {**entry, **said, "cpu": cpu() - start, "answers": said.get("answers"), "due": entry["answers"]}
            if entry.get("right"):
                name = "right" if said["right"] else "called wrong"
                twins.append({"twin": entry["id"], **said})
            elif "of" in entry:
                several.append({**kept, "hits": hits(said, entry, known)})
                name = f"{several[-1]['hits']} of {len(entry['of'])}"
            else:
                name = judged(said, entry)
                rows.append({**kept, "name": name, "first right": said.get("first") in entry["first"],
                             "visible": bool(entry["first"]), "entry": ENTRY[bool(entry["answers"])]})  # fmt: skip
            print(f"{entry['id']}: {name} {said.get('answers')}", file=sys.stderr, flush=True)
    print("\n".join(table(rows, twins, several)))
    if asks.json:
        told = {"dumps": rows, "twins": twins} | ({"several": several} if several else {})
        asks.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
