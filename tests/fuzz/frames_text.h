/* frames_text.h - plaintexts by the letter of PROTOCOL.md section 3, made and read for fuzz_frames. */
#ifndef OXI_FUZZ_FRAMES_TEXT_H
#define OXI_FUZZ_FRAMES_TEXT_H
#include "support.h"

enum { TEXT_MAX = 1400 };
enum { PADDING = 0, PING = 1, PONG = 2, ACK = 3, BUNDLE = 4, PROMPT = 5, ABANDON = 6, REPEAT = 7,
       SOURCE = 0x18, CODE = 0x20 };

typedef struct text {
    uint8_t bytes[TEXT_MAX];
    uint32_t len;
} text;

/* What does not fit any more is left out. */
void put(text *t, const void *bytes, uint32_t len);
void put_number(text *t, uint64_t value, uint32_t bytes);
/* RFC 9000, section 16, in as many bytes as `size` says, so that overlong ones occur too. */
void put_varint(text *t, uint64_t value, uint32_t size);
/* An ACK whose fields come from the input: mostly small numbers, as those are near the truth. */
void put_ack(text *t, input *in);

/* RFC 9000, section 16; UINT64_MAX: past the end. */
uint64_t take_varint(const text *t, uint32_t *at);
bool is_whole(uint8_t first);
bool is_item(uint8_t first);
/* PROTOCOL.md section 3.1 by the letter: where the ACK ends; 0: it is none, or it claims what can not be.
 * sent: how many packets of each path there were to acknowledge. */
uint32_t walk_ack(const text *t, uint32_t at, const uint64_t *sent);
#endif
