"""What transformers has no class for, put together in torch from its classes, as the releases have it."""
