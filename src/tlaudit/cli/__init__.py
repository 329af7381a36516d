"""The command line: translation only. Options are declared in `options`, errors become exit codes in `app`."""
