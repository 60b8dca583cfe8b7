/* frames.h - frame types inside an authentic packet (PROTOCOL.md section 3). */
#ifndef OXI_FRAMES_H
#define OXI_FRAMES_H
#include "hdr.h"
#include "lz.h"

enum {
    FRAME_PADDING = 0x00,
    FRAME_PING = 0x01,
    FRAME_PONG = 0x02,
    FRAME_ACK = 0x03,
    FRAME_BUNDLE = 0x04,
    FRAME_PROMPT = 0x05,
    FRAME_ABANDON = 0x06,
    FRAME_REPEAT = 0x07,
    FRAME_SOURCE = 0x18, /* and the stream, 3 bits */
    FRAME_CODE = 0x20    /* path (2 bits) and stream */
};

/* The second byte of an ACK. */
enum { ACK_PATH = 0x03, ACK_HAS_CE = 0x04, ACK_HAS_RANGES = 0x08, ACK_HAS_TIMES = 0x10,
       ACK_HAS_REPAIRED = 0x20, ACK_FLAGS = 0x3f };
static_assert(OXI_PATHS_MAX == ACK_PATH + 1, "a path id is two bits");

/* An item is an inner packet in one of three forms; it, or a bundle of them, ends the frames. */
static inline bool frame_is_whole(uint8_t first) { return first >> 4 == 4 || first >> 4 == 6; }
static inline bool frame_is_lz(uint8_t first) { return first >> 3 == LZ_FRAME >> 3; }
static inline bool frame_is_coded(uint8_t first) { return first >= HDR_ITEM_FIRST; }
static inline bool frame_is_item(uint8_t first)
{
    return frame_is_whole(first) || frame_is_lz(first) || frame_is_coded(first);
}
static inline bool frame_is_source(uint8_t first) { return first >> 3 == FRAME_SOURCE >> 3; }
static inline bool frame_is_code(uint8_t first) { return first >> 5 == FRAME_CODE >> 5; }
static inline bool frame_is_repair(uint8_t first)
{
    return (first >= FRAME_PROMPT && first <= FRAME_REPEAT) || frame_is_source(first) || frame_is_code(first);
}
static inline bool frame_is_last(uint8_t first) { return frame_is_item(first) || first == FRAME_BUNDLE; }
#endif
