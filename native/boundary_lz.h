/* boundary_lz.h - what the planes of one process share of payload compression. */
#ifndef OXI_BOUNDARY_LZ_H
#define OXI_BOUNDARY_LZ_H
#include "core/lz.h"

/* Made by the first call, kept for good; NULL: no memory. */
const lz_indexes *lz_indexes_shared(void);
#endif
