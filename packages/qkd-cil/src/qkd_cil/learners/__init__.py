"""The methods, one file each, over the protocol in `learner`."""
