/* unit.h - what the C unit tests share: each is one file, which includes this once. */
#ifndef OXI_UNIT_H
#define OXI_UNIT_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

_Noreturn void oxi_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "bug at %s:%d: %s\n", file, line, what);
    abort();
}

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #x);                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint64_t dice_state = 88172645463325252ULL;

static uint64_t dice(void) /* xorshift64 */
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state;
}
#endif
