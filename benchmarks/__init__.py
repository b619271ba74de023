"""Speed: what is measured, side by side with what it is held against."""
