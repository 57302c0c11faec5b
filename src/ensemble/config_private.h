/* config_private.h: private to config.c and config_*.c: what the tables of medley.yaml share. */
#ifndef ENSEMBLE_CONFIG_PRIVATE_H
#define ENSEMBLE_CONFIG_PRIVATE_H

#include "ensemble/config.h"

/* A row of a table; a new key is one line in one of these files. */
#define ROW(key, type, owner, member, min, max, choices, help) \
    {key, type, offsetof(struct owner, member), min, max, choices, help}
#define END {NULL, 0, 0, 0, 0, NULL, NULL}

/* "file:line: problem 'subject'". */
medley_status config_refuse(const struct config *c, const struct yaml_node *at,
                            medley_error *err, const char *problem, const char *subject);
/* What becomes a folder, a column or part of one: letters, digits, - and _, at most 64. */
bool config_plain_name(const char *name);

/* config_data.c: `data:`. */
extern const struct yaml_field data_fields[], column_fields[], label_fields[],
    relation_fields[];
medley_status config_bind_data(struct config *c, const struct yaml_node *node,
                               medley_error *err);

/* config_models.c: `models:`. */
extern const struct yaml_field model_fields[], lm_fields[], lora_fields[], pretrain_fields[],
    distill_fields[], gnn_fields[], table_fields[];
medley_status config_bind_models(struct config *c, const struct yaml_node *node,
                                 medley_error *err);

#endif
