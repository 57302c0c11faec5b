/* corpus.h: the texts of a dataset, for vocabularies: queries of the training split and the
 * fields of every product, cleaned. Labels are not read, nor queries that are only in the test
 * split. */
#ifndef LM_CORPUS_H
#define LM_CORPUS_H

#include "data/dataset.h"
#include "text/tokenizer.h"

/* Trains a tokenizer on the texts of one locale ("us"), or of all (NULL). No text of that
 * locale: MEDLEY_ENOTFOUND, naming those that there are. *out is the caller's (tokenizer_free).
 */
medley_status corpus_train_tokenizer(const struct dataset *d, const char *locale,
                                     const struct tokenizer_training *options,
                                     struct tokenizer **out, medley_error *err);

/* [n_queries] which queries the training split has: the only ones whose text is read before
 * labels are. NULL when out of memory; mem_free. */
bool *corpus_training_queries(const struct dataset *d);

#endif
