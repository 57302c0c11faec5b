/* tokenize_train.h: `medley tokenize --train`: a tokenizer of one's own, from the lines of a
 * file or the texts of a workspace. */
#ifndef CLI_TOKENIZE_TRAIN_H
#define CLI_TOKENIZE_TRAIN_H

#include "text/tokenizer.h"

enum { MOST_SPECIALS = 64 };

struct train_arguments {
    const char *source; /* a file, "-", or a workspace's folder */
    const char *locale; /* NULL: all; of a workspace only */
    const char *output;
    struct tokenizer_training how;
    const char *specials[MOST_SPECIALS + 1]; /* NULL-terminated */
    size_t n_specials;
};
medley_status tokenize_train(struct train_arguments *a, medley_error *err);

#endif
