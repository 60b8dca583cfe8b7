/* aead.c - nanoseconds per seal and open of each crypto library that is good here, at the sizes of tunnels.
 *
 * The best of several rounds, as neighbours on the machine only ever add. Prints lines
 * `aead/LIBRARY/SUITE/BYTES  seal ns  open ns`; test_bench_plane.py builds and runs it. */
#include "bench.h"

#include "../../native/io/crypto.h"

enum { ROUNDS = 9, ROUND_BYTES = 4000000, ROUND_PACKETS_MAX = 20000 };

static void measure(uint32_t number, uint8_t suite, size_t len)
{
    static const uint8_t key[OXI_KEY_BYTES] = { 7 }, aad[HEADER_BYTES] = { 1 };
    static uint8_t data[OXI_DATAGRAM_MAX + TAG_BYTES], sealed[OXI_DATAGRAM_MAX + TAG_BYTES];
    const aead_library *library = crypto_library(number);
    aead seal = { .library = library }, open = { .library = library };
    if (!aead_key(&seal, suite, key, true) || !aead_key(&open, suite, key, false))
        abort();
    uint32_t count = (uint32_t)(ROUND_BYTES / len);
    count = count > ROUND_PACKETS_MAX ? ROUND_PACKETS_MAX : count;
    double best_seal = 1e12, best_open = 1e12;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double begin = wall_ns();
        for (uint32_t i = 0; i < count; i++) {
            nonce n = aead_nonce(0, i);
            aead_seal(&seal, &n, aad, sizeof aad, data, len);
        }
        double spent = (wall_ns() - begin) / count;
        best_seal = spent < best_seal ? spent : best_seal;
        nonce n = aead_nonce(0, 1);
        memset(sealed, 5, len);
        aead_seal(&seal, &n, aad, sizeof aad, sealed, len);
        /* A packet is opened once: the copy that makes it whole again is not counted. */
        begin = wall_ns();
        for (uint32_t i = 0; i < count; i++) {
            memcpy(data, sealed, len + TAG_BYTES);
            __asm__ volatile("" ::: "memory"); /* or one copy would do */
        }
        double copies = wall_ns() - begin;
        begin = wall_ns();
        for (uint32_t i = 0; i < count; i++) {
            memcpy(data, sealed, len + TAG_BYTES);
            if (!aead_open(&open, &n, aad, sizeof aad, data, len))
                abort();
        }
        spent = (wall_ns() - begin - copies) / count;
        best_open = spent < best_open ? spent : best_open;
    }
    const char *suite_name = suite == OXI_SUITE_AES256GCM ? "aes-256-gcm" : "chacha20-poly1305";
    char name[64];
    snprintf(name, sizeof name, "aead/%s/%s/%zu", library->name, suite_name, len);
    printf("%-38s seal %6.0f ns  open %6.0f ns\n", name, best_seal, best_open);
    aead_free(&seal);
    aead_free(&open);
}

int main(void)
{
    static const size_t lengths[] = { 64, 256, 1400, 9000 };
    for (uint8_t suite = OXI_SUITE_AES256GCM; suite <= OXI_SUITE_CHACHA20POLY1305; suite++)
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
            for (uint32_t number = OXI_AEAD_OPENSSL; number <= OXI_AEAD_IPSEC_MB; number++)
                if (!crypto_trouble(number))
                    measure(number, suite, lengths[i]);
    return 0;
}
