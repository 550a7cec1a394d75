"""From spectra to thermal conductivity."""
