"""Ports of BERT written from reference/SPEC.md alone, without a look at the engine, and mistakes planted in them."""
