/* wire.h - the clear header of a data packet, both directions (PROTOCOL.md section 2). */
#ifndef OXI_WIRE_H
#define OXI_WIRE_H
#include "bytes.h"
#include "limits.h"

typedef struct wire_header {
    uint32_t index;  /* 24 bits */
    uint32_t pn_low;
    uint8_t type;    /* 2 bits; 0 is data */
    uint8_t path;    /* 2 bits */
    uint8_t phase;   /* 2 bits: epoch mod 4 */
} wire_header;

void wire_write(uint8_t *at, const wire_header *h); /* HEADER_BYTES, of type 0 */
wire_header wire_read(const uint8_t *at);
/* The packet number nearest to next that ends in low (RFC 9000, appendix A.3). */
uint64_t pn_expand(uint64_t next, uint32_t low);
#endif
