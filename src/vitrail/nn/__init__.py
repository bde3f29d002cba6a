"""Blocks shared by the networks: encoders, upsamplers, and what makes inference fast."""
