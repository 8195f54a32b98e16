"""tally.py RESULTS: the scores."""
import json, sys, statistics as st
from collections import defaultdict
sys.path.insert(0, "/work/w/planter4/planter4")
import plants4 as plants, expect
P, ODD = plants.BY, set()
info = json.load(open("/work/w/planter4-work/info.json"))
R = {}
for l in open(sys.argv[1]):
    d = json.loads(l); R[d["id"]] = d
try: import adjudged; A = adjudged.A
except ImportError: A = {}
ONLY = expect.ONLY_PADDING
rows = []
for i, d in R.items():
    p = P[i]
    if p["group"] != "plant": continue
    want, near = expect.entry(i)
    vis = bool(info[i]["beyond"]) and i not in ONLY
    first = d.get("first") in (info[i]["first"] or []) + expect.FIRST.get(i, [])
    if "error" in d: rows.append((i, p, d, "ERROR", vis, bool(want), False)); continue
    sets = {frozenset(a) for a in d["answers"]}
    if not vis: j = "invisible"
    elif i in A: j = A[i][0]
    elif want:
        ok = {frozenset(x.split("+")) for x in want}
        j = "none" if not sets else "wrong" if not sets & ok else "exact" if len(sets) == 1 else "tied"
    else:
        ids = [s for s in sets]
        j = "unknown" if not sets else "near" if any(s == {x} for s in sets for x in near) else "words" if d["verdict"] == "explained" else "named"
    rows.append((i, p, d, j, vis, bool(want), first))
def table(title, key):
    g = defaultdict(list)
    for r in rows:
        if r[4]: g[key(r)].append(r)
    print(title)
    for k, rs in sorted(g.items(), key=lambda x: -len(x[1])):
        en = [r for r in rs if r[5]]; no = [r for r in rs if not r[5]]
        c = lambda x, l: sum(r[3] == x for r in l)
        ex, ti, wr, nn, er = (c(x, en) for x in ("exact", "tied", "wrong", "none", "ERROR"))
        pct = lambda a: f"{100*a/max(1,len(en)):.0f}%"
        other = {x: c(x, no) for x in ("unknown", "near", "words", "named", "same", "wrong")}
        print(f"  {k:22} visible {len(rs):4} | entry {len(en):4}: exact {ex} ({pct(ex)}) tied {ti} (both {pct(ex+ti)}) wrong {wr} none {nn} err {er} | no entry {len(no):3}: {other} | first right {sum(r[6] for r in rs)}")
table("ALL", lambda r: "all"); table("STACK", lambda r: r[1]["stack"]); table("KIND", lambda r: r[1]["kind"]); table("FAMILY", lambda r: r[1]["case"].split("/")[0]); table("ODD", lambda r: "odd" if r[0] in ODD else "ordinary")
print("invisible:", [(r[0], r[2].get("verdict"), r[2].get("code"), r[2].get("answers")) for r in rows if not r[4]])
for what in ("wrong", "none", "named", "words", "near", "unknown", "same", "ERROR"):
    for r in rows:
        if r[3] == what: print(what.upper(), r[0], r[1]["case"], r[1]["kind"], "| want", expect.entry(r[0]), "|", r[2].get("verdict"), r[2].get("names", r[2].get("error")), "| first", r[2].get("first"), "" if r[6] else f"DUE {info[r[0]]['first'][:3]}")
cp = sorted((d["cpu"], i) for i, d in R.items())
pl = [c for c, i in cp if P[i]["group"] == "plant"]
if pl: print("CPU plants median", st.median(pl), "p90", pl[int(.9 * len(pl))], "max", pl[-1], ">15:", sum(c > 15 for c in pl), "n", len(pl))
print("slow", cp[::-1][:12])
rr = [(i, d) for i, d in R.items() if P[i]["group"] == "right"]
bad = [(i, P[i]["stack"], P[i]["what"], P[i]["case"], P[i]["dtype"], d.get("verdict"), d.get("code"), d.get("names"), d.get("first"), info[i]["worst"]) for i, d in rr if "error" in d or d["code"] != 0 or d["verdict"] != "right"]
print("RIGHT", len(rr), "alarms/other:", len(bad)); [print("  ", b) for b in bad]
tot = named = full = var = 0
for i, d in R.items():
    p = P[i]
    if p["group"] != "three": continue
    given = {x for a in d.get("answers", []) for x in a}; hits = []; allowed = {"E10"}
    for nm in p["names"][:3]:
        want, near = expect.entry(nm); ok = {y for x in (want or near) for y in x.split("+")}
        hits.append(bool(ok & given)); allowed |= ok
    tot += 3; named += sum(hits); full += all(hits); var += "E10" in given
    print("THREE", i, p["case"], [(nm, h) for nm, h in zip(p["names"], hits)], "variant", "E10" in given, "| extra", sorted(given - allowed), "|", d.get("verdict"), d.get("names", d.get("error"))[:8], d["cpu"])
print("three: mistakes named", named, "of", tot, "; all three", full, "; variant", var, "of", tot // 3)
