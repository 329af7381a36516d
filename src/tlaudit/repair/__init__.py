"""Repair: one file a method, one loop for all (`tlaudit.training`)."""
