/* spm_file.h: reading SentencePiece's model files (a protocol buffer). Private to src/text. */
#ifndef TEXT_SPM_FILE_H
#define TEXT_SPM_FILE_H

#include "base/str.h"
#include "medley/status.h"

enum spm_type {
    SPM_NORMAL = 1,
    SPM_UNKNOWN,
    SPM_CONTROL,
    SPM_USER_DEFINED,
    SPM_UNUSED,
    SPM_BYTE
};

struct spm_piece {
    struct str text; /* borrowed from the file's bytes */
    float score;
    enum spm_type type;
};

struct spm_file {
    struct spm_piece *pieces; /* [n] */
    size_t n, capacity;
    int64_t model_type;  /* 1: Unigram, 2: BPE, 3: word, 4: char */
    struct str charsmap; /* borrowed */
    bool squeeze;        /* remove_extra_whitespaces */
};

/* `data` outlives the result. */
medley_status spm_parse(struct str data, const char *name, struct spm_file *out,
                        medley_error *err);
void spm_deinit(struct spm_file *f);

#endif
