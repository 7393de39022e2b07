"""Parts of `benchmarks/stable_diffusion.py`: the models, what each side does, the cells, the table, parity."""
