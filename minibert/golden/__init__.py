"""Golden cases: what a right implementation computes, on disk, and how a candidate differs from it."""
