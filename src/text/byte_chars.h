/* byte_chars.h: the printable character that stands for a byte in byte-level vocabularies
 * (GPT-2). Private to src/text. */
#ifndef TEXT_BYTE_CHARS_H
#define TEXT_BYTE_CHARS_H

#include <stdint.h>

/* Printable Latin-1 stands for itself, the 68 others for U+0100 and up, in order. */
static inline uint32_t byte_to_char(unsigned char byte)
{
    if ((byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE)
        return byte;
    if (byte < '!')
        return 0x100u + byte;
    if (byte < 0xA1)
        return 0x100u + '!' + (byte - 0x7Fu);
    return 0x100u + '!' + 34; /* U+00AD, the soft hyphen */
}

#endif
