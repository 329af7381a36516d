"""Pure maths: tensors in, numbers or tensors out. No models, files or devices; randomness only through a generator."""
