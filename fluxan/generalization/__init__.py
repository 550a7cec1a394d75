"""Whether a model holds for defects: their geometry and energy against a reference, and what limits their error.

C. Ortner, Y. Wang (arXiv:2209.05366) and Y. Wang, S. Patel, C. Ortner (arXiv:2311.01664) bound the error of the
simulation of a defect by the errors of the fit to energies, forces, force constants and virials, and by the size of the
training structures.
"""
