"""What earlier runs found, kept in a folder so that nothing is computed twice; it never changes a number."""
