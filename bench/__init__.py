"""What this project's work costs, beside peers and beside what no program could do without: `python -m bench`."""
