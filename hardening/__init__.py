"""What tries to break tlaudit for longer than a test may take: fuzzing, faults, endurance."""
