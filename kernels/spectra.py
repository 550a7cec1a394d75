"""Sums of cross-spectra over segments of samples, on one CPU thread, under the rules that `correlation_cpu` states."""

from __future__ import annotations

from .correlation_cpu import transpose_into
from .jit import reordered, serial


@serial
def fill_segments(samples, length, at, out):
    """Append samples (n, n_channels) to segments: sample t to ``out[c, (at + t) // length, (at + t) % length]``."""
    rows = out.reshape(out.shape[0], -1)
    taken = 0
    while taken < samples.shape[0]:
        segment, begin = divmod(at + taken, length)
        count = min(samples.shape[0] - taken, length - begin)
        transpose_into(samples[taken : taken + count], segment * out.shape[2] + begin, rows)
        taken += count


@serial
def subtract_reference(padded, length, count, reference):
    """Subtract ``reference[c]`` from the first `count` samples in segments, and set the rest to zero.

    `padded` is (n_channels, n_segments, ≥ length), `length` the number of samples of a segment.
    """
    for channel in range(padded.shape[0]):
        for s in range(padded.shape[1]):
            row = padded[channel, s]
            n = min(length, max(0, count - s * length))
            for t in range(n):
                row[t] -= reference[channel]
            for t in range(n, length):
                row[t] = 0.0


@reordered
def segment_sums(padded, length, count, out):
    """Sum each segment of `length` samples into ``out[c, s]``; only the first `count` samples in all are used.

    `padded` is (n_channels, n_segments, ≥ length).
    """
    for channel in range(padded.shape[0]):
        for s in range(padded.shape[1]):
            row = padded[channel, s]
            total = 0.0
            for t in range(min(length, max(0, count - s * length))):
                total += row[t]
            out[channel, s] = total


@serial
def split_spectra(spectra, previous, joined_re, joined_im, own_re, own_im):
    """Arrange one channel's spectra of zero-padded segments for `cross_spectra`.

    Segments of M samples are padded to 2M, so that a delay by one segment multiplies a spectrum by (-1)^f. `joined` is
    the spectrum of a segment together with the one before it, `own` that of the segment itself. The M/2 + 1 even
    frequencies come first: in `own` they are the discrete spectrum of the unpadded segment.

    Parameters
    ----------
    spectra : (n_segments, 2 M + 2) float64
        Real and imaginary parts interleaved, as in an array of complex numbers; M is even.
    previous : (2 M + 2,) float64
        Spectrum of the segment before; overwritten by that of the last segment.
    joined_re, joined_im, own_re, own_im : (n_segments, M + 1) float64
        Outputs.
    """
    before = previous
    half = previous.size // 4
    for s in range(spectra.shape[0]):
        now = spectra[s]
        even_re, even_im, odd_re, odd_im = own_re[s], own_im[s], own_re[s, half + 1 :], own_im[s, half + 1 :]
        sum_re, sum_im, difference_re, difference_im = (
            joined_re[s],
            joined_im[s],
            joined_re[s, half + 1 :],
            joined_im[s, half + 1 :],
        )
        for g in range(half):
            k = 4 * g
            even_re[g] = now[k]
            even_im[g] = now[k + 1]
            odd_re[g] = now[k + 2]
            odd_im[g] = now[k + 3]
            sum_re[g] = now[k] + before[k]
            sum_im[g] = now[k + 1] + before[k + 1]
            difference_re[g] = now[k + 2] - before[k + 2]
            difference_im[g] = now[k + 3] - before[k + 3]
        even_re[half] = now[4 * half]
        even_im[half] = now[4 * half + 1]
        sum_re[half] = now[4 * half] + before[4 * half]
        sum_im[half] = now[4 * half + 1] + before[4 * half + 1]
        before = now
    previous[:] = before


@reordered
def cross_spectra(first_re, first_im, second_re, second_im, first, second, rows, out_re, out_im):
    """Add ``Σ_s conj(first[a, s, f]) second[b, s, f]`` for every pair (a, b) to its row of `out`.

    Real and imaginary parts are separate arrays, so that the loop over frequencies is vectorised. Two segments are
    summed at a time, since reading and writing `out` takes most of the time.

    Parameters
    ----------
    first_re, first_im, second_re, second_im : (n_channels, n_segments, ≥ n_frequencies) float64
        Spectra; `n_segments` is even: an odd number of segments is padded with one of zeros.
    first, second, rows : (n_pairs,) int64
        Channels a and b of each pair, and its row in `out`.
    out_re, out_im : (≥ n_pairs, n_frequencies) float64
        Sums, to which the products are added.
    """
    for pair in range(first.size):
        re, im = out_re[rows[pair]], out_im[rows[pair]]
        for s in range(0, first_re.shape[1], 2):
            ar, ai = first_re[first[pair], s], first_im[first[pair], s]
            br, bi = second_re[second[pair], s], second_im[second[pair], s]
            cr, ci = first_re[first[pair], s + 1], first_im[first[pair], s + 1]
            dr, di = second_re[second[pair], s + 1], second_im[second[pair], s + 1]
            for f in range(re.size):
                re[f] += ar[f] * br[f] + ai[f] * bi[f] + cr[f] * dr[f] + ci[f] * di[f]
                im[f] += ar[f] * bi[f] - ai[f] * br[f] + cr[f] * di[f] - ci[f] * dr[f]
