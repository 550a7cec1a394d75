"""Interatomic potentials: thin torch modules from Graph to atomic energies."""
