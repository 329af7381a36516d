"""What is done to commands while they run, one kind of fault a file."""
