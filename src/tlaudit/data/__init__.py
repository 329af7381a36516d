"""Images and the classes they show: finding, decoding, fingerprinting, matching."""
