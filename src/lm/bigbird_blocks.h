/* bigbird_blocks.h: which blocks of keys each block of queries sees; private to src/lm. */
#ifndef LM_BIGBIRD_BLOCKS_H
#define LM_BIGBIRD_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block_pattern {
    size_t heads, blocks;
    uint8_t
        *seen; /* [heads, blocks, blocks] how often a row of queries meets a block of keys */
};

/* The pattern of layer `layer`: the first and last row see all; others their neighbours, the
 * first and last block, and `random` more. blocks >= 4; scratch: room for max(blocks, positions
 * / block). */
void block_pattern_draw(struct block_pattern *p, unsigned layer, size_t random, size_t block,
                        size_t positions, uint16_t *scratch);

#endif
