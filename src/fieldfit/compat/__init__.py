"""Fronts for scripts written for another package: its names and signatures over ours, with only the import changed."""
