"""Presets: the samplers of other programs, value by value, where their pictures must be met again."""
