"""What `hardening.fuzz` is made of: targets, the valid inputs they begin with, and mutations that know the format."""
