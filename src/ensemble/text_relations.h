/* text_relations.h: relations between nodes whose texts are near each other: "text" (a query and
 * its nearest products), "text-queries", "text-products". They follow from the features of the
 * nodes alone, so they stand beside these, in features/NAME.text/, and are made when a graph model
 * asks for one of them. */
#ifndef ENSEMBLE_TEXT_RELATIONS_H
#define ENSEMBLE_TEXT_RELATIONS_H

#include "ensemble/workspace.h"

bool is_text_relation(const char *name);
/* Whether any of the names (NULL-terminated; NULL: none) is one. */
bool names_text_relation(const char *const *names);

/* The folder beside a file of features (".npy" becomes ".text"). */
struct path text_relations_path(const char *features);

/* Joins each query to its TEXT_NEIGHBOURS nearest queries and products of its locale, and each
 * product to its nearest products, by cosine of rows[n_queries + n_products, width]: exactly, so
 * time grows with the square of the nodes. Weight: the cosine. Replaces the folder's file. */
medley_status text_relations_write(const struct dataset *d, const float *rows, size_t width,
                                   const char *folder, medley_error *err);

#endif
