"""check.py ROOT OUT [ids]: minibert's check over the dumps in a fixed random order, one process."""
import json, sys, random, time, resource, traceback, subprocess
ROOT, OUT = sys.argv[1], sys.argv[2]
sys.path[:0] = ["/work/w/planter4/planter4", ROOT + "/reference/mistaken_ports", ROOT]
import os
from pathlib import Path
import minibert; assert minibert.__file__.startswith(ROOT), minibert.__file__
import score, plants4 as listed
W = Path("/work/w/planter4-work")
plants = list(listed.PLANTS)
random.Random(29).shuffle(plants)
only = set(sys.argv[3:])
done = {json.loads(l)["id"] for l in open(OUT)} if os.path.exists(OUT) else set()
cpu = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
from minibert.golden import checking, report
head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
for p in plants:
    if p["id"] in done or (only and p["id"] not in only): continue
    t, w = cpu(), time.time()
    case = str(Path(ROOT) / "reference/golden" / p["case"])
    try:
        found = checking.report_of(case, str(W / "dumps" / f"{p['id']}.npz"), dtype=p["dtype"])
        said = report.fields(found)
        answers = [] if found.diagnosis is None else score.alternatives(found.diagnosis)
        spent = cpu() - t
        text = {k: said[k] for k in said if k not in ("rows", "tensors", "sections")}
        text = json.loads(json.dumps(text, default=str))
        line = {"id": p["id"], "code": said["exit_code"], "verdict": found.verdict, "answers": answers, "first": (said["first_divergence"] or {}).get("key"), "cpu": round(spent, 2), "wall": round(time.time() - w, 2), "at": head, "names": [str(n) for n in found.diagnosis.names] if found.diagnosis else [], "fields": text}
    except Exception as e:
        line = {"id": p["id"], "error": repr(e), "trace": traceback.format_exc()[-1500:], "cpu": round(cpu() - t, 2), "at": head}
    with open(OUT, "a") as f: f.write(json.dumps(line) + "\n")
