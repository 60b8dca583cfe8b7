/* frames.h - frame types inside an authentic packet (PROTOCOL.md section 3). */
#ifndef OXI_FRAMES_H
#define OXI_FRAMES_H

enum { FRAME_PADDING = 0x00, FRAME_PING = 0x01, FRAME_PONG = 0x02, FRAME_ACK = 0x03 };

#endif
