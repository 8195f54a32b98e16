"""What can go wrong in any family: a file for each part of the computation, found by its name."""
