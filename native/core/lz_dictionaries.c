/* lz_dictionaries.c - made of native/dictionaries by `python -m oxidized.ffi.dictionaries --write`. */
#include "lz_dictionaries.h"

const uint32_t LZ_DICTIONARIES_DIGEST = 0xa0787b0fu;

const lz_dictionary LZ_DICTIONARY[LZ_KNOWN] = {
    [1] = { "sip", LZ_DICT_SIP, 24931 },
    [2] = { "syslog", LZ_DICT_SYSLOG, 48802 },
    [3] = { "mqtt", LZ_DICT_MQTT, 21863 },
    [4] = { "http", LZ_DICT_HTTP, 31751 },
    [5] = { "generic", LZ_DICT_GENERIC, 27675 },
};
