/* frames.h - frame types inside an authentic packet (PROTOCOL.md section 3). */
#ifndef OXI_FRAMES_H
#define OXI_FRAMES_H

enum { FRAME_PADDING = 0x00, FRAME_PING = 0x01, FRAME_PONG = 0x02, FRAME_ACK = 0x03, FRAME_BUNDLE = 0x04 };

/* What ends the frames: an inner packet, in one form or another, or several of them. */
static inline bool frame_is_last(uint8_t first)
{
    return first >> 4 == 4 || first >> 4 == 6 || first == FRAME_BUNDLE;
}
#endif
