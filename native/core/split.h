/* split.h - one super-packet of the TUN, cut into the packets that it stands for. */
#ifndef OXI_SPLIT_H
#define OXI_SPLIT_H
#include "base.h"
#include "limits.h"

typedef struct split {
    const uint8_t *data;      /* borrowed until the last packet is cut */
    uint32_t len;
    oxi_super how;
    uint32_t ip_bytes;        /* headers before TCP or UDP */
    uint32_t header_bytes;    /* headers that every packet repeats; 0: one packet, as it is */
    uint32_t at;              /* payload bytes cut so far */
    uint32_t count;           /* packets cut so far */
    bool is_done;
} split;

/* False: the offload header contradicts the packet (then nothing may be cut from it). */
bool split_begin(split *s, const uint8_t *data, uint32_t len, const oxi_super *how);
/* Length of the next packet; 0: there is none. */
uint32_t split_peek(const split *s);
/* Write the next packet, split_peek() bytes, checksums right. */
void split_next(split *s, uint8_t *out);
/* Leave the next packet out. */
void split_skip(split *s);
#endif
