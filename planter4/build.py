import json, sys, time, traceback, warnings, importlib
ROOT = "/work/w/planter4"
sys.path[:0] = [ROOT + "/planter4", ROOT + "/reference/mistaken_ports", ROOT]
from pathlib import Path
import numpy as np
import dumps, make, common, plants4 as plants
W = Path("/work/w/planter4-work")
only = set(a for a in sys.argv[1:] if a != "-t")
info = json.loads((W / "info.json").read_text()) if (W / "info.json").exists() else {}
from minibert.checkpoint import safetensors
LEAST = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11, "float64": 2.0**-53}
AT = {"float32": 0, "bfloat16": 1, "float16": 2, "float64": 0}
RATIO = {}
def visible(found, plant):
    facts, dtype = make.case(plant["case"])[2], plant["dtype"]
    beyond = []
    for section, held in facts["sections"].items():
        if section not in ("forward", "gradients", "steps"): continue
        truth = safetensors.read(make.GOLDEN / plant["case"] / f"{section}.safetensors")
        for name, _, scale, *floors in held["tensors"]:
            key = f"{section}/{name}"
            if key not in found: continue
            own = floors[0] if floors else None
            noise = held["noise"]["float32" if dtype == "float64" else dtype] if own is None else own[AT[dtype]]
            noise = np.inf if noise is None else noise
            floor = max(noise * (2.0**-28 if dtype == "float64" else 1), LEAST[dtype])
            got, due = np.asarray(found[key], np.float64), truth[name]
            odd = got.shape != due.shape or not np.isfinite(got).all()
            err = np.inf if odd else np.abs(got - due).max(initial=0) / (scale or 1)
            if err > 4 * floor: beyond.append((key, err / floor))
    RATIO.clear(); RATIO.update(beyond)
    return [k for k, _ in beyond]
for p in plants.PLANTS:
    if only and p["id"] not in only and p["group"] not in only: continue
    if not only and (W / "dumps" / f"{p['id']}.npz").exists() and p["id"] in info: continue
    t = time.process_time()
    try:
        q = {**p, "edits": common.resolved(p["edits"])}
        found = make.computed(q, p["dtype"])
        found = {k: found[k] for k in dumps.keys(p["kind"], p["case"]) if k in found}
        found = {k: np.asarray(a, np.float32) if a.dtype.name == "bfloat16" else a for k, a in found.items()}
        beyond = visible(found, p)
        np.savez(W / "dumps" / f"{p['id']}.npz", **found)
        worst = max(RATIO.values(), default=0)
        info[p["id"]] = {"n": len(found), "beyond": len(beyond), "first": beyond and make.firsts(beyond), "all": beyond[:400], "worst": worst}
        flag = "" if (p["group"] == "right") == (not beyond) else " <<<"
        print(p["id"], p["case"], p["kind"], len(found), len(beyond), (beyond or [""])[0], f"{worst:.1f} {time.process_time()-t:.1f}s", flag, flush=True)
    except (Exception, SystemExit) as e:
        info.pop(p["id"], None)
        print(p["id"], "ERROR", repr(e)[:300], flush=True)
        if "-t" in sys.argv: traceback.print_exc()
    (W / "info.json").write_text(json.dumps(info))
