"""To look into models: one file, one question, found by its name. Each gives numbers; `pictures` draws them."""
