"""One file, one exercise, found by its name: a function with its equation, to be written by whoever learns.

A file has, in this order: a docstring (title, equation, shapes); ORDER, its place among the exercises, and CLAUSE, of
the spec; the function itself, of the file's name, in plain NumPy; `calls(rng)`, arguments by name, the smallest first;
WRONG, {what is wrong: the function that is wrong so}, by whose answers a mistake gets its name; and, where the function
has a place in a model, CASE, the golden case that is replayed with it, and `put(answer)`, {op: what stands for its
calls}, or `parts(answer)`, {part of an optimizer: what stands for it} (`golden.subject.Subject`).
"""
