/* lz_dictionaries.h - the texts of native/dictionaries, as `python -m oxidized.ffi.dictionaries` writes them
 * down in lz_dictionaries.c and lz_dict_*.c. */
#ifndef OXI_LZ_DICTIONARIES_H
#define OXI_LZ_DICTIONARIES_H
#include "lz.h"

extern const uint8_t LZ_DICT_SIP[], LZ_DICT_SYSLOG[], LZ_DICT_MQTT[], LZ_DICT_HTTP[], LZ_DICT_GENERIC[];

extern const lz_dictionary LZ_DICTIONARY[LZ_KNOWN]; /* by number */
extern const uint32_t LZ_DICTIONARIES_DIGEST;
#endif
