"""fluxan inside other programs: ASE, LAMMPS."""
