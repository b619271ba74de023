"""What the three papertrio packages share: seeding, run folders, checkpoints, metrics and the command line."""
