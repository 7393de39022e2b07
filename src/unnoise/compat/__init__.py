"""Drop-ins for other libraries' interfaces; each is imported by its own name, `unnoise.compat.diffusers`."""
