/* voice.h - which flows are calls: what is marked EF (RFC 3246), or has the shape of RTP (RFC 3550, section
 * 5.1) over some packets. Wrong guesses cost at most the short wait that voice may have. */
#ifndef OXI_VOICE_H
#define OXI_VOICE_H
#include "pkt.h"

enum { VOICE_SLOTS = 256, VOICE_BYTES_MAX = 400 };

typedef struct voice_flow {
    uint32_t key;  /* of addresses and ports */
    uint32_t ssrc;
    uint16_t sequence;
    uint16_t score; /* packets in a row that follow each other */
} voice_flow;

typedef struct voice_table {
    voice_flow flows[VOICE_SLOTS]; /* by key; a flow that meets another one starts anew */
} voice_table;

bool voice_is(voice_table *t, const pkt *p);
#endif
