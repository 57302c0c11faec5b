/* cost.h: what base models cost to serve, measured on this machine, and what a subset of them
 * costs together.
 *
 * Every model answers the same requests (evenly spaced examples of the dataset, so texts have
 * their real lengths), warm, in lists of 1, 8 and 64 candidates. Times are kept request by
 * request: a subset's percentiles are of sums over the same request, not sums of percentiles.
 */
#ifndef ENSEMBLE_COST_H
#define ENSEMBLE_COST_H

#include "ensemble/base_model.h"

enum { COST_SIZES = 3, COST_SAMPLES = 200 };
extern const size_t cost_list_sizes[COST_SIZES]; /* 1, 8, 64 */

/* Two costs may be compared when the id is the same: processor, cores, memory, threads in use.
 */
struct machine {
    char id[33];
    char cpu[128], system[128];
    unsigned cores, threads;
    uint64_t memory; /* bytes */
};
void machine_here(struct machine *m);

struct cost_times { /* of lists of one size, or of encoding a query */
    size_t n;       /* samples */
    double p50_ms, p99_ms;
    float ms[COST_SAMPLES]; /* request by request */
};

struct model_cost {
    struct machine machine;
    struct cost_times list[COST_SIZES]; /* a whole list */
    struct cost_times features; /* encoding a new query for the graph; n is 0 for other kinds.
                                   Models of the same features share this and features_memory */
    double cpu_ms_per_pair;     /* processor time in lists of 64, all threads together */
    size_t memory;              /* bytes of the model */
    size_t features_memory;     /* bytes of node features and their encoder */
};

struct cost_effort {
    size_t samples[COST_SIZES]; /* at most COST_SAMPLES */
    double seconds;             /* for each size, at most */
};
extern const struct cost_effort cost_quick, cost_thorough; /* after training; for `profile` */

/* Measures a model and writes models/NAME/cost.json. */
medley_status cost_measure(const struct workspace *w, const struct model_context *context,
                           const struct base_model_ops *ops, const void *model,
                           const struct cost_effort *effort, medley_error *err);
medley_status cost_load(const struct workspace *w, const char *name, struct model_cost *out,
                        medley_error *err);
/* Loads every model of the workspace and measures it anew. */
medley_status cost_profile(struct workspace *w, const struct cost_effort *effort,
                           medley_error *err);
/* The costs of all models; ESTALE when they were measured on different machines. */
medley_status costs_load(const struct workspace *w, struct model_cost *out, medley_error *err);

/* Together. */
struct subset_cost {
    double p50_ms, p99_ms; /* of a list */
    double cpu_ms_per_pair;
    double pairs_per_s_per_core;
    uint64_t memory;
    double price; /* of a million pairs */
};
struct cost_rules {
    size_t size;      /* index into cost_list_sizes */
    unsigned cores;   /* models side by side on so many cores; 0 or 1: one after the other */
    double core_hour; /* price of a core for an hour */
};
void subset_cost(const struct workspace *w, const struct model_cost *costs, uint32_t mask,
                 const struct cost_rules *rules, struct subset_cost *out);

#endif
