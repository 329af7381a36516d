"""The embedded world: what is planted in it, how it is drawn and trained, and its audit."""
