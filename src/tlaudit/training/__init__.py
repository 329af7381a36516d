"""Networks learn here: one loop, and what it minimises."""
