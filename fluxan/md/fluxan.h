/* Heat flux of a local potential from pair forces, for MD codes in C, C++ or Fortran that embed Python.
 *
 * Addresses of these functions come from Python, as integers:
 *
 *     import fluxan.md.capi
 *     address = fluxan.md.capi.address("pair_flux")        # cast it to fluxan_pair_flux
 *     folder = fluxan.md.capi.include()                    # of this file, for -I
 *
 * They stay valid while the interpreter lives, may be called without holding the interpreter's lock and from several
 * threads at once, and run on the calling thread.
 *
 * Arrays are C-contiguous, indices int64, reals double. An edge is directed: the energy U_i of its receiver i depends on
 * the position of its sender j; r_ij = r_j - r_i with the image that is meant, g_ij = dU_i/dr_ij. Both directions of a
 * pair are edges. Units are Angstrom, ps, eV; any other consistent set gives the result in that set.
 */
#ifndef FLUXAN_H
#define FLUXAN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What every function returns. */
enum fluxan_status {
    FLUXAN_OK = 0,
    FLUXAN_BAD_SIZE = 1,   /* a size is negative, or n_groups is not in 1 to 32768; nothing was written */
    FLUXAN_BAD_INDEX = 2,  /* a sender, receiver or group is out of range; nothing was written */
    FLUXAN_NOT_FINITE = 3  /* the result holds NaN or infinity, from the input or by overflow */
};

/* "pair_flux": flux[owner][carrier] = - sum of r_ij (g_ij . v_j) over the edges whose receiver is in group `owner` and
 * whose sender is in group `carrier`: the potential heat flux, not divided by the volume. Its sum over both groups is
 * the total; the convective part, sum of E_i v_i, is not in it.
 */
typedef int32_t (*fluxan_pair_flux)(
    int64_t n_edges,
    int64_t n_atoms,
    int64_t n_groups,
    const int64_t *receivers,  /* (n_edges), 0 to n_atoms - 1 */
    const int64_t *senders,    /* (n_edges), 0 to n_atoms - 1 */
    const double *r_ij,        /* (n_edges, 3), Angstrom */
    const double *g_ij,        /* (n_edges, 3), eV/Angstrom */
    const double *velocities,  /* (n_atoms, 3), Angstrom/ps */
    const int64_t *groups,     /* (n_atoms), 0 to n_groups - 1 */
    double *flux               /* out: (n_groups, n_groups, 3), eV Angstrom/ps */
);

/* "atomic_virial": virial[j][a][b] = - sum of r_ij[a] g_ij[b] over the edges whose sender is j. Nine components: it is in
 * general not symmetric. Its product with v_j, summed over atoms, is the potential heat flux.
 */
typedef int32_t (*fluxan_atomic_virial)(
    int64_t n_edges,
    int64_t n_atoms,
    const int64_t *senders,    /* (n_edges), 0 to n_atoms - 1 */
    const double *r_ij,        /* (n_edges, 3), Angstrom */
    const double *g_ij,        /* (n_edges, 3), eV/Angstrom */
    double *virial             /* out: (n_atoms, 3, 3), eV */
);

#ifdef __cplusplus
}
#endif

#endif
