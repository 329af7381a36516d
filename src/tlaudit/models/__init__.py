"""Everything that touches a network: reading, building, pairing, preparing its input, running it."""
