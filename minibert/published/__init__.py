"""One file, one family's published names, where they are not in the family's own file: `minibert.published.xlnet` has
what `families` lists from MODEL_TYPE on. It is found by its name (`families.inherited`).
"""
