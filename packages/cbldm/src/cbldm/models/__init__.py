"""Networks; what they are trained for stands in `cbldm.profiles`."""
