"""All checks of an audit in one go: what they share is made once, and one that fails does not stop the others."""
