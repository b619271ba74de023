"""Diffusion of latents: the schedule of noise, and how samples are drawn."""
