#!/bin/sh
# Prints the mode of MKL for this processor, as cli/main.cpp chooses it; for programs that do not set it themselves.
if grep -qw avx512f /proc/cpuinfo; then echo AVX512,STRICT; elif grep -qw avx2 /proc/cpuinfo; then echo AVX2,STRICT; else echo COMPATIBLE; fi
