"""What can go wrong in one family alone: a file for each, named as in `minibert.families` and found by its name."""
