/* field.h - who computes in GF(2^8) in this process: found and checked at first use, then only read. */
#ifndef OXI_FIELD_H
#define OXI_FIELD_H
#include "../core/gf256.h"

/* The library for one of OXI_GF256_*; NULL: it can not be used. OXI_GF256_PORTABLE never loads the other. */
const gf256_library *field_library(uint32_t wanted);
/* Why one of OXI_GF256_PORTABLE, OXI_GF256_ISAL can not be used here; NULL: it can. */
const char *field_trouble(uint32_t library);
#endif
